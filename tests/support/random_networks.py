"""A hypothesis strategy that draws random clip networks, as files that check themselves."""

import math
from typing import Any

from hypothesis import strategies as st

from support.random_folds import along_time, by_channels, write_space
from support.random_layers import (
    MAX_CHANNELS,
    Draft,
    Value,
    activation,
    batch_norm,
    convolution,
    enlarging,
    folded,
    framewise,
    gate,
    pad_time,
    pool,
    slice_time,
    temporal_shift,
    transposed,
)
from support.random_newest import attention_over_time, norm_over_time
from support.snippet import Snippet, write_snippet

FRAME = (5, 5)
# Simple ones first: a failing example shrinks towards them.
_LENGTHS = (8, 7, 5, 9, 4, 11, 6, 12, 10, 3, 13, 2, 1)
_EXPORTED = (8, 6, 7, 9, 12, 11, 10)


@st.composite
def random_networks(draw: Any) -> Snippet:
    """A network, the lengths of some videos, and how they are streamed."""
    exported = draw(st.sampled_from(_EXPORTED))
    videos = draw(_videos(exported))
    lengths = (exported, *sorted({n for slot in videos for n in slot if n > 0}))
    options: dict[str, Any] = {"rate": draw(st.sampled_from(("dense", "native")))}
    options["scope"] = draw(st.sampled_from(("frame", "window")))
    if options["rate"] == "native":
        options["spread"] = draw(st.booleans())
    net = Draft(draw, options)
    values = [Value("x", 3, FRAME, 1, lengths)]
    for _ in range(draw(st.integers(1, 6))):
        values.append(_block(net, values))
    strides = _write_outputs(net, values)
    return write_snippet(
        net.modules,
        net.lines,
        clip_shape=(3, exported, *FRAME),
        videos=videos,
        awake=draw(_rows(len(videos))),
        strides=strides,
        seed=draw(st.integers(0, 99)),
        options=options,
    )


@st.composite
def _videos(draw: Any, exported: int) -> list[list[int]]:
    """Lengths of the videos of one to three slots; negative: cut off by a reset."""
    # Pathways of unequal stride agree on lengths that differ by whole strides.
    step = draw(st.sampled_from((0, 0, 0, 2, 4, 6)))
    lengths = [n for n in _LENGTHS if not step or (n - exported) % step == 0]
    slots = []
    for _ in range(draw(st.integers(1, 3))):
        video = [draw(st.sampled_from(lengths))]
        if draw(st.sampled_from((False, False, True))):
            video.insert(0, draw(st.sampled_from((-3, -1, -6, lengths[0]))))
        slots.append(video)
    return slots


@st.composite
def _rows(draw: Any, slots: int) -> list[str]:
    """Which slots step, row by row: each of them in some row."""
    everyone = "1" * slots
    drawn = draw(st.lists(st.integers(0, 2**slots - 1), max_size=4))
    rows = [f"{row:0{slots}b}" for row in drawn]
    return [*rows, everyone]


_LAYERS = (
    convolution,
    activation,
    batch_norm,
    convolution,
    pool,
    enlarging,
    pad_time,
    slice_time,
    gate,
    transposed,
    convolution,
    framewise,
    temporal_shift,
    folded,
    along_time,
    by_channels,
    write_space,
    norm_over_time,
    attention_over_time,
)


def _layer(net: Draft, x: Value) -> Value:
    if x.channels > MAX_CHANNELS:
        layer = net.module(f"nn.Conv3d({x.channels}, 4, 1)")
        x = net.write(x, f"{layer}({x.name})", channels=4)
    return net.pick(*_LAYERS)(net, x)


def _block(net: Draft, values: list[Value]) -> Value:
    """A layer, a residual, branches, parts of the channels, or a skip over several blocks."""
    x = values[-1]
    kind = net.pick("layer", "layer", "residual", "branches", "parts", "skip")
    if kind == "residual":
        return meet(net, _chain(net, x), x)
    if kind == "branches":
        return meet(net, _chain(net, x), _chain(net, x))
    if kind == "parts" and x.channels > 1:
        first = net.pick(*range(1, x.channels))
        sizes = (first, x.channels - first)
        equal = sizes[0] == sizes[1]
        names = [f"v{net.names + 1}", f"v{net.names + 2}"]
        cut = "chunk(2, 1)" if equal else f"split({list(sizes)}, 1)"
        net.names += 2
        net.lines.append(f"{', '.join(names)} = {x.name}.{cut}")
        parts = [
            Value(name, size, x.size, x.stride, x.lengths)
            for name, size in zip(names, sizes, strict=True)
        ]
        return meet(net, _chain(net, parts[0]), parts[1])
    if kind == "skip":
        return meet(net, _layer(net, x), net.pick(*values))
    return _layer(net, x)


def _chain(net: Draft, x: Value) -> Value:
    for _ in range(net.pick(1, 2)):
        x = _layer(net, x)
    return x


def meet(net: Draft, first: Value, second: Value) -> Value:
    """Join two values; the first alone, where no crop brings them to the same elements."""
    aligned = _align(net, first, second)
    if aligned is None:
        return first
    a, b = aligned
    if a.size != b.size:
        b = net.write(
            b, f"F.adaptive_avg_pool3d({b.name}, (None, *{a.name}.shape[3:]))", size=a.size
        )
    if a.channels != b.channels or net.pick(False, True):
        if net.pick(True, False) or a.channels + b.channels > 2 * MAX_CHANNELS:
            one = net.write(b, f"{b.name}[:, :1]", channels=1)
            return net.write(a, f"{a.name} + {one.name}")
        joined = f"torch.cat([{a.name}, {b.name}], 1)"
        return net.write(a, joined, channels=a.channels + b.channels)
    text = net.pick(
        "{} + {}",
        "{} * {}.sigmoid()",
        "torch.maximum({}, {})",
        "torch.where({0} > 0.1, {0}, {1})",
    )
    return net.write(a, text.format(a.name, b.name))


