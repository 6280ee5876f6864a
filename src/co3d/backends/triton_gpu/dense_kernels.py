"""Dense convolutions of NHWC maps, and linear layers.

Sources and weights are multiplied in the precision in which they are stored, and accumulated in
float32. The N maps of sources, gates, residuals and results are contiguous, or in rows of pools
(see `find_starts`).
"""

import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

from co3d.backends.triton_gpu.activations import activate
from co3d.backends.triton_gpu.row_kernels import find_starts


@triton.jit
def convolve(
    sources,
    source_rows,
    weight,
    bias,
    gate,
    gate_rows,
    residual,
    residual_rows,
    out,
    out_rows,
    pixels,
    CHANNELS: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,
    SIZE: tl.constexpr,
    OUT_SIZE: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DILATION: tl.constexpr,
    SOURCE_ACTIVATION: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    PRODUCT: tl.constexpr,
    IS_LARGE: tl.constexpr,
):
    """activation(conv(source_activation(gate * cat(sources))) + bias + residual), tile by tile.

    A tile is ROWS pixels by COLUMNS output channels. The pixels are those of all maps of the batch;
    with a gate, which has one factor per map and channel, they are those of one map. A source is
    read tap by tap of the kernel, DEPTH channels at a time. Sizes are compile-time constants, so
    that the compiler knows what is aligned and uses vector loads.

    Args:
        sources: tuple of (N, *SIZE, CHANNELS[i]).
        weight: (source, kernel row, kernel column, channel of the source, out channel).
        bias: (OUT_CHANNELS,) float32, or None.
        gate: (N, channels), only with a single source; or None.
        residual: like out, or None.
        out: (N, *OUT_SIZE, OUT_CHANNELS).
        source_rows, gate_rows, residual_rows, out_rows: (N,) int64, the pool rows of the N maps;
            None for contiguous maps. `source_rows` is a tuple, with an entry per source.
        pixels: output pixels that the tiles cover: of all maps, or with a gate of one map.
        IS_LARGE: whether indices into the batch need 64 bits.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    if IS_LARGE:
        rows = rows.to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    row_fits, column_fits = rows < pixels, columns < OUT_CHANNELS
    area: tl.constexpr = OUT_SIZE[0] * OUT_SIZE[1]
    if gate is None:
        image, place = rows // area, rows % area
    else:
        image, place = rows * 0 + tl.program_id(2), rows
    top = (place // OUT_SIZE[1]) * STRIDE[0] - PADDING[0]
    left = (place % OUT_SIZE[1]) * STRIDE[1] - PADDING[1]
    depths = tl.arange(0, DEPTH)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    base = weight
    gates = find_starts(gate_rows, image, row_fits, CHANNELS[0])
    for s in tl.static_range(len(sources)):
        maps = find_starts(source_rows[s], image, row_fits, SIZE[0] * SIZE[1] * CHANNELS[s])
        for tap in range(KERNEL[0] * KERNEL[1]):
            y = top + (tap // KERNEL[1]) * DILATION[0]
            x = left + (tap % KERNEL[1]) * DILATION[1]
            pixel_fits = row_fits & (y >= 0) & (y < SIZE[0]) & (x >= 0) & (x < SIZE[1])
            starts = maps + (y * SIZE[1] + x) * CHANNELS[s]
            for first in range(0, CHANNELS[s], DEPTH):
                channels = first + depths
                channel_fits = channels < CHANNELS[s]
                values = tl.load(
                    sources[s] + starts[:, None] + channels[None, :],
                    mask=pixel_fits[:, None] & channel_fits[None, :],
                    other=0.0,
                )
                if gate is not None:
                    factors = tl.load(
                        gate + gates[:, None] + channels[None, :],
                        mask=row_fits[:, None] & channel_fits[None, :],
                        other=0.0,
                    )
                    gated = activate(
                        values.to(tl.float32) * factors.to(tl.float32), SOURCE_ACTIVATION
                    )
                    values = gated.to(weight.dtype.element_ty)
                weights = tl.load(
                    base
                    + (tap * CHANNELS[s] + channels)[:, None] * OUT_CHANNELS
                    + columns[None, :],
                    mask=channel_fits[:, None] & column_fits[None, :],
                    other=0.0,
                )
                total = tl.dot(values, weights, total, input_precision=PRODUCT)
        base += KERNEL[0] * KERNEL[1] * CHANNELS[s] * OUT_CHANNELS
    _finish(
        total,
        bias,
        residual,
        residual_rows,
        out,
        out_rows,
        image,
        place,
        row_fits,
        columns,
        area,
        OUT_CHANNELS,
        ACTIVATION,
    )


@triton.jit
def _finish(
    total,
    bias,
    residual,
    residual_rows,
    out,
    out_rows,
    image,
    place,
    row_fits,
    columns,
    AREA: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    """Write activation(total + bias + residual) to the tile's pixels (`image`, `place`)."""
    column_fits = columns < OUT_CHANNELS
    fits = row_fits[:, None] & column_fits[None, :]
    if bias is not None:
        total += tl.load(bias + columns, mask=column_fits, other=0.0)[None, :]
    if residual is not None:
        maps = find_starts(residual_rows, image, row_fits, AREA * OUT_CHANNELS)
        added = residual + (maps + place * OUT_CHANNELS)[:, None] + columns[None, :]
        total += tl.load(added, mask=fits, other=0.0).to(tl.float32)
    total = activate(total, ACTIVATION)
    maps = find_starts(out_rows, image, row_fits, AREA * OUT_CHANNELS)
    target = out + (maps + place * OUT_CHANNELS)[:, None] + columns[None, :]
    tl.store(target, total.to(out.dtype.element_ty), mask=fits)


