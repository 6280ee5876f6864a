"""A kernel's operand: the values of a batch, in one tensor or in rows of a pool."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Operand:
    """What a kernel reads or writes.

    Attributes:
        tensor: (N, …), maps with channels last. With `rows`, a pool (R, …) with the values of all
            slots.
        rows: (N,) int64 on the device, the pool row of each value of the batch; None where the
            tensor holds just the batch.
    """

    tensor: Tensor
    rows: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, …): the shape of the batch."""
        count = (self.tensor if self.rows is None else self.rows).shape[0]
        return count, *self.tensor.shape[1:]

    def read(self) -> Tensor:
        """The batch's values (N, …): the tensor itself, or a copy of rows of a pool."""
        if self.rows is None:
            return self.tensor
        return _put_channels_second(_put_channels_last(self.tensor).index_select(0, self.rows))

    def write(self, values: Tensor) -> None:
        """Overwrite the batch's values with (N, …)."""
        if self.rows is None:
            self.tensor.copy_(values)
        else:
            _put_channels_last(self.tensor).index_copy_(0, self.rows, _put_channels_last(values))


def _put_channels_last(values: Tensor) -> Tensor:
    """View maps in their order in memory, so that a copy moves contiguous rows."""
    return values.permute(0, 2, 3, 1) if values.dim() == 4 else values


def _put_channels_second(values: Tensor) -> Tensor:
    return values.permute(0, 3, 1, 2) if values.dim() == 4 else values
