"""Chooses the kernel and the tile sizes for a group of operators, and launches it."""

import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.knobs  # pyright: ignore[reportMissingImports]
from torch import Tensor

from co3d.backends.fusion.groups import POINT, Activation, Convolve, SumDepthwise
from co3d.backends.triton_gpu.dense_kernels import convolve, convolve_few_channels, multiply_vectors
from co3d.backends.triton_gpu.depthwise_kernels import average_sums, excite, sum_depthwise
from co3d.backends.triton_gpu.operand import Operand
from co3d.backends.triton_gpu.row_kernels import find_rows
from co3d.backends.triton_gpu.weights import WeightStore

# With at most this many channels, such as a video's 3, `convolve` would leave most of a product's
# depth empty. `convolve_few_channels` fills it with neighbouring taps.
FEW_CHANNELS = 8
# The most vectors for `multiply_vectors`, which reads the weights once per vector; for more of
# them, the tiles of `convolve` read the weights less often.
MOST_VECTORS = 16
# The most elements that kernels index with 32 bits; the margin is for the last tile, which reaches
# past the end.
MOST_ELEMENTS = 2**31 - 2**20
# Thresholds between tile sizes, measured on an H200 with the layers of X3D-M at batch sizes 1 and
# 64.
MANY_PIXELS, TILES_PER_PROCESSOR = 10_000, 4
# The most weights per layer for `excite`, which keeps them in the registers of one thread block.
MOST_GATE_WEIGHTS = 32768


class _Mode(threading.local):
    """Whether this thread compiles kernels instead of running them."""

    only_compiles = False


