"""Chooses the clip lengths of a verification, and the values that can be compared at each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import fx

from co3d.compiler.analyse import Analysis, analyse
from co3d.compiler.capture import ClipShape
from co3d.compiler.pipeline import settle_timing
from co3d.compiler.prepared import Prepared
from co3d.compiler.rules.newest import NEWEST
from co3d.compiler.rules.sliding import SLIDING
from co3d.errors import ConversionError, InputShapeError, OptionError

Prepare = Callable[[Sequence[ClipShape]], Prepared]


@dataclass(frozen=True)
class LengthCase:
    """One clip length.

    Attributes:
        frames: the length of the clips.
        clip_graph: the clip network for this length.
        analysis: the analysis of the converted network, with windows long enough for this length.
        left_out: names of values that are not compared at this length, because they are pooled over
            more frames than the window, or are timed differently than on the training clip.
    """

    frames: int
    clip_graph: fx.GraphModule
    analysis: Analysis
    left_out: frozenset[str]


def choose_lengths(
    clip_frames: int, pace: int, window: int | None, further: Sequence[int] | None
) -> list[int]:
    """The training clip's length first; then `further`, or a shorter and a longer one.

    They are odd without a temporal stride, else multiples of `pace`, since networks with strides
    may need whole strides. The shorter one fits the window, because pooled values cannot be
    compared on clips that are longer than it.
    """
    if further is None:
        shorter = clip_frames // 2
        if window is not None:
            shorter = min(shorter, window * pace)
        extra = clip_frames // 4
        if pace == 1:
            further = (max(1, (shorter - 1) | 1), (clip_frames + extra) | 1)
        else:
            shorter, extra = (max(pace, n // pace * pace) for n in (shorter, extra))
            further = (shorter, clip_frames + extra)
    return list(dict.fromkeys([clip_frames, *further]))


def make_cases(
    prepared: Prepared,
    lengths: Sequence[int],
    prepare_at: Prepare,
    *,
    must_fit: bool,
) -> tuple[list[LengthCase], list[str]]:
    """Make a case per length, and a note per length that cannot be compared.

    Raises:
        ConversionError, InputShapeError: a length cannot be compared, and `must_fit` is set.
        OptionError: no length is left.
    """
    cases, notes = [], []
    shapes, window = prepared.clip_shapes, prepared.options.window
    for frames in lengths:
        if frames == shapes[0][1] and window is None:
            there = prepared
        else:
            try:
                there = prepare_at([(s[0], frames, *s[2:]) for s in shapes])
            except (ConversionError, InputShapeError) as error:
                if must_fit:
                    raise
                notes.append(f"clips of {frames} frames left out: {_first_line(error)}")
                continue
        if not _is_same_network(prepared, there):
            if must_fit:
                raise ConversionError(
                    f"cannot compare clips of {frames} frames: the network runs other operators "
                    f"on them than on the clips of {shapes[0][1]} that it was converted for; "
                    "choose other lengths"
                )
            notes.append(f"clips of {frames} frames left out: other operators run on them")
            continue
        case = _make_case(prepared, there, frames)
        if case.left_out.issuperset(node.name for node in case.analysis.lowerings):
            notes.append(f"clips of {frames} frames left out: they determine none of the values")
            continue
        cases.append(case)
    if not cases:
        raise OptionError(
            f"cannot verify: clips of {', '.join(map(str, lengths))} frames determine no value of "
            f"a network that pools over a window of {window}; add a length of at most {window}"
        )
    return cases, notes


def _make_case(prepared: Prepared, there: Prepared, frames: int) -> LengthCase:
    own, other = prepared.analysis, there.analysis
    windows = dict(own.windows)
    if prepared.options.window is None:
        for name, size in other.windows.items():
            if name not in own.fixed_windows:
                windows[name] = max(windows[name], size)
    analysis = analyse(prepared.clip_graph, prepared.clip_frames, prepared.batch, windows)
    left_out: set[str] = set()
    for node, twin in zip(own.types, other.types, strict=True):
        follows = any(n.name in left_out for n in node.all_input_nodes)
        if follows or not _is_determined(node, twin, own, other, windows):
            left_out.add(node.name)
    return LengthCase(
        frames,
        there.clip_graph,
        settle_timing(replace(prepared, analysis=analysis)).analysis,
        frozenset(left_out),
    )


def _is_determined(
    node: fx.Node, twin: fx.Node, own: Analysis, other: Analysis, windows: dict[str, int]
) -> bool:
    pools = own.types[node].pools
    # `get`, because a pool that picks the clip's last element has no window.
    if any(other.windows.get(name, 1) > windows.get(name, 1) for name in pools):
        return False
    if any(own.windows[name] != other.windows.get(name) for name in set(pools) & own.fixed_windows):
        return False
    # Where pools of several rates meet, they are aligned for clips of the training length only.
    return _timing(node, own) == _timing(twin, other)


def _timing(node: fx.Node, analysis: Analysis) -> tuple[object, ...]:
    """When a value is made, and with which delays it reads pooled values."""
    type_, lowering = analysis.types[node], analysis.lowerings.get(node)
    uses = lowering.uses if lowering else ()
    backs = [use.back for use in uses if analysis.types[use.node].is_pooled]
    bound = type_.extent, type_.block, type_.overhang
    return type_.axis, type_.stride, type_.delay, bound, backs


def _is_same_network(prepared: Prepared, there: Prepared) -> bool:
    """Whether both graphs have the same operators; sizes may differ with the length."""
    ours, theirs = (list(p.clip_graph.graph.nodes) for p in (prepared, there))
    if [(n.name, n.target) for n in ours] != [(n.name, n.target) for n in theirs]:
        return False
    for node, twin in zip(ours, theirs, strict=True):
        if node.target in SLIDING | NEWEST:
            # Its window is that of the training clip for all lengths.
            twin.args = (twin.args[0], node.args[1], *twin.args[2:])
    there.clip_graph.recompile()
    return True


def _first_line(error: Exception) -> str:
    """The error without its advice; of a list of operators, only the first."""
    lines = str(error).splitlines()
    text = " ".join(line.strip() for line in lines[: 1 + lines[0].endswith(":")])
    return text.rpartition("; ")[0] or text
