"""The comparison of precisions measures known differences correctly."""

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from co3d.backends.table import BACKENDS
from co3d.errors import EmptyVideoError, OptionError, ParityError
from co3d.parity import precision
from co3d.parity.features import convert_with_features
from co3d.parity.precision import PrecisionComparison, relative_error
from co3d.parity.precision_report import ErrorSpread, PrecisionReport, PrecisionRow
from co3d.parity.streams import FrameStream
from co3d.runtime import open_stream
from co3d.runtime.choice import (
    PLAIN_PRECISIONS,
    list_quick_backends,
    select_engines,
)
from support.networks import small_network
from support.streaming import make_clips, randomise_

FRAME = (3, 6, 6)
# Errors below these would mean that another precision was run.
BOUNDS = {"float64": (0.0, 0.0), "float32": (1e-9, 1e-5), "bfloat16": (1e-4, 3e-2)}


def _play(frames: int, seed: int) -> Iterator[Tensor]:
    (clip,) = make_clips([frames], FRAME, torch.float32, seed)
    yield from (clip[None, :, t] for t in range(frames))


def _streams(*lengths: int) -> list[FrameStream]:
    return [FrameStream(f"s{i}", partial(_play, n, i)) for i, n in enumerate(lengths)]


@pytest.fixture(scope="module")
def program():
    torch.manual_seed(0)
    return convert_with_features(randomise_(small_network()), (3, 4, 6, 6))[0]


def _compare(program, engines=(("torch", "bfloat16"),), has_features: bool = True):
    return PrecisionComparison(
        program, has_features=has_features, engines=engines, random_weights=True
    )


def _ignore(*_: object) -> None: ...


def test_every_backend_and_precision_gets_its_row(program) -> None:
    engines = select_engines(list_quick_backends(), PLAIN_PRECISIONS)
    here = {
        name for name, one in BACKENDS.items() if one.runs_on("cpu") and not one.is_slow_to_open
    }
    assert {backend for backend, _ in engines} == here - {
        name for name, one in BACKENDS.items() if one.is_slow_to_open
    }
    comparison = _compare(program, engines)
    comparison.run(_streams(40), 20, _ignore)
    report = comparison.report(["said"])
    report.require()
    assert [(row.backend, row.precision) for row in report.rows] == list(engines)
    assert report.notes == ("said",)
    assert report.random_weights
    rows = {(row.backend, row.precision): row for row in report.rows}
    assert all(row.frames == 20 for row in report.rows)
    assert rows["torch", "float64"].logits == ErrorSpread(0.0, 0.0)
    for row in report.rows:
        assert row.features is not None
        for spread in (row.logits, row.features):
            assert spread.median <= spread.worst
            if row.precision in BOUNDS:
                low, high = BOUNDS[row.precision]
                assert low <= spread.worst <= high


def test_frames_are_divided_and_short_streams_leave_more_to_others(program) -> None:
    waits = program.first_valid_step
    comparison = _compare(program)
    seen: list[tuple[int, int]] = []
    comparison.run(
        _streams(waits + 4, waits, waits + 50, waits + 50),
        24,
        lambda _, done, total: seen.append((done, total)),
    )
    report = comparison.report()
    assert comparison.compared_frames == report.rows[0].frames == 24
    assert report.streams == ("s0", "s1", "s2", "s3")
    assert seen[-1] == (24, 24)
    # Four of six, none of seven, half of what is left, the rest.
    steps = [waits + 4, waits, waits + 10, waits + 10]
    assert len(seen) == sum(steps)


def test_each_stream_starts_with_fresh_state(program) -> None:
    alone, second = _compare(program), _compare(program)
    streams = _streams(30, 30)
    alone.run(streams[1:], 10, _ignore)
    second.run(streams, 20, _ignore)
    both = second.report().rows[0].logits
    assert alone.report().rows[0].logits.worst <= both.worst
    first = _compare(program)
    first.run(streams[:1], 10, _ignore)
    worst = max(c.report().rows[0].logits.worst for c in (alone, first))
    assert both.worst == worst


