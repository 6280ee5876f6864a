"""Layers for random networks: each draws its options and writes its line.

A layer takes the draft of a network and a value, and gives a value. What it draws always has at
least one element for every clip, and two for the one that is exported.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

MAX_STRIDE = 6
MAX_CHANNELS = 6
# Beyond this many elements nothing more is padded.
MAX_LENGTH = 16


@dataclass(frozen=True)
class Value:
    """A value of the network under construction.

    Attributes:
        name: of its variable in `forward`.
        channels, size: of a frame; `size` has as many numbers as there are axes of space.
        stride: frames between its elements.
        lengths: elements that it has for each length of clip, the exported one first.
    """

    name: str
    channels: int
    size: tuple[int, ...]
    stride: int
    lengths: tuple[int, ...]


@dataclass
class Draft:
    """A network under construction: its lines, and where its choices come from.

    Attributes:
        blocks: strides of the elements of which several were made.
    """

    draw: Callable[[st.SearchStrategy], Any]
    options: dict[str, Any]
    modules: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    names: int = 0
    blocks: set[int] = field(default_factory=set)

    def pick(self, *choices: Any) -> Any:
        """One of the choices; the first is the simplest."""
        return self.draw(st.sampled_from(choices))

    def module(self, text: str) -> str:
        """Define a module; returns how to call it."""
        self.modules.append(f"self.m{len(self.modules)} = {text}")
        return f"self.m{len(self.modules) - 1}"

    def write(self, like: Value, text: str, **changes: Any) -> Value:
        """Assign an expression to a new variable: a value like another but for `changes`."""
        self.names += 1
        value = replace(like, name=f"v{self.names}", **changes)
        self.lines.append(f"{value.name} = {text}")
        return value


Layer = Callable[[Draft, Value], Value]


def windows(
    lengths: Sequence[int], kernel: int, stride: int, dilation: int, pads: int, ceil: bool = False
) -> tuple[int, ...]:
    """How many windows of a convolution or pool there are, `pads` elements at both ends in all."""
    found = []
    for length in lengths:
        room = length + pads - (kernel - 1) * dilation - 1
        count = -(-room // stride) + 1 if ceil else room // stride + 1
        # No last window may start in the padding at the end.
        while ceil and (count - 1) * stride >= length + pads // 2:
            count -= 1
        found.append(count)
    return tuple(found)


def enough(lengths: Sequence[int]) -> bool:
    """Whether there is something left for every clip, and time to be seen in the exported one."""
    return min(lengths) >= 1 and lengths[0] >= 2


def draw_stride(net: Draft, x: Value, kernel: int = 1) -> int:
    """A stride in time, rarely 3."""
    allowed = [s for s in (1, 1, 1, 2, 3) if x.stride * s <= MAX_STRIDE]
    allowed = [s for s in allowed if enough(windows(x.lengths, kernel, s, 1, kernel - 1))]
    return net.pick(*(allowed or [1]))


def convolution(net: Draft, x: Value) -> Value:
    """Dense, grouped or depthwise; over (C, T), (C, T, H) or (C, T, H, W)."""
    kernel, dilation = net.pick(3, 1, 2, 5, 4), net.pick(1, 1, 2, 3)
    span = (kernel - 1) * dilation
    stride = draw_stride(net, x, kernel)
    pad = net.pick(span // 2, 0, span, 1, span + 1) if max(x.lengths) < MAX_LENGTH else 0
    while not enough(windows(x.lengths, kernel, stride, dilation, 2 * pad)):
        pad += 1
    wide = net.pick(3, 1, 2)
    wide_pad = wide // 2 if min(x.size, default=1) <= wide else net.pick(wide // 2, 0)
    wide_stride = net.pick(1, 1, 1, 2) if min(x.size, default=1) > 2 else 1
    size = tuple((n + 2 * wide_pad - wide) // wide_stride + 1 for n in x.size)
    kinds = ["dense", "depthwise"] + ["grouped"] * (x.channels % 2 == 0)
    kind = net.pick(*kinds)
    if kind == "dense":
        groups, channels = 1, net.pick(4, 3, 5)
    elif kind == "depthwise":
        groups = x.channels
        channels = groups * (net.pick(1, 2) if 2 * groups <= MAX_CHANNELS else 1)
    else:
        groups, channels = 2, net.pick(4, 6)
    rest = len(x.size)
    text = _layer(
        f"Conv{rest + 1}d",
        f"{x.channels}, {channels}, {_tuple(kernel, wide, rest)}",
        stride=(_tuple(stride, wide_stride, rest), _tuple(1, 1, rest)),
        padding=(_tuple(pad, wide_pad, rest), _tuple(0, 0, rest)),
        dilation=(_tuple(dilation, 1, rest), _tuple(1, 1, rest)),
        groups=(groups, 1),
        bias=(net.pick(True, False), True),
    )
    made = net.write(
        x,
        f"{net.module(text)}({x.name})",
        channels=channels,
        size=size,
        stride=x.stride * stride,
        lengths=windows(x.lengths, kernel, stride, dilation, 2 * pad),
    )
    return batch_norm(net, made) if net.pick(False, True) else made


def transposed(net: Draft, x: Value) -> Value:
    """A transposed convolution that leaves the number of frames about as it is."""
    kernel, dilation = net.pick(3, 2, 1), net.pick(1, 2)
    span = (kernel - 1) * dilation
    pad = net.pick(span // 2, 0, span)
    while not enough([length + span - 2 * pad for length in x.lengths]):
        pad -= 1
    wide = net.pick(1, 2)
    text = _layer(
        "ConvTranspose3d",
        f"{x.channels}, 4, ({kernel}, {wide}, {wide})",
        padding=((pad, wide // 2, wide // 2), (0, 0, 0)),
        dilation=((dilation, 1, 1), (1, 1, 1)),
    )
    size = tuple(n + wide - 1 - 2 * (wide // 2) for n in x.size)
    if min(size) < 1:
        return x
    lengths = tuple(length + span - 2 * pad for length in x.lengths)
    return net.write(x, f"{net.module(text)}({x.name})", channels=4, size=size, lengths=lengths)


def enlarging(net: Draft, x: Value) -> Value:
    """What makes several elements of one, where a stride has left room for them."""
    meets = all(x.stride % block == 0 or block % x.stride == 0 for block in net.blocks)
    ratios = [r for r in (2, 3, 4, 6) if x.stride % r == 0 and max(x.lengths) * r <= MAX_LENGTH]
    if not meets or not ratios or len(x.size) != 2:
        return x
    ratio = net.pick(*ratios)
    kind = net.pick("transposed", "nearest", "trilinear", "repeated")
    changes: dict[str, Any] = {"stride": x.stride // ratio}
    if kind == "transposed":
        kernel, dilation = net.pick(2 * ratio, ratio, ratio + 1, 1), net.pick(1, 1, 2, 3)
        pad, extra, groups = net.pick(0, ratio // 2), net.pick(0, ratio - 1), net.pick(1, 2)
        beyond = (kernel - 1) * dilation + extra - 2 * pad
        changes["lengths"] = tuple((n - 1) * ratio + 1 + beyond for n in x.lengths)
        if not enough(changes["lengths"]):
            return x
        layer = _layer(
            "ConvTranspose3d",
            f"{x.channels}, 4, ({kernel}, 1, 1), ({ratio}, 1, 1)",
            padding=((pad, 0, 0), (0, 0, 0)),
            output_padding=((extra, 0, 0), (0, 0, 0)),
            groups=(1 if x.channels % 2 else groups, 1),
            dilation=((dilation, 1, 1), (1, 1, 1)),
        )
        text, changes["channels"] = f"{net.module(layer)}({x.name})", 4
    else:
        changes["lengths"] = tuple(n * ratio for n in x.lengths)
        text = f"F.interpolate({x.name}, scale_factor=({ratio}, 1, 1), mode={kind!r})"
        if kind == "repeated":
            text = f"{x.name}.repeat_interleave({ratio}, 2)"
    net.blocks.add(x.stride)
    return net.write(x, text, **changes)


def pool(net: Draft, x: Value) -> Value:
    """A maximum or mean over time and space, with all their options."""
    is_mean, rest = net.pick(True, False), len(x.size)
    kernel, ceil = net.pick(2, 3, 1, 4), net.pick(False, True)
    dilation = 1 if is_mean else net.pick(1, 1, 2)
    stride = draw_stride(net, x)
    pad = net.pick(kernel // 2, 0)
    wide = net.pick(1, 3) if min(x.size, default=0) >= 3 else 1
    wide_stride = net.pick(1, 2) if wide == 3 else 1

    def fits(kernel: int, dilation: int, pad: int) -> bool:
        lengths = windows(x.lengths, kernel, stride, dilation, 2 * pad, ceil)
        # A mean as long as the clip is a global pool; a window with nothing inside has no maximum.
        is_global = is_mean and kernel == x.lengths[0] and not pad
        full = all(
            any(0 <= i * stride - pad + tap * dilation < length for tap in range(kernel))
            for length, count in zip(x.lengths, lengths, strict=True)
            for i in range(count)
        )
        # torch wants the input of a mean to be as long as its kernel, whatever is padded.
        long = not is_mean or kernel <= min(x.lengths)
        return enough(lengths) and full and long and not is_global

    while not fits(kernel, dilation, pad) and kernel > 1:
        kernel, dilation, pad = kernel - 1, 1, (kernel - 1) // 2
    if not fits(kernel, dilation, pad):
        return x
    lengths = windows(x.lengths, kernel, stride, dilation, 2 * pad, ceil)
    size = windows(x.size, wide, wide_stride, 1, 2 * (wide // 2), ceil) if x.size else ()
    options: dict[str, Any] = {
        "padding": (_tuple(pad, wide // 2, rest), _tuple(0, 0, rest)),
        "ceil_mode": (ceil, False),
    }
    if is_mean:
        options["count_include_pad"] = (net.pick(True, False), True)
        if rest == 2:
            options["divisor_override"] = (net.pick(None, None, 3), None)
    elif rest:
        options["dilation"] = (_tuple(dilation, 1, rest), _tuple(1, 1, rest))
    else:
        options["dilation"] = (dilation, 1)
    sizes = f"{_tuple(kernel, wide, rest)}, {_tuple(stride, wide_stride, rest)}"
    text = _layer(f"{'Avg' if is_mean else 'Max'}Pool{rest + 1}d", sizes, **options)
    return net.write(
        x,
        f"{net.module(text)}({x.name})",
        size=size,
        stride=x.stride * stride,
        lengths=lengths,
    )


def activation(net: Draft, x: Value) -> Value:
    """Element by element."""
    text = net.pick(
        "F.relu({})",
        "F.gelu({})",
        "F.silu({})",
        "F.hardswish({})",
        "F.leaky_relu({}, 0.2)",
        "{}.clamp(-0.5, 1)",
        "{} * 2 - 0.5",
        "torch.exp({}.clamp(max=1))",
    )
    return net.write(x, text.format(x.name))


def batch_norm(net: Draft, x: Value) -> Value:
    """With the statistics that the run draws."""
    layer = net.module(f"nn.BatchNorm{len(x.size) + 1}d({x.channels})")
    return net.write(x, f"{layer}({x.name})")


def pad_time(net: Draft, x: Value) -> Value:
    """Pad or crop either end, with any value."""
    start, end = net.pick(1, 0, 2, 3, -1, -2), net.pick(0, 1, 2, 3, -1, -2)
    if max(x.lengths) >= MAX_LENGTH:
        start, end = min(start, 0), min(end, 0)
    space = net.pick((0, 0, 0, 0), (1, 0, 0, 0))
    lengths = tuple(n + start + end for n in x.lengths)
    cropped = [n + min(start, 0) + min(end, 0) for n in x.lengths]
    if min(cropped) < 1 or not enough(lengths):
        start, end, lengths = 1, 0, tuple(n + 1 for n in x.lengths)
    value = net.pick(0, 0.7, -1.5)
    text = f"F.pad({x.name}, {(*space, start, end)}" + (f", value={value})" if value else ")")
    size = (x.size[0], x.size[1] + space[0])
    return net.write(x, text, size=size, lengths=lengths)


def slice_time(net: Draft, x: Value) -> Value:
    """Crop, and take every n-th element."""
    start, end, step = net.pick(0, 1, 2), net.pick(0, 1, 2), net.pick(1, 2, 3)
    if x.stride * step > MAX_STRIDE:
        step = 1
    span = slice(start or None, -end or None, step)
    lengths = tuple(len(range(*span.indices(n))) for n in x.lengths)
    if not enough(lengths):
        return x
    text = f"{start or ''}:{-end or ''}" + (f":{step}" if step > 1 else "")
    return net.write(x, f"{x.name}[:, :, {text}]", stride=x.stride * step, lengths=lengths)


def temporal_shift(net: Draft, x: Value) -> Value:
    """Channels from the frames before and after (arXiv:1811.08383), written in three ways."""
    if x.channels < 3 or min(x.lengths) < 2:
        return x
    n, how = x.name, net.pick("pad", "cat", "write")
    if how == "pad":
        parts = (
            f"F.pad({n}[:, :1, 1:], (0, 0, 0, 0, 0, 1)), "
            f"F.pad({n}[:, 1:2, :-1], (0, 0, 0, 0, 1, 0)), {n}[:, 2:]"
        )
        return net.write(x, f"torch.cat([{parts}], 1)")
    if how == "cat":
        left = net.write(x, f"torch.cat([{n}[:, :1, 1:], torch.zeros_like({n}[:, :1, :1])], 2)")
        right = net.write(x, f"torch.cat([torch.zeros_like({n}[:, :1, :1]), {n}[:, 1:2, :-1]], 2)")
        return net.write(x, f"torch.cat([{left.name}, {right.name}, {n}[:, 2:]], 1)")
    out = net.write(x, f"torch.zeros_like({n})")
    net.lines += [
        f"{out.name}[:, :1, :-1] = {n}[:, :1, 1:]",
        f"{out.name}[:, 1:2, 1:] = {n}[:, 1:2, :-1]",
        f"{out.name}[:, 2:] = {n}[:, 2:]",
    ]
    return out


def folded(net: Draft, x: Value) -> Value:
    """Two-dimensional layers on frames that are folded into the batch."""
    frames = f"{x.name}.transpose(1, 2).reshape(-1, {x.channels}, {x.size[0]}, {x.size[1]})"
    plane = net.write(x, frames)
    plane = net.write(plane, f"{net.module(f'nn.Conv2d({x.channels}, 4, 1)')}({plane.name})")
    extra = net.pick("{}", "F.max_pool2d({}, 3, 1, 1)", "F.group_norm({}, 2)", "F.relu({})")
    text = extra.format(plane.name)
    shape = f"{x.name}.shape[0], {x.name}.shape[2], 4, {x.size[0]}, {x.size[1]}"
    return net.write(x, f"({text}).view({shape}).transpose(1, 2)", channels=4)


def framewise(net: Draft, x: Value) -> Value:
    """What looks at one frame only, along its channels or over its space."""
    kind = net.pick("softmax", "layer norm", "linear", "shuffle", "tile", "resize", "centre")
    n, last = x.name, "{}.permute(0, 2, 3, 4, 1)"
    if kind == "softmax":
        return net.write(x, f"{n}.softmax(1)")
    if kind in ("layer norm", "linear"):
        channels = 4 if kind == "linear" else x.channels
        text = f"nn.Linear({x.channels}, 4)" if kind == "linear" else f"nn.LayerNorm({channels})"
        moved = f"{net.module(text)}({last.format(n)}).permute(0, 4, 1, 2, 3)"
        return net.write(x, moved, channels=channels)
    if kind == "shuffle" and x.channels % 2 == 0:
        shape = f"{n}.shape[0], 2, {x.channels // 2}, *{n}.shape[2:]"
        return net.write(x, f"{n}.reshape({shape}).transpose(1, 2).flatten(1, 2)")
    if kind == "tile" and x.channels * 2 <= MAX_CHANNELS:
        return net.write(x, f"{n}.repeat(1, 2, 1, 1, 1)", channels=2 * x.channels)
    if kind == "resize" and max(x.size) <= 3:
        size = tuple(2 * s for s in x.size)
        return net.write(x, f"F.interpolate({n}, scale_factor=(1, 2, 2))", size=size)
    if kind == "centre":
        return net.write(x, f"{n} - {n}.mean((3, 4), keepdim=True)")
    return activation(net, x)


def gate(net: Draft, x: Value) -> Value:
    """Squeeze-and-excitation: channels scaled by what the clip holds (the frame, in a stream)."""
    kinds = ["convolution", "linear"] + ["peak"] * (net.options["scope"] == "frame")
    kind, elements = net.pick(*kinds), x.lengths[0]
    if kind == "linear":
        layer = net.module(f"nn.Linear({x.channels}, {x.channels})")
        seen = f"dense_gate({layer}, {x.name}, self.scope, {elements})"
    else:
        layer = net.module(f"nn.Conv3d({x.channels}, {x.channels}, 1)")
        pooled = f"pool({x.name}, self.scope, {elements})"
        pooled = f"peak({x.name}, self.scope)" if kind == "peak" else pooled
        seen = f"{layer}({pooled})"
    return net.write(x, f"{x.name} * torch.sigmoid({seen})")


def _tuple(time: int, space: int, axes: int) -> tuple[int, ...]:
    return (time,) + (space,) * axes


def _layer(name: str, sizes: str, **options: tuple[Any, Any]) -> str:
    """`nn.Name(sizes, option=value, …)` with those options that differ from their default."""
    given = [f"{key}={value}" for key, (value, default) in options.items() if value != default]
    return f"nn.{name}({', '.join([sizes, *given])})"
