"""The result of a step."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map_only


@dataclass(frozen=True, repr=False)
class StepResult:
    """The result of one step, with a row for each slot.

    Attributes:
        output: (slots, …) on the program's device, zero for slots without a new result. Row i
            describes the frame that slot i saw `program.delay` steps ago. For a model with several
            outputs it is a tuple or dict of such tensors, as the model returns it.
        valid: (slots,) bool, on the CPU: whether the result is new and its window is full of real
            frames.
        fresh: (slots,) bool, on the CPU: whether this step made a new result. In dense rate every
            step makes one, in native rate every `program.temporal_stride`-th step.
    """

    output: Any
    valid: Tensor
    fresh: Tensor

    def __repr__(self) -> str:
        shapes = tree_map_only(Tensor, lambda tensor: tuple(tensor.shape), self.output)
        return f"StepResult(output={shapes}, valid={self.valid.tolist()})"
