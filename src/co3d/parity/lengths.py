"""The clips that a verification runs: of which lengths, and what can be compared on each."""

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
        frames: of the clips.
        clip_graph: the clip network for this length.
        analysis: of the network as converted, its windows long enough for this length.
        left_out: names of values that this length does not determine, so that they are not
            compared: pooled over more than the window, or timed otherwise than on the training
            clip.
    """

    frames: int
    clip_graph: fx.GraphModule
    analysis: Analysis
    left_out: frozenset[str]


def choose_lengths(
    clip_frames: int, pace: int, window: int | None, further: Sequence[int] | None
) -> list[int]:
    """The training clip's length first; then `further`, or a shorter and a longer one.

    Where nothing strides these are odd. Networks with strides may take whole strides only, of
    `pace` frames. No pooled value can be compared on clips that are longer than the window: the
    shorter one is not.
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
    """A case per length, and a line per length that the network cannot take.

    Raises:
        ConversionError, InputShapeError: such a length, with `must_fit`.
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
    # A pool that picks the clip's last element has no window.
    if any(other.windows.get(name, 1) > windows.get(name, 1) for name in pools):
        return False
    if any(own.windows[name] != other.windows.get(name) for name in set(pools) & own.fixed_windows):
        return False
    # Where pools of several rates meet, the meeting is laid out for clips of the training length.
    return _timing(node, own) == _timing(twin, other)


def _timing(node: fx.Node, analysis: Analysis) -> tuple[object, ...]:
    """When a value is made, and how it reads what is pooled already."""
    type_, lowering = analysis.types[node], analysis.lowerings.get(node)
    uses = lowering.uses if lowering else ()
    backs = [use.back for use in uses if analysis.types[use.node].is_pooled]
    bound = type_.extent, type_.block, type_.overhang
    return type_.axis, type_.stride, type_.delay, bound, backs


def _is_same_network(prepared: Prepared, there: Prepared) -> bool:
    """Whether both graphs hold the same operators; sizes that follow the length may differ."""
    ours, theirs = (list(p.clip_graph.graph.nodes) for p in (prepared, there))
    if [(n.name, n.target) for n in ours] != [(n.name, n.target) for n in theirs]:
        return False
    for node, twin in zip(ours, theirs, strict=True):
        if node.target in SLIDING | NEWEST:
            # Its window is that of the training clip, whatever the length.
            twin.args = (twin.args[0], node.args[1], *twin.args[2:])
    there.clip_graph.recompile()
    return True


def _first_line(error: Exception) -> str:
    """What failed, without advice; of a list of operators the first of them."""
    lines = str(error).splitlines()
    text = " ".join(line.strip() for line in lines[: 1 + lines[0].endswith(":")])
    return text.rpartition("; ")[0] or text
