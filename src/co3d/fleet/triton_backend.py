"""A step program as a model of Triton's Python backend: the class that `1/model.py` imports."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# This module exists only inside Triton's own process; no package has it.
import triton_python_backend_utils as triton  # pyright: ignore[reportMissingImports]

from co3d.errors import Co3dError
from co3d.export import load_program
from co3d.fleet.triton_config import (
    END,
    PROGRAM_FILE,
    READY,
    START,
    list_flushed,
    list_frames,
    list_outputs,
)
from co3d.fleet.triton_sequences import SequenceFrame, SequenceResult, SequenceSlots
from co3d.runtime.opening import compile as compile_program


class TritonPythonModel:
    """One instance of the model; Triton sends a sequence to one instance from start to end."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the program beside `model.py`, and compile it for this instance's device.

        Args:
            args: from Triton: the model's configuration as JSON, its folder, version and device.
        """
        config = json.loads(args["model_config"])
        options = {name: given["string_value"] for name, given in config["parameters"].items()}
        path = Path(args["model_repository"]) / args["model_version"] / PROGRAM_FILE
        # The program's file lies beside Python code that is executed, and is trusted as much.
        program = load_program(path, most_bytes=None).program
        is_gpu = args["model_instance_kind"] == "GPU"
        compiled = compile_program(
            program,
            backend=options["backend"],
            precision=options["precision"],
            device=f"cuda:{args['model_instance_device_id']}" if is_gpu else "cpu",
        )
        idle_us = int(config["sequence_batching"]["max_sequence_idle_microseconds"])
        self._slots = SequenceSlots(compiled, idle_us / 1e6)
        self._frames = list_frames(program)
        self._outputs, self._flushed = list_outputs(program), list_flushed(program)
        triton.Logger.log_info(f"co3d steps {program.name} with {compiled.backend}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Step the sequences of several requests, one frame each.

        Args:
            requests: of different sequences. With the direct strategy, requests that are not ready
                only fill the places of idle sequences.

        Returns:
            A response to each.
        """
        rows = [row for row, request in enumerate(requests) if _read_flag(request, READY)]
        made = self._slots.step([self._read_frame(requests[row]) for row in rows])
        responses = [triton.InferenceResponse([]) for _ in requests]
        for row, result in zip(rows, made, strict=True):
            responses[row] = self._respond(result)
        return responses

    def finalize(self) -> None:
        """Free the slots."""
        self._slots.close()

    def _read_frame(self, request: Any) -> SequenceFrame:
        return SequenceFrame(
            sequence_id=request.correlation_id(),
            starts=_read_flag(request, START),
            ends=_read_flag(request, END),
            inputs=tuple(_read_tensor(request, name) for name in self._frames),
        )

    def _respond(self, result: SequenceResult | Co3dError) -> Any:
        if isinstance(result, Co3dError):
            return triton.InferenceResponse([], triton.TritonError(str(result)))
        own, late = _list_arrays(result), [_list_arrays(one) for one in result.flushed]
        tensors = [
            triton.Tensor(spec.name, array.reshape(1, *spec.dims))
            for spec, array in zip(self._outputs, own, strict=True)
        ]
        for place, spec in enumerate(self._flushed):
            rows = np.array([arrays[place] for arrays in late], own[place].dtype)
            tensors.append(triton.Tensor(spec.name, rows.reshape(1, len(late), *spec.dims)))
        return triton.InferenceResponse(tensors)


def _list_arrays(result: SequenceResult) -> list[np.ndarray]:
    """The outputs of a step, in the order of `list_outputs`."""
    marks = [np.array(result.valid), np.array(result.fresh)]
    return [*(output.cpu().numpy() for output in result.outputs), *marks]


def _read_tensor(request: Any, name: str) -> np.ndarray:
    return triton.get_input_tensor_by_name(request, name).as_numpy()


def _read_flag(request: Any, name: str) -> bool:
    """A control flag that the sequence batcher set in a request."""
    return bool(_read_tensor(request, name).any())
