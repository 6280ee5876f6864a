"""Quantises step graphs to int8, with value ranges (including state) measured on a real stream."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor

from co3d.compiler.program import StepProgram
from co3d.errors import InputShapeError, OptionError
from co3d.export.description import name_inputs
from co3d.export.onnx_file import make_examples

# Gates and activations stay in float32: they cost little, and in 8 bits they change labels.
OPERATORS = ("Conv", "Add", "Concat", "MaxPool", "AveragePool")
# Every step of a stream is run, but only every third is measured, since neighbours are similar.
EVERY = 3


def quantise(
    model: onnx.ModelProto, program: StepProgram, slots: int, frames: Iterable[Tensor]
) -> onnx.ModelProto:
    """Quantise a step graph's convolutions, sums, pools and concatenations to 8 bits.

    Weights are quantised per channel. Values are quantised per tensor, to the range that occurs
    while the float graph steps through a stream. State stays float32 at inputs and outputs, and is
    quantised in the graph; since a step program has no feedback, errors do not accumulate from step
    to step. Convolutions with one output pixel (gates, heads) stay in float32.

    Args:
        model: the graph for all ages.
        program: the step program of the graph.
        slots: the graph's number of slots.
        frames: preprocessed frames (1, C, H, W) of one stream, in order; at least one.

    Returns:
        A graph with the same inputs and outputs.

    Raises:
        OptionError: no frames, or a network of several inputs.
        InputShapeError: frames of another shape.
    """
    if len(program.frame_shapes) > 1:
        raise OptionError(
            f"cannot calibrate {program.name}: got {len(program.frame_shapes)} inputs, expected "
            "one; use another precision"
        )
    data = model.SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        # Through files, because the quantiser changes a model that is passed in memory.
        given, prepared, result = (Path(folder) / f"{i}.onnx" for i in range(3))
        given.write_bytes(data)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            result,
            _CalibrationInputs(_step_through(data, program, slots, frames)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(OPERATORS),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_find_small(onnx.load(prepared)),
        )
        return onnx.load(result)


class _CalibrationInputs(CalibrationDataReader):
    """Gives the quantiser the inputs of measured steps: one per call, then None."""

    def __init__(self, feeds: Iterator[dict[str, np.ndarray]]) -> None:
        self._feeds = feeds

    def get_next(self) -> Any:
        return next(self._feeds, None)


def _step_through(
    data: bytes, program: StepProgram, slots: int, frames: Iterable[Tensor]
) -> Iterator[dict[str, np.ndarray]]:
    """Step the float graph through a stream, and yield the inputs of every `EVERY`-th step."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    taken = {value.name for value in session.get_inputs()}
    names, start = name_inputs(program), make_examples(program, slots)
    inputs = {name: value.numpy() for name, value in zip(names, start, strict=True)}
    count = len(program.output_shapes)
    is_empty = True
    for age, frame in enumerate(frames):
        is_empty = False
        if tuple(frame.shape) != (1, *program.frame_shape):
            raise InputShapeError(
                f"cannot calibrate {program.name}: got a frame of shape {tuple(frame.shape)}, "
                f"expected {(1, *program.frame_shape)}; preprocess pictures with "
                "model.card.preprocess"
            )
        inputs[names[0]] = np.repeat(frame.numpy().astype(np.float32), slots, axis=0)
        if program.edges != "none":
            inputs["age"] = np.full(slots, age, np.int64)
        feed = {name: value for name, value in inputs.items() if name in taken}
        if age % EVERY == 0:
            yield feed
        newest: Sequence[Any] = session.run(None, feed)[count:]
        for spec, made in zip(program.states, newest, strict=True):
            for back in range(spec.depth, 1, -1):
                inputs[f"state.{spec.name}.{back}"] = inputs[f"state.{spec.name}.{back - 1}"]
            inputs[f"state.{spec.name}.1"] = made
    if is_empty:
        raise OptionError(
            f"cannot calibrate {program.name}: got no frames; pass a video that decodes"
        )


def _find_small(model: onnx.ModelProto) -> list[str]:
    """The names of convolutions with one output pixel."""
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.value_info, *model.graph.output)
    }
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and set(shapes.get(node.output[0], [0])[2:]) == {1}
    ]