@triton.jit
def convolve_few_channels(
    source,
    source_rows,
    weight,
    bias,
    out,
    out_rows,
    pixels,
    CHANNELS: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,
    SIZE: tl.constexpr,
    OUT_SIZE: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DILATION: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    PRODUCT: tl.constexpr,
    IS_LARGE: tl.constexpr,
):
    """`convolve` for few channels: the product's depth covers several taps, not just channels.

    Args:
        source: (N, *SIZE, CHANNELS).
        weight: (kernel row, kernel column, channel, out channel).
        bias: (OUT_CHANNELS,) float32, or None.
        out: (N, *OUT_SIZE, OUT_CHANNELS).
        source_rows, out_rows, pixels: as for `convolve`.
    """
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    if IS_LARGE:
        rows = rows.to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    row_fits, column_fits = rows < pixels, columns < OUT_CHANNELS
    area: tl.constexpr = OUT_SIZE[0] * OUT_SIZE[1]
    image, place = rows // area, rows % area
    maps = find_starts(source_rows, image, row_fits, SIZE[0] * SIZE[1] * CHANNELS)
    top = (place // OUT_SIZE[1]) * STRIDE[0] - PADDING[0]
    left = (place % OUT_SIZE[1]) * STRIDE[1] - PADDING[1]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    inputs: tl.constexpr = KERNEL[0] * KERNEL[1] * CHANNELS
    for first in range(0, inputs, DEPTH):
        index = first + tl.arange(0, DEPTH)
        index_fits = index < inputs
        tap, channel = index // CHANNELS, index % CHANNELS
        y = top[:, None] + (tap // KERNEL[1])[None, :] * DILATION[0]
        x = left[:, None] + (tap % KERNEL[1])[None, :] * DILATION[1]
        inside = (y >= 0) & (y < SIZE[0]) & (x >= 0) & (x < SIZE[1])
        values = tl.load(
            source + (maps[:, None] + (y * SIZE[1] + x) * CHANNELS) + channel[None, :],
            mask=row_fits[:, None] & index_fits[None, :] & inside,
            other=0.0,
        )
        weights = tl.load(
            weight + index[:, None] * OUT_CHANNELS + columns[None, :],
            mask=index_fits[:, None] & column_fits[None, :],
            other=0.0,
        )
        total = tl.dot(values, weights, total, input_precision=PRODUCT)
    _finish(
        total,
        bias,
        None,
        None,
        out,
        out_rows,
        image,
        place,
        row_fits,
        columns,
        area,
        OUT_CHANNELS,
        ACTIVATION,
    )


@triton.jit
def multiply_vectors(
    source,
    source_rows,
    weight,
    bias,
    residual,
    residual_rows,
    out,
    out_rows,
    CHANNELS: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,
    ACTIVATION: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """A linear layer of a few vectors; each program computes COLUMNS outputs of one vector.

    Args:
        source: (N, CHANNELS).
        weight: (OUT_CHANNELS, CHANNELS).
        bias: (OUT_CHANNELS,) float32, or None.
        residual: like out, or None.
        out: (N, OUT_CHANNELS).
        source_rows, residual_rows, out_rows: as for `convolve`.
    """
    row = tl.program_id(0)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    column_fits = columns < OUT_CHANNELS
    vector = source + find_starts(source_rows, row, None, CHANNELS)
    total = tl.zeros((COLUMNS, DEPTH), tl.float32)
    for first in range(0, CHANNELS, DEPTH):
        channels = first + tl.arange(0, DEPTH)
        channel_fits = channels < CHANNELS
        values = tl.load(vector + channels, mask=channel_fits, other=0.0)
        weights = tl.load(
            weight + columns[:, None] * CHANNELS + channels[None, :],
            mask=column_fits[:, None] & channel_fits[None, :],
            other=0.0,
        )
        total += weights.to(tl.float32) * values.to(tl.float32)[None, :]
    made = tl.sum(total, 1)
    if bias is not None:
        made += tl.load(bias + columns, mask=column_fits, other=0.0)
    if residual is not None:
        added = residual + find_starts(residual_rows, row, None, OUT_CHANNELS) + columns
        made += tl.load(added, mask=column_fits, other=0.0).to(tl.float32)
    made = activate(made, ACTIVATION)
    target = out + find_starts(out_rows, row, None, OUT_CHANNELS) + columns
    tl.store(target, made.to(out.dtype.element_ty), mask=column_fits)
