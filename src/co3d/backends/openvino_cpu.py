"""The openvino backend: OpenVINO on the CPU, with state in float32 or bfloat16, channels last."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from co3d.backends.buffers import Bindings, BufferPool
from co3d.backends.graph_executable import BindGraph, GraphExecutor
from co3d.backends.graphs.stored_graph import StepGraph, StoredGraph, store_as_onnx
from co3d.packages import require_package

_WRAPPER = "_openvino_tensor"
_WORDS = {torch.float32: "f32", torch.bfloat16: "bf16"}


class OpenVinoExecutor(GraphExecutor):
    """Runs step graphs through OpenVINO's CPU plugin.

    The plugin's convolutions compute with channels last. State is stored in that layout and in the
    compute precision, so that the graph need not convert it.
    """

    output_dtype = torch.float32
    device = torch.device("cpu")
    map_layout = torch.channels_last

    def __init__(self, precision: str, dtype: torch.dtype, threads: int) -> None:
        self._package = require_package("openvino", extra="openvino")
        self.dtype = dtype
        self._core = open_core()
        self._options = {
            "INFERENCE_PRECISION_HINT": _WORDS[dtype],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            # Pinning would put every single-threaded process on the first core.
            "ENABLE_CPU_PINNING": False,
        }
        version = self._package.__version__.split("-")[0]
        self.description = f"openvino {version}, {precision} on cpu, {threads} threads"

    def prepare(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> BindGraph:
        """See `GraphExecutor.prepare`."""
        stored = store_as_onnx(graph, examples)
        made = sum(stored.is_made[:results])
        model = self._core.read_model(stored.data, stored.weights)
        if stored.format == "onnx":
            model = declare_layouts(self._package, model, made, self.dtype)
        compiled = self._core.compile_model(model, "CPU", self._options)
        return functools.partial(_BoundRequests, self._package, stored, compiled, made)


@functools.cache
def open_core() -> Any:
    """OpenVINO's core, one per process.

    The CPU plugin replaces the signal stack of the thread that loads it, and frees the new stack
    with the core. If cores are destroyed in another order than they were made, or in another
    thread, the next signal to that thread kills the process (seen with 2026.4).

    Raises:
        MissingPackageError: openvino is not installed.
    """
    return require_package("openvino", extra="openvino").Core()


def declare_layouts(package: Any, model: Any, results: int, dtype: torch.dtype) -> Any:
    """Declare frames and state as NHWC in `dtype`, and results as NHWC in float32.

    Args:
        package: the module `openvino`.
        model: a step graph that OpenVINO has read from ONNX.
        results: how many of its outputs are results; the others are state.
        dtype: of frames and state.
    """
    declared = package.preprocess.PrePostProcessor(model)
    float32, kept = package.Type.f32, getattr(package.Type, _WORDS[dtype])
    sides = [(declared.input, value, kept) for value in model.inputs]
    for i, value in enumerate(model.outputs):
        sides.append((declared.output, value, float32 if i < results else kept))
    for side, value, kind in sides:
        info = side(value.get_any_name())
        if value.element_type == float32:
            info.tensor().set_element_type(kind)
        if len(value.shape) == 4:
            info.tensor().set_layout(package.Layout("NHWC"))
            info.model().set_layout(package.Layout("NCHW"))
    return declared.build()


class _BoundRequests:
    """Inference requests of one compiled step graph, which steps use alternately."""

    def __init__(
        self,
        package: Any,
        stored: StoredGraph,
        compiled: Any,
        results: int,
        pool: BufferPool,
    ) -> None:
        self._package, self._stored = package, stored
        requests = [compiled.create_infer_request() for _ in range(Bindings.CYCLE)]
        first = requests[0]
        self._used = stored.find_used([value.get_any_name() for value in first.model_inputs])
        kinds = {v: k for k, v in _element_types(package).items()}
        self._makers = [
            pool.maker(_plain_shape(value.shape), kinds[value.element_type], is_state=i >= results)
            for i, value in enumerate(first.model_outputs)
        ]
        self._results = results
        places = len(self._used) + len(self._makers)
        self._bindings = itertools.cycle([(request, Bindings(places)) for request in requests])

    def __call__(self, inputs: Sequence[Tensor]) -> Sequence[Tensor | None]:
        request, bound = next(self._bindings)

        def bind(place: int, tensor: Tensor) -> None:
            if place < len(self._used):
                request.set_input_tensor(place, self._wrap(tensor))
            else:
                request.set_output_tensor(place - len(self._used), self._wrap(tensor))

        made = [make() for make in self._makers]
        bound.update([*(inputs[position] for position in self._used), *made], bind)
        request.infer()
        self._release(made[: self._results])
        made[: self._results] = [value.to(torch.float32) for value in made[: self._results]]
        return self._stored.place(made)

    def _wrap(self, tensor: Tensor) -> Any:
        """An OpenVINO tensor over the same memory.

        It is kept as an attribute of the buffer, which is reused: otherwise each step of X3D-M
            would
        make 150 of them.
        """
        wrapper = getattr(tensor, _WRAPPER, None)
        if wrapper is None:
            flat = tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor
            kind = _element_types(self._package)[tensor.dtype]
            # NumPy has no bfloat16, so that the bits are viewed as int16.
            bits = flat.view(torch.int16) if tensor.dtype == torch.bfloat16 else flat
            wrapper = self._package.Tensor(bits.numpy(), list(flat.shape), kind)
            setattr(tensor, _WRAPPER, wrapper)
        return wrapper

    def _release(self, results: Sequence[Tensor]) -> None:
        """Remove the wrappers from results, so that the caller can pickle or copy them."""
        for result in results:
            delattr(result, _WRAPPER)


def _element_types(package: Any) -> dict[torch.dtype, Any]:
    kinds = package.Type
    return {
        torch.float32: kinds.f32,
        torch.float64: kinds.f64,
        torch.float16: kinds.f16,
        torch.bfloat16: kinds.bf16,
        torch.bool: kinds.boolean,
        torch.uint8: kinds.u8,
        torch.int8: kinds.i8,
        torch.int16: kinds.i16,
        torch.int32: kinds.i32,
        torch.int64: kinds.i64,
    }


def _plain_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape (N, C, H, W) of a map that the plugin describes as (N, H, W, C)."""
    sizes = tuple(shape)
    return (sizes[0], sizes[3], *sizes[1:3]) if len(sizes) == 4 else sizes
