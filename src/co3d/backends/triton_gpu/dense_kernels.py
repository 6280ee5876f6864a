"""Dense convolutions of maps with channels last, and linear layers.

All sums are float32; sources and weights are multiplied in the precision in which they are kept.
"""

import triton
import triton.language as tl

from co3d.backends.triton_gpu.activations import activate


# Numbers of which it does not matter whether 16 divides them: one kernel serves them all.
_SIZES = ("pixels", "height", "width", "out_height", "out_width")


@triton.jit(do_not_specialize=_SIZES)
def convolve(
    sources,
    weight,
    bias,
    gate,
    residual,
    out,
    pixels,
    height,
    width,
    out_height,
    out_width,
    out_channels,
    source_channels,
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
):
    """activation(conv(source_activation(gate * cat(sources))) + bias + residual), tile by tile.

    A tile is ROWS pixels of all maps of the batch by COLUMNS output channels. A source is read
    pixel by pixel of the kernel, DEPTH channels at a time.

    Args:
        sources: tuple of (N, height, width, source_channels[i]).
        weight: (source, kernel row, kernel column, channel of the source, out channel).
        bias: (out_channels,) float32, or None.
        gate: (N, channels) of the one source, or None.
        residual: like out, or None.
        out: (N, out_height, out_width, out_channels); pixels is N * out_height * out_width.
    """
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    row_fits, column_fits = rows < pixels, columns < out_channels
    image = rows // (out_height * out_width)
    place = rows - image * (out_height * out_width)
    top = (place // out_width) * STRIDE[0] - PADDING[0]
    left = (place % out_width) * STRIDE[1] - PADDING[1]
    depths = tl.arange(0, DEPTH)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    base = weight
    for s in tl.static_range(len(sources)):
        for tap in range(KERNEL[0] * KERNEL[1]):
            y = top + (tap // KERNEL[1]) * DILATION[0]
            x = left + (tap % KERNEL[1]) * DILATION[1]
            pixel_fits = row_fits & (y >= 0) & (y < height) & (x >= 0) & (x < width)
            starts = ((image * height + y) * width + x) * source_channels[s]
            for first in range(0, source_channels[s], DEPTH):
                channels = first + depths
                channel_fits = channels < source_channels[s]
                read = tl.load(
                    sources[s] + starts[:, None] + channels[None, :],
                    mask=pixel_fits[:, None] & channel_fits[None, :],
                    other=0.0,
                )
                if gate is not None:
                    factors = tl.load(
                        gate + image[:, None] * source_channels[s] + channels[None, :],
                        mask=row_fits[:, None] & channel_fits[None, :],
                        other=0.0,
                    )
                    gated = activate(
                        read.to(tl.float32) * factors.to(tl.float32), SOURCE_ACTIVATION
                    )
                    read = gated.to(weight.dtype.element_ty)
                taken = tl.load(
                    base
                    + (tap * source_channels[s] + channels)[:, None] * out_channels
                    + columns[None, :],
                    mask=channel_fits[:, None] & column_fits[None, :],
                    other=0.0,
                )
                total = tl.dot(read, taken, total, input_precision=PRODUCT)
        base += KERNEL[0] * KERNEL[1] * source_channels[s] * out_channels
    if bias is not None:
        total += tl.load(bias + columns, mask=column_fits, other=0.0)[None, :]
    target = rows[:, None] * out_channels + columns[None, :]
    fits = row_fits[:, None] & column_fits[None, :]
    if residual is not None:
        total += tl.load(residual + target, mask=fits, other=0.0).to(tl.float32)
    total = activate(total, ACTIVATION)
    tl.store(out + target, total.to(out.dtype.element_ty), mask=fits)


@triton.jit(do_not_specialize=_SIZES)
def convolve_thin(
    source,
    weight,
    bias,
    out,
    pixels,
    height,
    width,
    out_height,
    out_width,
    out_channels,
    CHANNELS: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    DILATION: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    PRODUCT: tl.constexpr,
):
    """`convolve` for frames of few channels: pixels of the kernel lie side by side in a product.

    Args:
        source: (N, height, width, CHANNELS).
        weight: (kernel row, kernel column, channel, out channel).
        bias: (out_channels,) float32, or None.
        out: (N, out_height, out_width, out_channels); pixels is N * out_height * out_width.
    """
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    row_fits, column_fits = rows < pixels, columns < out_channels
    image = rows // (out_height * out_width)
    place = rows - image * (out_height * out_width)
    top = (place // out_width) * STRIDE[0] - PADDING[0]
    left = (place % out_width) * STRIDE[1] - PADDING[1]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    readings: tl.constexpr = KERNEL[0] * KERNEL[1] * CHANNELS
    for first in range(0, readings, DEPTH):
        reading = first + tl.arange(0, DEPTH)
        reading_fits = reading < readings
        tap, channel = reading // CHANNELS, reading % CHANNELS
        y = top[:, None] + (tap // KERNEL[1])[None, :] * DILATION[0]
        x = left[:, None] + (tap % KERNEL[1])[None, :] * DILATION[1]
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        read = tl.load(
            source + ((image[:, None] * height + y) * width + x) * CHANNELS + channel[None, :],
            mask=row_fits[:, None] & reading_fits[None, :] & inside,
            other=0.0,
        )
        taken = tl.load(
            weight + reading[:, None] * out_channels + columns[None, :],
            mask=reading_fits[:, None] & column_fits[None, :],
            other=0.0,
        )
        total = tl.dot(read, taken, total, input_precision=PRODUCT)
    if bias is not None:
        total += tl.load(bias + columns, mask=column_fits, other=0.0)[None, :]
    total = activate(total, ACTIVATION)
    target = rows[:, None] * out_channels + columns[None, :]
    fits = row_fits[:, None] & column_fits[None, :]
    tl.store(out + target, total.to(out.dtype.element_ty), mask=fits)


@triton.jit
def multiply_vectors(
    source,
    weight,
    bias,
    residual,
    out,
    out_channels,
    source_channels,
    ACTIVATION: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """A linear layer of a few vectors, one a program, which spreads it over the whole GPU.

    Args:
        source: (N, source_channels).
        weight: (out_channels, source_channels).
        bias: (out_channels,) float32, or None.
        residual: like out, or None.
        out: (N, out_channels).
    """
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    column_fits = columns < out_channels
    total = tl.zeros((COLUMNS, DEPTH), tl.float32)
    for first in range(0, source_channels, DEPTH):
        channels = first + tl.arange(0, DEPTH)
        channel_fits = channels < source_channels
        read = tl.load(source + row * source_channels + channels, mask=channel_fits, other=0.0)
        taken = tl.load(
            weight + columns[:, None] * source_channels + channels[None, :],
            mask=column_fits[:, None] & channel_fits[None, :],
            other=0.0,
        )
        total += taken.to(tl.float32) * read.to(tl.float32)[None, :]
    made = tl.sum(total, 1)
    if bias is not None:
        made += tl.load(bias + columns, mask=column_fits, other=0.0)
    target = row * out_channels + columns
    if residual is not None:
        made += tl.load(residual + target, mask=column_fits, other=0.0).to(tl.float32)
    made = activate(made, ACTIVATION)
    tl.store(out + target, made.to(out.dtype.element_ty), mask=column_fits)
