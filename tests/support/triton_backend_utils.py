"""What Triton's process gives the Python backend, as far as our model uses it."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np


class Tensor:
    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._array


class TritonError(Exception):
    def message(self) -> str:
        return str(self)


@dataclass
class InferenceResponse:
    output_tensors: list[Tensor]
    error: TritonError | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        assert self.error is None
        return {tensor.name(): tensor.as_numpy() for tensor in self.output_tensors}


@dataclass
class Request:
    """A request as the sequence batcher hands it on, its controls among the inputs."""

    frame: np.ndarray
    sequence_id: int | str = 1
    start: bool = False
    end: bool = False
    ready: bool = True

    def correlation_id(self) -> int | str:
        return self.sequence_id

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        flags = {"START": self.start, "END": self.end, "READY": self.ready}
        controls = {name: np.array([[flag]], np.int32) for name, flag in flags.items()}
        return {"frame": self.frame, **controls}


def make_module() -> ModuleType:
    """A module `triton_python_backend_utils`."""
    module: Any = ModuleType("triton_python_backend_utils")
    module.Tensor, module.TritonError, module.InferenceResponse = (
        Tensor,
        TritonError,
        InferenceResponse,
    )
    module.logged = []
    module.Logger = type("Logger", (), {"log_info": module.logged.append})
    module.get_input_tensor_by_name = lambda request, name: Tensor(name, request.inputs[name])
    return module
