"""Layers for random networks that fold time with other axes, remember, or write into frames."""

from support.random_layers import Draft, Value


def along_time(net: Draft, x: Value) -> Value:
    """A layer of each pixel's own sequence: (N·H·W, C, T), or (N·H·W, T, C) for recurrent ones."""
    kind = net.pick("depthwise", "dense", "mean", "recurrent", "cumulative")
    n, (height, width), channels = x.name, x.size, x.channels
    if kind == "cumulative":
        return net.write(x, f"({n} * 0.1).cumsum(2)")
    last = kind == "recurrent"
    order = "0, 3, 4, 2, 1" if last else "0, 3, 4, 1, 2"
    shape = "{0}.shape[2], {1}" if last else "{1}, {0}.shape[2]"
    sequence = shape.format(n, channels)
    rows = net.write(x, f"{n}.permute({order}).reshape(-1, {sequence})")
    layer = {
        "depthwise": f"nn.Conv1d({channels}, {channels}, 3, padding=1, groups={channels})",
        "dense": f"nn.Conv1d({channels}, {channels}, 3, padding=1)",
        "mean": "nn.AvgPool1d(3, 1, 1, count_include_pad=False)",
        "recurrent": f"nn.GRU({channels}, {channels}, batch_first=True)",
    }[kind]
    made = f"{net.module(layer)}({rows.name})" + ("[0]" if last else "")
    apart = f"({made}).view({n}.shape[0], {height}, {width}, {sequence})"
    back = "0, 4, 3, 1, 2" if last else "0, 3, 4, 1, 2"
    return net.write(x, f"{apart}.permute({back})")


def by_channels(net: Draft, x: Value) -> Value:
    """Frames by way of (N, T·C, H, W), and per frame again."""
    n, (height, width), channels = x.name, x.size, x.channels
    flat = f"{n}.transpose(1, 2).reshape({n}.shape[0], -1, {height}, {width})"
    flat_value = net.write(x, f"F.relu({flat})")
    frames = f"{flat_value.name}.reshape(-1, {channels}, {height}, {width})"
    made = f"{net.module(f'nn.Conv2d({channels}, {channels}, 1)')}({frames})"
    shape = f"{n}.shape[0], -1, {channels}, {height}, {width}"
    return net.write(x, f"({made}).view({shape}).transpose(1, 2)")


def write_space(net: Draft, x: Value) -> Value:
    """Write into a column or a channel of every frame."""
    out = net.write(x, f"{x.name}.clone()")
    place = net.pick("..., -1", ":, :1", "..., :1, :")
    net.lines.append(f"{out.name}[{place}] = {out.name}[{place}] * 1.5")
    return out
