"""OpenVINO on the CPU: float32 or bfloat16 step graphs, state bound in place with channels last."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from co3d.backends.buffers import BufferPool
from co3d.backends.executor import StepFunction
from co3d.backends.graph_cache import read_or_write_onnx
from co3d.backends.onnx_graph import find_made, find_used, place_results
from co3d.backends.packages import require_package

_WRAPPER = "_openvino_tensor"
_WORDS = {torch.float32: "f32", torch.bfloat16: "bf16"}


class OpenVinoExecutor:
    """Runs step graphs through OpenVINO's CPU plugin.

    The plugin's convolutions want channels last; state that is kept so, and in the precision that
    they compute in, goes in and out of the graph without being reordered.
    """

    output_dtype = torch.float32
    device = torch.device("cpu")
    map_layout = torch.channels_last

    def __init__(self, dtype: torch.dtype, threads: int) -> None:
        self._package = require_package("openvino", extra="openvino")
        self.dtype = dtype
        self._core = self._package.Core()
        self._options = {
            "INFERENCE_PRECISION_HINT": _WORDS[dtype],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        self._pool = BufferPool(self.map_layout)
        version = self._package.__version__.split("-")[0]
        name = str(dtype).removeprefix("torch.")
        self.description = f"openvino {version}, {name} on cpu, {threads} threads"

    def compile(
        self, graph: fx.GraphModule, examples: Sequence[Tensor], results: int
    ) -> StepFunction:
        """See `Executor.compile`."""
        model = self._core.read_model(read_or_write_onnx(graph, examples))
        used = find_used(graph, [value.get_any_name() for value in model.inputs])
        is_made = find_made(graph)
        model = self._declare(model, sum(is_made[:results]))
        request = self._core.compile_model(model, "CPU", self._options).create_infer_request()
        return _BoundRequest(
            self._package, request, used, sum(is_made[:results]), is_made, self._pool
        )

    def recycle(self, element: Tensor) -> None:
        """See `Executor.recycle`."""
        self._pool.give(element)

    def _declare(self, model: Any, results: int) -> Any:
        """Let frames and state come and go as the runner keeps them, and results in float32."""
        declared = self._package.preprocess.PrePostProcessor(model)
        float32, kept = self._package.Type.f32, getattr(self._package.Type, _WORDS[self.dtype])
        sides = [(declared.input, value, kept) for value in model.inputs]
        for i, value in enumerate(model.outputs):
            sides.append((declared.output, value, float32 if i < results else kept))
        for side, value, kind in sides:
            info = side(value.get_any_name())
            if value.element_type == float32:
                info.tensor().set_element_type(kind)
            if len(value.shape) == 4:
                info.tensor().set_layout(self._package.Layout("NHWC"))
                info.model().set_layout(self._package.Layout("NCHW"))
        return declared.build()


class _BoundRequest:
    """One compiled step graph, and the wrappers of the buffers that it has seen."""

    def __init__(
        self,
        package: Any,
        request: Any,
        used: Sequence[int],
        results: int,
        is_made: Sequence[bool],
        pool: BufferPool,
    ) -> None:
        self._package, self._request = package, request
        self._used, self._results = used, results
        self._is_made, self._pool = is_made, pool
        kinds = {v: k for k, v in _element_types(package).items()}
        self._outputs = [
            (_plain_shape(value.shape), kinds[value.element_type])
            for value in request.model_outputs
        ]

    def __call__(self, inputs: Sequence[Tensor]) -> Sequence[Tensor | None]:
        for i, position in enumerate(self._used):
            self._request.set_input_tensor(i, self._wrap(inputs[position]))
        made = [self._pool.take(shape, dtype) for shape, dtype in self._outputs]
        for i, tensor in enumerate(made):
            self._request.set_output_tensor(i, self._wrap(tensor))
        self._request.infer()
        self._release(made[: self._results])
        return place_results(made, self._is_made)

    def _wrap(self, tensor: Tensor) -> Any:
        """An OpenVINO tensor over the same memory.

        It stays with the buffer, which comes back: a step of X3D-M would make 150 of them anew.
        """
        wrapper = getattr(tensor, _WRAPPER, None)
        if wrapper is None:
            flat = tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor
            kind = _element_types(self._package)[tensor.dtype]
            # NumPy has no bfloat16: its bits pass for whole numbers.
            bits = flat.view(torch.int16) if tensor.dtype == torch.bfloat16 else flat
            wrapper = self._package.Tensor(bits.numpy(), list(flat.shape), kind)
            setattr(tensor, _WRAPPER, wrapper)
        return wrapper

    def _release(self, results: Sequence[Tensor]) -> None:
        """Take the wrappers off what goes to the caller, who may want to save or copy it."""
        for result in results:
            delattr(result, _WRAPPER)


def _element_types(package: Any) -> dict[torch.dtype, Any]:
    kinds = package.Type
    return {
        torch.float32: kinds.f32,
        torch.bfloat16: kinds.bf16,
        torch.int64: kinds.i64,
        torch.bool: kinds.boolean,
    }


def _plain_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """(N, H, W, C), as the plugin sees a map, as the (N, C, H, W) that it is."""
    sizes = tuple(shape)
    return (sizes[0], sizes[3], *sizes[1:3]) if len(sizes) == 4 else sizes