def test_engines_run_on_the_device_and_the_reference_on_the_cpu(program, monkeypatch) -> None:
    opened: list[tuple[str, str, str]] = []

    def open_here(program, *, backend, precision, device):
        opened.append((backend, precision, device))
        return open_stream(program, backend=backend, precision=precision)

    monkeypatch.setattr(precision, "open_stream", open_here)
    engines = (("torch", "float32"), ("torch", "bfloat16"))
    comparison = PrecisionComparison(
        program, has_features=True, engines=engines, random_weights=True, device="meta"
    )
    assert opened == [
        ("torch", "float64", "cpu"),
        ("torch", "float32", "cpu"),
        ("torch", "float32", "meta"),
        ("torch", "bfloat16", "meta"),
    ]
    comparison.run(_streams(40), 5, _ignore)
    report = comparison.report()
    assert report.device == "meta"
    assert report.default[0] == "torch"
    assert [(row.backend, row.precision) for row in report.rows] == list(engines)


def test_float32_is_compared_on_all_frames(program) -> None:
    settings: list[bool] = []

    def play() -> Iterator[Tensor]:
        settings.append(torch.backends.cudnn.allow_tf32)
        yield from _play(40, 0)

    before = torch.backends.cudnn.allow_tf32
    _compare(program).run([FrameStream("s", play)], 5, _ignore)
    assert before
    assert settings == [False]
    assert torch.backends.cudnn.allow_tf32 == before


def test_streams_that_are_too_short_are_refused(program) -> None:
    with pytest.raises(EmptyVideoError, match="none of s0, s1 fills"):
        _compare(program).run(_streams(2, 3), 10, _ignore)


def test_outputs_that_are_not_scores_are_refused() -> None:
    program, has_features = convert_with_features(nn.Conv3d(3, 4, 3, padding=1), (3, 4, 6, 6))
    with pytest.raises(OptionError, match="one score per class"):
        _compare(program, has_features=has_features)


def test_changed_labels_are_counted(program, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = _compare(program)
    stream = comparison._streams["torch", "bfloat16", "cpu"]
    original, count = stream.step, 0

    def step(frame: Tensor):
        nonlocal count
        result = original(frame)
        count += 1
        if count == 30:  # after the window has filled
            result.output[0].neg_()
        return result

    monkeypatch.setattr(stream, "step", step)
    comparison.run(_streams(60), 40, _ignore)
    (row,) = comparison.report().rows
    assert row.changed_labels == 1
    assert row.agreement == 1 - 1 / 40
    assert not row.keeps_labels
    assert row.logits.worst == pytest.approx(2, rel=0.1)
    assert row.logits.median < 0.03


def _row(precision: str, error: float, changed: int, frames: int = 1000) -> PrecisionRow:
    spread = ErrorSpread(error, error / 2)
    return PrecisionRow("torch", precision, "", frames, spread, spread, changed)


def _report(*rows: PrecisionRow) -> PrecisionReport:
    return PrecisionReport(rows, ("s",), "cpu", ("torch", "auto"), False, ())


@pytest.mark.parametrize(("changed", "kept"), [(0, True), (5, True), (6, False)])
def test_the_limit_is_half_a_percent_of_frames(changed: int, kept: bool) -> None:
    assert _row("bfloat16", 0.1, changed).keeps_labels is kept


def test_only_float32_must_be_within_a_tolerance() -> None:
    _report(_row("bfloat16", 0.5, 900), _row("float32", 1e-5, 900)).require()
    report = _report(_row("float32", 1e-6, 0), _row("float32", 2e-5, 0))
    with pytest.raises(ParityError, match="torch in float32 differs from float64 by 2e-05"):
        report.require()


def test_errors_that_are_not_numbers_are_infinite() -> None:
    one, nan = torch.ones(2), torch.full((2,), torch.nan)
    assert relative_error(nan, one) == relative_error(one, nan) == float("inf")
    assert relative_error(one, torch.zeros(2)) == float("inf")
    assert relative_error(torch.zeros(2), torch.zeros(2)) == 0
    assert relative_error(one * 1.5, one) == 0.5
