"""Lays out weights on the device as the kernels read them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class WeightStore:
    """Lays weights out once for all graphs that share them.

    Args:
        device: the weights' device.
        dtype: of dense weights; depthwise weights and biases are float32.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._laid_out: dict[object, tuple[Sequence[Tensor], Tensor]] = {}

    def lay_out_dense(self, weight: Tensor, channels: Sequence[int]) -> Tensor:
        """(out, in, rows, columns) -> flat (source, row, column, in, out), as `convolve` reads."""

        def make() -> Tensor:
            parts = weight.split(list(channels), dim=1)
            return torch.cat([part.permute(2, 3, 1, 0).flatten() for part in parts])

        return self._once(("dense", *channels), [weight], make, self._dtype)

    def lay_out_rows(self, weight: Tensor) -> Tensor:
        """(out, in, 1, 1) -> (out, in): a row per result."""
        return self._once("rows", [weight], lambda: weight[:, :, 0, 0], self._dtype)

    def lay_out_columns(self, weight: Tensor) -> Tensor:
        """(out, in, 1, 1) -> (in, out): a column per result."""
        return self._once("columns", [weight], weight[:, :, 0, 0].t, self._dtype)

    def lay_out_depthwise(self, weights: Sequence[Sequence[Tensor]]) -> Tensor:
        """Per out and source (channel, row, column) -> (out, source, row, column, channel)."""
        every = [weight for sources in weights for weight in sources]

        def make() -> Tensor:
            made = torch.stack([weight.permute(1, 2, 0) for weight in every])
            return made.unflatten(0, (len(weights), -1))

        return self._once(("depthwise", len(weights)), every, make, torch.float32)

    def lay_out_biases(self, biases: Sequence[Tensor | None], channels: int) -> Tensor | None:
        """(out, channel), zeros for outputs without a bias; None where no output has one."""
        given = [bias for bias in biases if bias is not None]
        if not given:
            return None

        def make() -> Tensor:
            empty = torch.zeros(channels, dtype=given[0].dtype, device=given[0].device)
            return torch.stack([empty if bias is None else bias for bias in biases])

        which = tuple(bias is not None for bias in biases)
        return self._once(("bias", which), given, make, torch.float32)

    def _once(
        self,
        layout: object,
        tensors: Sequence[Tensor],
        make: Callable[[], Tensor],
        dtype: torch.dtype,
    ) -> Tensor:
        """Call `make` once per layout and source tensors, and cache the result on the device."""
        places = [(t.data_ptr(), t.dtype, tuple(t.shape), t.stride()) for t in tensors]
        key = (layout, *places)
        if key not in self._laid_out:
            made = make().to(self._device, dtype).contiguous()
            # The tensors are kept alive, so that no other tensor gets their addresses.
            self._laid_out[key] = (tensors, made)
        return self._laid_out[key][1]
