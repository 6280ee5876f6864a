"""The picture of a network in time: its rows are right, and it is written whole or not at all."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from matplotlib.patches import PathPatch
from torch import nn

from co3d.compiler import StepProgram, convert
from co3d.errors import OptionError, OutputError
from co3d.report.network_levels import Level, find_levels
from co3d.report.network_picture import NOW, _Picture, check_picture_path, draw_network
from support.networks import Apply, Classifier, Residual, stem
from support.rule_networks import SHAPE, stem_after, two_pathways


@pytest.fixture(scope="module")
def program() -> StepProgram:
    return convert(Classifier(stem(), nn.ReLU(), Residual()), SHAPE)


def levels_of(make: Callable[[], nn.Module], **options) -> list[Level]:
    return find_levels(convert(make(), SHAPE, **options).rows)


def draw(program: StepProgram):
    return _Picture(program, find_levels(program.rows), program.name).draw()


# The rows.


def test_there_is_a_row_for_each_value_with_a_kernel_in_time(program: StepProgram) -> None:
    levels = find_levels(program.rows)
    assert [level.operators for level in levels] == ["input", "conv3d", "conv3d + add", "mean"]
    assert [[(r.level, r.offsets, r.backs) for r in level.readings] for level in levels] == [
        [],
        [(0, (-1, 0, 1), (2, 1, 0))],
        # The kernel of the branch, and the shortcut, which waits one frame for it.
        [(1, (-1, 0, 1), (2, 1, 0)), (1, (0,), (1,))],
        [(2, tuple(range(-7, 1)), tuple(range(7, -1, -1)))],
    ]
    assert [[r.is_delay_line for r in level.readings] for level in levels] == [
        [],
        [False],
        [False, True],
        [False],
    ]


def test_rows_show_what_is_remembered(program: StepProgram) -> None:
    levels = find_levels(program.rows)
    assert [level.depth for level in levels] == [2, 2, 7, 0]
    assert sum(level.state_bytes for level in levels) == program.state_bytes
    # Two frames of three channels of 6 x 6 numbers.
    assert levels[0].state_bytes == 2 * 3 * 6 * 6 * 4


def test_windows_are_distinguished_from_kernels(program: StepProgram) -> None:
    levels = find_levels(program.rows)
    assert [level.window is not None for level in levels] == [False, False, False, True]
    assert not any(level.is_rerun for level in levels)


def test_values_without_a_kernel_in_time_have_no_row() -> None:
    (level,) = levels_of(lambda: Apply(lambda m, x: x.relu() * 2 + x))
    assert level.row.name == "x"


def test_parallel_branches_meet_in_a_row_of_their_own() -> None:
    levels = levels_of(
        lambda: Apply(
            lambda m, x: torch.cat([m.stem(x), m.other(x)], 1).relu(), stem=stem(), other=stem()
        )
    )
    assert [level.operators for level in levels] == ["input", "conv3d", "conv3d", "cat"]
    assert [(r.level, r.is_immediate) for r in levels[-1].readings] == [(1, True), (2, True)]


def test_a_branch_with_other_readers_keeps_its_row() -> None:
    levels = levels_of(
        lambda: Apply(
            lambda m, x: m.last((y := m.branch(m.stem(x))) + m.stem(x)) + m.last(y),
            stem=stem(),
            branch=stem_after(3),
            last=stem_after(3),
        )
    )
    assert [level.operators for level in levels][1:4] == ["conv3d", "conv3d", "conv3d"]
    for level in levels:
        assert all(levels.index(level) > r.level for r in level.readings)


def test_crops_and_strides_have_rows_of_their_own() -> None:
    cropped = levels_of(lambda: Apply(lambda m, x: x[:, :, 1:].relu()))
    assert [(r.offsets, r.backs) for r in cropped[1].readings] == [((1,), (0,))]
    strided = levels_of(lambda: Apply(lambda m, x: x[:, :, ::2].relu()))
    assert [level.row.stride for level in strided] == [1, 2]


def test_the_rerun_part_of_a_fallback_is_one_row() -> None:
    levels = levels_of(lambda: Apply(lambda m, x: m.stem(x).flip(2), stem=stem()), fallback=True)
    assert levels[-1].is_rerun
    assert levels[-1].operators == "rerun"
    assert levels[-1].window is not None


# The drawing.


def test_every_row_ends_at_the_frame_of_its_newest_element(
    program: StepProgram,
) -> None:
    (axes,) = draw(program).axes
    ends = {
        line.get_ydata()[0]: line.get_xdata()[0]
        for line in axes.lines
        if line.get_markeredgecolor() == NOW
    }
    assert ends == {0: 0, 1: -1, 2: -2, 3: -2}


def test_delay_lines_are_dashed(program: StepProgram) -> None:
    (axes,) = draw(program).axes
    (delay_line,) = [patch for patch in axes.patches if isinstance(patch, PathPatch)]
    assert delay_line.get_linestyle() not in ("-", "solid")
    start, _, end = delay_line.get_path().vertices
    assert tuple(start) == (-2, 1)
    assert tuple(end) == (-2, 2)


@pytest.mark.parametrize(
    ("make", "options", "texts"),
    [
        (
            lambda: Classifier(stem(), Residual()),
            {},
            {
                "window 8",
                "remembered, read by a delay line",
                "not known yet",
                "conv3d + add",
                "trunk.1.conv",
                "n\N{MINUS SIGN}8",
            },
        ),
        (
            two_pathways,
            {"rate": "native"},
            {"stride", "made by a step before", "window 2", "window 8"},
        ),
        (
            lambda: nn.Sequential(stem(), nn.Conv3d(4, 4, 3, (2, 1, 1), 1), stem_after(3)),
            {},
            {
                "stride",
                "made by this step",
                "remembered, read by a kernel",
                "remembered, read later",
            },
        ),
        (
            lambda: Apply(lambda m, x: m.stem(x).flip(2), stem=stem()),
            {"fallback": True},
            {"the newest 8", "rerun"},
        ),
        (lambda: Apply(lambda m, x: x * 2), {}, {"delay 0 frames, receptive field 1", "n"}),
        (lambda: Classifier(stem()), {"window": 300}, {"window 300", "…"}),
    ],
)
def test_what_is_written(
    make: Callable[[], nn.Module], options: dict, texts: set[str], tmp_path: Path
) -> None:
    path = tmp_path / "network.svg"
    draw_network(convert(make(), SHAPE, **options), path)
    text = path.read_text(encoding="utf-8")
    written = set(re.findall(r"<text[^>]*>([^<]*)</text>", text))
    assert texts <= {part for line in written for part in (line, ", ".join(line.split(", ")[:2]))}


def test_nothing_overlaps_and_nothing_is_cut_off() -> None:
    figure = draw(convert(nn.Sequential(stem(), *(Residual() for _ in range(30))), SHAPE))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    for i, box in enumerate(boxes):
        assert figure.bbox.contains(*box.min)
        assert figure.bbox.contains(*box.max)
        assert not any(box.overlaps(other) for other in boxes[:i])
    (legend,) = figure.legends
    assert not legend.get_window_extent().overlaps(axes.get_tightbbox())


def test_the_legend_explains_every_kind_of_dot_and_line(program: StepProgram) -> None:
    (legend,) = draw(program).legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "made by this step",
        "remembered, read by a kernel",
        "remembered, read by a delay line",
        "remembered, read by a window",
        "not known yet",
    ]


def test_the_title_is_the_name_that_the_caller_gives(program: StepProgram, tmp_path: Path) -> None:
    draw_network(program, tmp_path / "named.svg", title="camera_motion")
    draw_network(program, tmp_path / "plain.svg")
    assert "camera_motion" in (tmp_path / "named.svg").read_text(encoding="utf-8")
    assert program.name in (tmp_path / "plain.svg").read_text(encoding="utf-8")


# The file.


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf", "SVG"])
def test_the_format_follows_the_file_name(
    program: StepProgram, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"network.{suffix}"
    draw_network(program, path)
    start = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[suffix.lower()]
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_pictures_are_identical_from_run_to_run(
    program: StepProgram, suffix: str, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        draw_network(program, tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_a_failed_picture_keeps_the_old_file(
    program: StepProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "network.svg"
    path.write_text("old")

    def fail(*_args: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OutputError, match="No space left"):
        draw_network(program, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["network.gif", "network", ".svg"])
def test_another_suffix_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        OptionError, match=r"got the suffix .*, expected one of \.svg, \.png, \.pdf"
    ):
        check_picture_path(tmp_path / name)


def test_a_folder_that_is_not_there(program: StepProgram, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*: there is no folder"):
        draw_network(program, tmp_path / "absent" / "network.svg")