def _align(net: Draft, first: Value, second: Value) -> tuple[Value, Value] | None:
    """The same two with strides and lengths made equal; None where that cannot be."""
    slow, fast = sorted((first, second), key=lambda v: -v.stride)
    if slow.stride % fast.stride:
        return None
    ratio = slow.stride // fast.stride
    lengths = tuple(-(-n // ratio) for n in fast.lengths)
    differences = {a - b for a, b in zip(lengths, slow.lengths, strict=True)}
    if len(differences) > 1:
        return None
    pair = {id(slow): slow, id(fast): fast}
    if ratio > 1:
        text = f"{fast.name}[:, :, ::{ratio}]"
        pair[id(fast)] = net.write(fast, text, stride=slow.stride, lengths=lengths)
    longer, shorter = (fast, slow) if max(differences) > 0 else (slow, fast)
    extra = abs(max(differences))
    if extra:
        value, start = pair[id(longer)], net.pick(*range(extra + 1))
        end = start - extra
        text = f"{value.name}[:, :, {start or ''}:{end or ''}]"
        pair[id(longer)] = net.write(value, text, lengths=pair[id(shorter)].lengths)
    return pair[id(first)], pair[id(second)]


def _write_outputs(net: Draft, values: list[Value]) -> list[int]:
    """The heads; returns the stride of each output, 0 where it has no time axis."""
    names, strides = [], []
    moving: list[Value] = []
    pooled: list[Value] = []
    has_window = False
    for i in range(net.pick(1, 1, 1, 2, 3)):
        value = _shrink_space(net, values[-1] if i == 0 else net.pick(*values))
        if net.pick(True, False):
            if _end_alike([*moving, value], pooled):
                moving.append(value)
                names.append(value.name)
                strides.append(value.stride)
            continue
        pathways = [value, *([net.pick(*values)] if net.pick(False, False, True) else [])]
        while pathways and not _end_alike(moving, [*pooled, *pathways]):
            pathways.pop()
        if pathways:
            pooled += pathways
            kinds = [net.pick("mean", "maximum", "last", "scores", "sum") for _ in pathways]
            has_window |= set(kinds) != {"last"}
            names.append(_write_head(net, pathways, kinds))
            strides.append(0)
    if net.blocks and any(v.stride > 1 for v in (*moving, *pooled)):
        net.options["rate"] = "native"  # not every frame has a result
    if has_window:
        # Results of the clip must outlast those of its last frames.
        net.options["window"] = max(max(v.lengths) for v in pooled) + (16 if any(strides) else 0)
    packed = names[0]
    if len(names) > 1:
        keyed = ", ".join(f'"y{i}": {name}' for i, name in enumerate(names))
        packed = net.pick(f"({', '.join(names)})", f"{{{keyed}}}")
    net.lines.append(f"return {packed}")
    return strides


def _end_alike(moving: list[Value], pooled: list[Value]) -> bool:
    """Whether all results of a clip come with the last of its frames, for all lengths.

    The results meet as those of the exported clip do: with strides, not all lengths end alike.
    """
    if not pooled:
        return True
    stride = math.lcm(*(v.stride for v in (*moving, *pooled)))
    ends = [[(n - 1) * v.stride for n in v.lengths] for v in pooled]
    if moving:
        latest = zip(*([(n - 1) * v.stride for n in v.lengths] for v in moving), strict=True)
        ends.append([max(at) // stride * stride for at in latest])
    return len({tuple(at - end[0] for at in end) for end in ends}) == 1


def _write_head(net: Draft, pathways: list[Value], kinds: list[str]) -> str:
    features = [_collapse(net, v, kind) for v, kind in zip(pathways, kinds, strict=True)]
    joined = features[0] if len(features) == 1 else f"torch.cat([{', '.join(features)}], 1)"
    layer = net.module(f"nn.Linear({sum(v.channels for v in pathways)}, 3)")
    return net.write(pathways[0], f"{layer}({joined})").name


def _shrink_space(net: Draft, x: Value) -> Value:
    """Rarely: convolutions and pools over vectors or rows, where space is gone in part."""
    kind = net.pick("picture", "picture", "vectors", "rows")
    if kind == "picture" or len(x.size) < 2:
        return x
    axes = (3, 4) if kind == "vectors" else 4
    x = net.write(x, f"{x.name}.mean({axes})", size=x.size[: 0 if kind == "vectors" else 1])
    for _ in range(net.pick(1, 2)):
        x = net.pick(convolution, pool)(net, x)
    return x


def _collapse(net: Draft, x: Value, kind: str) -> str:
    """The expression of a global pool: (N, C)."""
    space = tuple(range(3, 3 + len(x.size)))
    if kind == "mean" and len(x.size) == 2 and net.pick(False, True):
        return f"F.adaptive_avg_pool3d({x.name}, 1).flatten(1)"
    if kind in ("mean", "maximum", "sum"):
        method = {"mean": "mean", "maximum": "amax", "sum": "sum"}[kind]
        return f"{x.name}.{method}({(2, *space)})"
    vectors = f"{x.name}.mean({space})" if space else x.name
    if kind == "last":
        return f"{vectors}[:, :, -1]"
    layer = net.module(f"nn.Linear({x.channels}, {x.channels})")
    return f"{layer}({vectors}.transpose(1, 2)).softmax(-1).mean(1)"