class Launcher:
    """Launches the kernels of fused groups on a batch.

    Args:
        device: the GPU.
        dtype: of maps.
        processors: streaming multiprocessors of the device, which tiles should keep busy.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, processors: int) -> None:
        self._weights = WeightStore(device, dtype)
        self._processors = processors
        # "tf32x3" multiplies float32 as three TF32 products, which keeps float32's precision.
        self._product = "tf32x3" if dtype == torch.float32 else "tf32"
        self._most_depth = 32 if dtype == torch.float32 else 64
        self._mode = _Mode()

    def compile_kernels(self, call: Callable[[], object]) -> None:
        """Compile the kernels that a call launches, in parallel on all cores, without running them.

        It takes seconds, unless Triton has cached the kernels on disk. PyTorch's operators in the
        call do run, on arbitrary values. Triton's interpreter compiles nothing.
        """
        if triton.knobs.runtime.interpret:
            return
        with ThreadPoolExecutor(os.cpu_count()) as pool, triton.AsyncCompileMode(pool):
            self._mode.only_compiles = True
            try:
                call()
            finally:
                self._mode.only_compiles = False

    def convolve(
        self,
        group: Convolve,
        sources: Sequence[Operand],
        gate: Operand | None,
        residual: Operand | None,
        out: Operand,
    ) -> None:
        """Run a dense convolution into `out`.

        Args:
            sources: (N, C, H, W) with channels last, or (N, C); likewise the others.
        """
        batch, channels, height, width = _map_shape(sources[0])
        _, out_channels, out_height, out_width = _map_shape(out)
        bias = self._weights.lay_out_biases([group.bias], out_channels)
        is_point = tuple(group.weight.shape[2:]) == (1, 1) and group.geometry == POINT
        is_vector = is_point and len(sources) == 1 and height * width == 1
        if is_vector and gate is None and batch <= MOST_VECTORS:
            columns, depth = 8, min(256, triton.next_power_of_2(channels))
            self._launch(
                multiply_vectors,
                (batch, triton.cdiv(out_channels, columns)),
                *_unpack(sources[0]),
                self._weights.lay_out_rows(group.weight),
                bias,
                *_unpack(residual),
                *_unpack(out),
                CHANNELS=channels,
                OUT_CHANNELS=out_channels,
                ACTIVATION=int(group.activation),
                COLUMNS=columns,
                DEPTH=depth,
            )
            return
        # With a gate, tiles cover the pixels of one map, so that a tile reads one row of the gate.
        pixels, maps = out_height * out_width, batch
        if gate is None:
            pixels, maps = pixels * maps, 1
        rows, columns = self._choose_tile(pixels, maps, out_channels, is_gated=gate is not None)
        grid = triton.cdiv(pixels, rows), triton.cdiv(out_channels, columns), maps
        counts = [_map_shape(source)[1] for source in sources]
        weight = self._weights.lay_out_dense(group.weight, counts)
        how = {
            "OUT_CHANNELS": out_channels,
            "SIZE": (height, width),
            "OUT_SIZE": (out_height, out_width),
            "IS_LARGE": max(math.prod(x.shape) for x in (*sources, out)) > MOST_ELEMENTS,
            **_geometry_constants(group.geometry, group.weight.shape[2:]),
            "ACTIVATION": int(group.activation),
            "ROWS": rows,
            "COLUMNS": columns,
            "PRODUCT": self._product,
        }
        has_few_channels = channels <= FEW_CHANNELS and len(sources) == 1
        if has_few_channels and gate is None and residual is None:
            inputs = channels * group.weight.shape[2] * group.weight.shape[3]
            depth = max(16, min(self._most_depth, triton.next_power_of_2(inputs)))
            self._launch(
                convolve_few_channels,
                grid,
                *_unpack(sources[0]),
                weight,
                bias,
                *_unpack(out),
                pixels,
                CHANNELS=channels,
                DEPTH=depth,
                **how,
            )
            return
        depth = max(16, min(self._most_depth, triton.next_power_of_2(max(counts))))
        self._launch(
            convolve,
            grid,
            *_unpack_all(sources),
            weight,
            bias,
            *_unpack(gate),
            *_unpack(residual),
            *_unpack(out),
            pixels,
            CHANNELS=tuple(counts),
            SOURCE_ACTIVATION=int(group.source_activation),
            DEPTH=depth,
            num_stages=3,
            **how,
        )

    def sum_depthwise(
        self,
        group: SumDepthwise,
        sources: Sequence[Operand],
        added: Sequence[Operand],
        outs: Sequence[Operand],
    ) -> Tensor | None:
        """Compute a sum of depthwise convolutions (`outs[0]`) and its additional sums (the rest).

        Returns:
            (N, tiles, C) float32: sums over pixels for the group's mean, if it has one.
        """
        batch, channels, height, width = _map_shape(sources[0])
        _, _, out_height, out_width = _map_shape(outs[0])
        groups = [group, *group.additional.values()]
        kernel, weight = group.kernel, None
        if group.weights is not None:
            kernel = tuple(group.weights[0].shape[1:])
            weights = [cast(tuple[Tensor, ...], one.weights) for one in groups]
            weight = self._weights.lay_out_depthwise(weights)
        pixels = out_height * out_width
        rows, columns = self._choose_depthwise_tile(batch, pixels, channels)
        grid = triton.cdiv(pixels, rows), triton.cdiv(channels, columns), batch
        sums = None
        if group.mean is not None:
            shape = (batch, grid[0], channels)
            sums = torch.empty(shape, dtype=torch.float32, device=outs[0].tensor.device)
        self._launch(
            sum_depthwise,
            grid,
            *_unpack_all(sources),
            *_unpack_all(added),
            *_unpack_all(outs),
            weight,
            self._weights.lay_out_biases([one.bias for one in groups], channels),
            sums,
            float(group.scale),
            CHANNELS=channels,
            SIZE=(height, width),
            OUT_SIZE=(out_height, out_width),
            **_geometry_constants(group.geometry, kernel),
            ACTIVATION=int(group.activation),
            ROWS=rows,
            COLUMNS=columns,
        )
        return sums

    def average(self, sums: Tensor, pixels: int, out: Operand) -> None:
        """Compute means over pixels from partial sums (N, tiles, C); `out`: (N, C) or a map."""
        batch, tiles, channels = sums.shape
        columns = 64
        self._launch(
            average_sums,
            (batch, triton.cdiv(channels, columns)),
            sums,
            *_unpack(out),
            tiles,
            pixels,
            channels,
            ROWS=16,
            COLUMNS=columns,
            num_warps=4,
        )

    def excite(
        self, sums: Tensor, pixels: int, squeeze: Convolve, expand: Convolve, out: Operand
    ) -> None:
        """Compute a squeeze-and-excitation gate from partial sums (N, tiles, C)."""
        batch, tiles, channels = sums.shape
        hidden = squeeze.weight.shape[0]
        columns = triton.next_power_of_2(channels)
        self._launch(
            excite,
            (batch,),
            sums,
            self._weights.lay_out_rows(squeeze.weight),
            self._weights.lay_out_biases([squeeze.bias], hidden),
            self._weights.lay_out_columns(expand.weight),
            self._weights.lay_out_biases([expand.bias], channels),
            *_unpack(out),
            tiles,
            pixels,
            channels,
            hidden,
            ACTIVATION=int(squeeze.activation),
            GATE_ACTIVATION=int(expand.activation),
            ROWS=max(1, 4096 // columns),
            COLUMNS=columns,
            HIDDEN=triton.next_power_of_2(hidden),
            num_warps=8,
        )

    def find_rows(self, heads: Tensor, lines: Tensor, rows: Tensor) -> None:
        """Compute the pool rows of the elements of a batch of slots.

        Args:
            heads: (1 + kinds, N) int64, lines: (L, 3) int64: see the kernel.
            rows: (L, N) int64, which is written; the N columns of a line are contiguous.
        """
        size = rows.shape[1]
        columns = triton.next_power_of_2(size)
        self._launch(
            find_rows, (rows.shape[0],), heads, lines, rows, size, rows.stride(0), COLUMNS=columns
        )

    def _launch(self, kernel: Any, grid: tuple[int, ...], *args: Any, **constants: Any) -> None:
        # Fused multiply-add; its default depends on Triton's version.
        constants["enable_fp_fusion"] = True
        if self._mode.only_compiles:
            kernel.warmup(*args, grid=grid, **constants)
        else:
            kernel[grid](*args, **constants)

    def _choose_tile(
        self, pixels: int, maps: int, out_channels: int, *, is_gated: bool
    ) -> tuple[int, int]:
        """Rows and columns of a product's tile: the largest that give every processor a tile.

        Wide tiles read the sources fewer times. Gated products, which activate their sources in the
        kernel, are faster in tiles of fewer rows.
        """
        widest = 128 if pixels * maps >= MANY_PIXELS else 64
        columns = min(widest, max(16, triton.next_power_of_2(out_channels)))
        rows = 64 if is_gated else 128
        blocks = maps * triton.cdiv(out_channels, columns)
        while rows > 16 and blocks * triton.cdiv(pixels, rows) < self._processors:
            rows //= 2
        return rows, columns

    def _choose_depthwise_tile(self, batch: int, pixels: int, channels: int) -> tuple[int, int]:
        """Rows and columns of a depthwise sum's tile: smaller where processors would be idle."""
        columns = 128 if channels > 128 else min(64, max(16, triton.next_power_of_2(channels)))
        rows = 16 if columns > 64 else 8
        if batch * triton.cdiv(pixels, rows) * triton.cdiv(channels, columns) < (
            TILES_PER_PROCESSOR * self._processors
        ):
            return 4, min(32, columns)
        return rows, columns


