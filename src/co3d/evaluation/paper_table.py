"""The CoX3D rows of the Kinetics-400 table of arXiv:2106.00050, beside figures measured here.

Accuracies are the paper's. Multiply-accumulates (printed there as FLOPs) are also in the README of
the authors' library, continual-inference, and memory in their documentation of OpenDR. Figures that
none of these sources confirms are left out.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from co3d.evaluation.paper_protocol import PAPER, PAPER_WINDOW
from co3d.evaluation.published import PAPER_STREAM

GIGA, MEGA = 1e9, 1e6

REASONS = {
    "top-1 %": "a run repeats the paper's figure only where nothing is named below the table; "
    "videos that are gone, decoders and versions of the paper's code still move it",
    "GMACs": "the paper counts with ptflops, which counts normalisation and activations, too; ours "
    "are the multiply-accumulates of convolutions and matrix products",
    "M parameters": "rounded in the paper",
    "MB": "ours is the state that one stream carries from frame to frame; the paper's is the most "
    "memory that was allocated, weights and intermediate results included",
    "frames/s": "of one stream on this machine; the paper's are of other machines and left out",
}
"""Column -> why ours and the paper's may differ."""


@dataclass(frozen=True)
class Figures:
    """One network with one window; None if unknown.

    Attributes:
        top1: share of videos, 0 to 1. macs: multiply-accumulates of a frame.
        memory_bytes: of a stream's state, or what the paper calls memory.
        frames_per_second: of one stream.
    """

    top1: float | None = None
    macs: float | None = None
    parameters: float | None = None
    memory_bytes: float | None = None
    frames_per_second: float | None = None


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        model: registry name. window: of its last pool, in feature frames.
        ours, paper: figures.
        backend: that computed ours.
        differences: of our accuracy measurement from the paper's; empty if there are none, or no
            accuracy.
    """

    model: str
    window: int
    ours: Figures
    paper: Figures
    backend: str
    differences: tuple[str, ...] = ()


ROWS = (
    ("x3d_s", 13),
    ("x3d_s", PAPER_WINDOW),
    ("x3d_m", 16),
    ("x3d_m", PAPER_WINDOW),
    ("x3d_l", 16),
    ("x3d_l", PAPER_WINDOW),
)
"""Networks with their windows: the clip's own, and the long one."""

_PARAMETERS = {"x3d_s": 3.79e6, "x3d_m": 3.79e6, "x3d_l": 6.15e6}
_LONG_MACS = {"x3d_s": 0.17e9, "x3d_m": 0.33e9, "x3d_l": 1.25e9}
_LONG_MEMORY = {"x3d_s": 41.99e6, "x3d_m": 68.96e6, "x3d_l": 184.37e6}


def read_paper(model: str, window: int) -> Figures:
    """The paper's figures for a network and a window."""
    if window != PAPER_WINDOW:
        return Figures(parameters=_PARAMETERS[model])
    return Figures(
        top1=PAPER_STREAM[model] / 100,
        macs=_LONG_MACS[model],
        parameters=_PARAMETERS[model],
        memory_bytes=_LONG_MEMORY[model],
    )


def format_rows(rows: Sequence[Row]) -> Iterator[str]:
    """Lines of Markdown: the table, why figures may differ, and how our accuracies do."""
    yield f"CoX3D on Kinetics-400, ours and the paper's ({PAPER})."
    yield ""
    heads = [f"{name}{whose}" for name in REASONS for whose in ("", ", paper")]
    yield f"| network | window | {' | '.join(heads)} |"
    yield f"|---|{'---:|' * (1 + len(heads))}"
    for row in rows:
        cells = [f"Co{row.model.upper().replace('_', '-')}", str(row.window)]
        for ours, paper in zip(_format(row.ours), _format(row.paper), strict=True):
            cells += [ours, paper]
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield "Why they may differ:"
    yield ""
    yield from (f"- {name}: {reason}." for name, reason in REASONS.items())
    differing = [row for row in rows if row.differences]
    if differing:
        yield ""
        yield "Accuracies here that are not to be compared with the paper's:"
        yield ""
        for row in differing:
            yield f"- {row.model}, window {row.window}: {'; '.join(row.differences)}."


def rows_to_json(rows: Sequence[Row]) -> Mapping[str, Any]:
    """Values for `json.dumps`; accuracies are shares, not percent."""
    return {"paper": PAPER, "rows": [dataclasses.asdict(row) for row in rows], "reasons": REASONS}


def _format(figures: Figures) -> tuple[str, ...]:
    """The cells of figures, in the order of `REASONS`."""

    def cell(value: float | None, unit: float, digits: int) -> str:
        return "" if value is None else f"{value / unit:.{digits}f}"

    return (
        cell(figures.top1, 0.01, 2),
        cell(figures.macs, GIGA, 3),
        cell(figures.parameters, MEGA, 2),
        cell(figures.memory_bytes, MEGA, 2),
        cell(figures.frames_per_second, 1, 1),
    )
