"""Choosing a backend: from a program to an open stream."""

import torch

from co3d.backends.stream import Stream
from co3d.backends.torch_eager import TorchRunner
from co3d.errors import OptionError
from co3d.stream.program import StepProgram

_PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


def open_stream(
    program: StepProgram,
    *,
    backend: str = "auto",
    precision: str = "float32",
    device: str = "cpu",
    slots: int = 1,
) -> Stream:
    """Compile a step program for a number of slots and open the stream.

    Args:
        program: from `convert`.
        backend: "torch" (the reference, eager), or "auto", which is "torch" while no other backend
            exists. `Stream.backend` says what was chosen.
        precision: "float32" or "float64".
        device: a torch device.
        slots: videos that step together, at least 1.

    Raises:
        OptionError: an option outside its range, or a device that is not there.
    """
    if backend not in ("auto", "torch"):
        raise OptionError(
            f"cannot open a stream: got backend {backend!r}, expected 'auto' or 'torch'"
        )
    if precision not in _PRECISIONS:
        raise OptionError(
            f"cannot open a stream: got precision {precision!r}, expected one of "
            f"{', '.join(_PRECISIONS)}"
        )
    if slots < 1:
        raise OptionError(f"cannot open a stream: got slots={slots}, expected at least 1")
    try:
        place = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            f"cannot open a stream on device {device!r}: {str(error).splitlines()[0]}; use 'cpu' "
            "or a device that torch sees"
        ) from error
    return Stream(TorchRunner(program, slots, _PRECISIONS[precision], place))
