"""The onnxruntime backend: ONNX Runtime on the CPU, with bound float32 state (no copies)."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from co3d.backends.buffers import Bindings, BufferPool
from co3d.backends.graph_executable import BindGraph, GraphExecutor
from co3d.backends.graphs.stored_graph import StepGraph, StoredGraph, store_as_onnx
from co3d.packages import require_package

# How long a thread spins while it waits for work; waking one takes about as long. By default
# the runtime spins until the next frame of a live source, which keeps cores busy: a step of X3D-M
# on two threads, 25 times a second, then takes 64 CPU-ms instead of 33.
SPIN_MICROSECONDS = 50

_KINDS = (
    (torch.float32, np.float32, "float"),
    (torch.float64, np.float64, "double"),
    (torch.float16, np.float16, "float16"),
    (torch.bool, np.bool_, "bool"),
    (torch.uint8, np.uint8, "uint8"),
    (torch.int8, np.int8, "int8"),
    (torch.int16, np.int16, "int16"),
    (torch.int32, np.int32, "int32"),
    (torch.int64, np.int64, "int64"),
)
_NUMPY = {dtype: kind for dtype, kind, _ in _KINDS}
_DTYPES = {f"tensor({name})": dtype for dtype, _, name in _KINDS}


class OnnxRuntimeExecutor(GraphExecutor):
    """Runs step graphs through ONNX Runtime's I/O binding: state is neither copied nor allocated.

    A step binds its inputs to the buffers to which earlier steps wrote the state, and its outputs
    to buffers of elements that have been dropped.
    """

    dtype = output_dtype = torch.float32
    device = torch.device("cpu")
    map_layout = torch.contiguous_format

    def __init__(self, precision: str, threads: int) -> None:
        self._runtime = require_package("onnxruntime", extra="onnxruntime")
        self._threads = threads
        self.description = (
            f"onnxruntime {self._runtime.__version__}, {precision} on cpu, {threads} threads"
        )

    def prepare(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> BindGraph:
        """See `GraphExecutor.prepare`."""
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        spin = {"intra_op.spin_duration_us": str(SPIN_MICROSECONDS), "force_spinning_stop": "1"}
        for name, value in spin.items():  # older versions support only the second option
            options.add_session_config_entry(f"session.{name}", value)
        stored = store_as_onnx(graph, examples)
        session = self._runtime.InferenceSession(
            stored.data, options, providers=["CPUExecutionProvider"]
        )
        return partial(_BoundSession, stored, session, sum(stored.is_made[:results]))


class _BoundSession:
    """One step graph in a session, with bindings that steps use alternately."""

    def __init__(self, stored: StoredGraph, session: Any, results: int, pool: BufferPool) -> None:
        self._stored, self._session, self._results = stored, session, results
        names = [value.name for value in session.get_inputs()]
        self._inputs = list(zip(stored.find_used(names), names, strict=True))
        self._outputs = [value.name for value in session.get_outputs()]
        self._makers = [
            pool.maker(value.shape, _DTYPES[value.type], is_state=i >= results)
            for i, value in enumerate(session.get_outputs())
        ]
        places = len(self._inputs) + len(self._outputs)
        bindings = [(session.io_binding(), Bindings(places)) for _ in range(Bindings.CYCLE)]
        self._bindings = itertools.cycle(bindings)

    def __call__(self, inputs: Sequence[Tensor]) -> Sequence[Tensor | None]:
        binding, bound = next(self._bindings)

        def bind(place: int, tensor: Tensor) -> None:
            if place < len(self._inputs):
                binding.bind_input(self._inputs[place][1], "cpu", 0, *_describe(tensor))
            else:
                name = self._outputs[place - len(self._inputs)]
                binding.bind_output(name, "cpu", 0, *_describe(tensor))

        made = [make() for make in self._makers]
        bound.update([*(inputs[position] for position, _ in self._inputs), *made], bind)
        self._session.run_with_iobinding(binding)
        made[: self._results] = [value.to(torch.float32) for value in made[: self._results]]
        return self._stored.place(made)


def _describe(tensor: Tensor) -> tuple[Any, list[int], int]:
    """Element type, shape and address, the arguments of a binding."""
    return _NUMPY[tensor.dtype], list(tensor.shape), tensor.data_ptr()
