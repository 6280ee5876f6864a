"""Depthwise convolutions over space and time, pools, sums of maps, means and gates.

Maps are NHWC, contiguous or in rows of pools (see `find_starts`); all sums are float32.
"""

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

from co3d.backends.triton_gpu.activations import activate
from co3d.backends.triton_gpu.row_kernels import find_starts

# The most taps for which the loop is fully unrolled; more of them take minutes to compile.
MOST_UNROLLED = tl.constexpr(49)


@triton.jit(do_not_specialize=("scale",))
def sum_depthwise(
    sources,
    source_rows,
    added,
    added_rows,
    outs,
    out_rows,
    weight,
    bias,
    sums,
    scale,
    CHANNELS: tl.constexpr,
    SIZE: tl.constexpr,
    OUT_SIZE: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DILATION: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """activation(scale * (sum of depthwise convolutions + added) + bias), tile by tile.

    A tile is ROWS pixels of one map by COLUMNS channels. The first output is the group's own; the
    others are sums of the same inputs with other weights, to which later steps add.

    Args:
        sources: tuple of (N, *SIZE, CHANNELS).
        added: tuple of maps like the outs.
        outs: tuple of (N, *OUT_SIZE, CHANNELS).
        source_rows, added_rows, out_rows: tuples of (N,) int64, the pool rows of the N maps; None
            for contiguous maps.
        weight: (out, source, kernel row, kernel column, channel) float32; None for ones.
        bias: (out, channel) float32, or None.
        sums: (N, tile, channel) float32, to which the first output's sums over each tile's pixels
            are written; or None.
    """
    tile, block, image = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    pixels: tl.constexpr = OUT_SIZE[0] * OUT_SIZE[1]
    taps: tl.constexpr = KERNEL[0] * KERNEL[1]
    rows = tile * ROWS + tl.arange(0, ROWS)
    columns = block * COLUMNS + tl.arange(0, COLUMNS)
    row_fits, column_fits = rows < pixels, columns < CHANNELS
    top = (rows // OUT_SIZE[1]) * STRIDE[0] - PADDING[0]
    left = (rows % OUT_SIZE[1]) * STRIDE[1] - PADDING[1]
    fits = row_fits[:, None] & column_fits[None, :]
    target = rows[:, None] * CHANNELS + columns[None, :]
    for o in tl.static_range(len(outs)):
        total = tl.zeros((ROWS, COLUMNS), tl.float32)
        for s in tl.static_range(len(sources)):
            first = (o * len(sources) + s) * taps
            source = sources[s] + find_starts(
                source_rows[s], image, None, SIZE[0] * SIZE[1] * CHANNELS
            )
            if taps <= MOST_UNROLLED:
                for tap in tl.static_range(taps):
                    total += _read_tap(
                        source,
                        weight,
                        first,
                        tap,
                        top,
                        left,
                        row_fits,
                        columns,
                        CHANNELS,
                        SIZE,
                        KERNEL,
                        DILATION,
                    )
            else:
                for tap in tl.range(taps, loop_unroll_factor=8):
                    total += _read_tap(
                        source,
                        weight,
                        first,
                        tap,
                        top,
                        left,
                        row_fits,
                        columns,
                        CHANNELS,
                        SIZE,
                        KERNEL,
                        DILATION,
                    )
        if o == 0:
            for a in tl.static_range(len(added)):
                other = added[a] + find_starts(added_rows[a], image, None, pixels * CHANNELS)
                total += tl.load(other + target, mask=fits, other=0.0).to(tl.float32)
            total *= scale
        if bias is not None:
            total += tl.load(bias + o * CHANNELS + columns, mask=column_fits, other=0.0)[None, :]
        if o == 0:
            total = activate(total, ACTIVATION)
            if sums is not None:
                part = tl.sum(tl.where(fits, total, 0.0), 0)
                row = image * tl.num_programs(0) + tile
                tl.store(sums + row * CHANNELS + columns, part, mask=column_fits)
        out = outs[o] + find_starts(out_rows[o], image, None, pixels * CHANNELS)
        tl.store(out + target, total.to(outs[o].dtype.element_ty), mask=fits)


@triton.jit
def _read_tap(
    source,
    weight,
    first,
    tap,
    top,
    left,
    row_fits,
    columns,
    CHANNELS: tl.constexpr,
    SIZE: tl.constexpr,
    KERNEL: tl.constexpr,
    DILATION: tl.constexpr,
):
    """A map's inputs at one tap of the kernel, times that tap's weights, which start at `first`."""
    column_fits = columns < CHANNELS
    y = top + (tap // KERNEL[1]) * DILATION[0]
    x = left + (tap % KERNEL[1]) * DILATION[1]
    inside = row_fits & (y >= 0) & (y < SIZE[0]) & (x >= 0) & (x < SIZE[1])
    place = (y * SIZE[1] + x) * CHANNELS
    values = tl.load(
        source + place[:, None] + columns[None, :],
        mask=inside[:, None] & column_fits[None, :],
        other=0.0,
    ).to(tl.float32)
    if weight is not None:
        factors = weight + (first + tap) * CHANNELS + columns
        values *= tl.load(factors, mask=column_fits, other=0.0)[None, :]
    return values


@triton.jit(do_not_specialize=("tiles", "pixels"))
def average_sums(
    sums, out, out_rows, tiles, pixels, channels, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """The mean of a map over its pixels, from the partial sums that `sum_depthwise` wrote.

    Args:
        sums: (N, tiles, channels) float32.
        out: (N, channels); in the rows `out_rows` of a pool unless those are None.
    """
    image = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    column_fits = columns < channels
    mean = _average(sums + image * tiles * channels, tiles, pixels, channels, columns, ROWS)
    target = out + find_starts(out_rows, image, None, channels) + columns
    tl.store(target, mean.to(out.dtype.element_ty), mask=column_fits)


@triton.jit(do_not_specialize=("tiles", "pixels"))
def excite(
    sums,
    weight,
    bias,
    gate_weight,
    gate_bias,
    out,
    out_rows,
    tiles,
    pixels,
    channels,
    hidden_channels,
    ACTIVATION: tl.constexpr,
    GATE_ACTIVATION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    HIDDEN: tl.constexpr,
):
    """Squeeze-and-excitation: the mean over pixels and two linear layers, which make a gate.

    Args:
        sums: (N, tiles, channels) float32.
        weight: (hidden_channels, channels). bias: (hidden_channels,) float32, or None.
        gate_weight: (hidden_channels, channels). gate_bias: (channels,) float32, or None.
        out: (N, channels); in the rows `out_rows` of a pool unless those are None.
    """
    image = tl.program_id(0).to(tl.int64)
    columns, hidden = tl.arange(0, COLUMNS), tl.arange(0, HIDDEN)
    column_fits, hidden_fits = columns < channels, hidden < hidden_channels
    mean = _average(sums + image * tiles * channels, tiles, pixels, channels, columns, ROWS)
    # Rounded to the maps' dtype, as it would be between separate operators.
    mean = mean.to(out.dtype.element_ty).to(tl.float32)
    places = hidden[:, None] * channels + columns[None, :]
    fits = hidden_fits[:, None] & column_fits[None, :]
    first = tl.load(weight + places, mask=fits, other=0.0).to(tl.float32)
    middle = tl.sum(first * mean[None, :], 1)
    if bias is not None:
        middle += tl.load(bias + hidden, mask=hidden_fits, other=0.0)
    middle = activate(middle, ACTIVATION).to(out.dtype.element_ty).to(tl.float32)
    second = tl.load(gate_weight + places, mask=fits, other=0.0).to(tl.float32)
    gate = tl.sum(second * middle[:, None], 0)
    if gate_bias is not None:
        gate += tl.load(gate_bias + columns, mask=column_fits, other=0.0)
    gate = activate(gate, GATE_ACTIVATION)
    target = out + find_starts(out_rows, image, None, channels) + columns
    tl.store(target, gate.to(out.dtype.element_ty), mask=column_fits)


@triton.jit
def _average(sums, tiles, pixels, channels, columns, ROWS: tl.constexpr):
    """The mean of an image, from the sums of its tiles."""
    total = tl.zeros((ROWS, columns.shape[0]), tl.float32)
    for first in range(0, tiles, ROWS):
        rows = first + tl.arange(0, ROWS)
        total += tl.load(
            sums + rows[:, None] * channels + columns[None, :],
            mask=(rows < tiles)[:, None] & (columns < channels)[None, :],
            other=0.0,
        )
    return tl.sum(total, 0) / pixels