def can_excite(channels: int, squeeze: Convolve, expand: Convolve) -> bool:
    """Whether `excite` can compute these two layers of a mean of this many channels."""
    hidden = squeeze.weight.shape[0]
    return (
        tuple(squeeze.weight.shape) == (hidden, channels, 1, 1)
        and tuple(expand.weight.shape) == (channels, hidden, 1, 1)
        and triton.next_power_of_2(hidden) * triton.next_power_of_2(channels) <= MOST_GATE_WEIGHTS
        and all(
            layer.geometry == POINT
            and len(layer.sources) == 1
            and layer.gate is None
            and layer.residual is None
            and layer.source_activation is Activation.IDENTITY
            for layer in (squeeze, expand)
        )
    )


def _geometry_constants(geometry: Mapping[str, Any], kernel: Sequence[int]) -> dict[str, Any]:
    return {
        "KERNEL": tuple(kernel),
        "STRIDE": tuple(geometry["stride"]),
        "PADDING": tuple(geometry["padding"]),
        "DILATION": tuple(geometry["dilation"]),
    }


def _unpack(operand: Operand | None) -> tuple[Tensor | None, Tensor | None]:
    """The two kernel arguments of an operand: its tensor and its rows."""
    return (None, None) if operand is None else (operand.tensor, operand.rows)


def _unpack_all(operands: Sequence[Operand]) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
    """The two kernel arguments of several operands: tuples of tensors and of rows."""
    return tuple(x.tensor for x in operands), tuple(x.rows for x in operands)


def _map_shape(value: Operand) -> tuple[int, int, int, int]:
    """(N, C, H, W), with one pixel for vectors."""
    batch, channels, *size = value.shape
    height, width = size or (1, 1)
    return batch, channels, height, width
