import pytest
import torch

import co3d
from co3d.errors import InputShapeError, OptionError
from support.slow import slow_but
from support.streaming import relative_error

WARM_UP = 16  # frames, until no padding is left in the results


@pytest.mark.parametrize(
    ("kind", "suffix", "backend"),
    slow_but(
        [("onnx", ".onnx", "onnxruntime"), ("openvino", ".xml", "openvino")],
        ("onnx", ".onnx", "onnxruntime"),
    ),
)
def test_int8_keeps_the_labels_of_the_sample(
    tmp_path, model, program, sample_frames, kind, suffix, backend
):
    path = tmp_path / f"network{suffix}"
    co3d.export_program(
        program, path, format=kind, precision="int8", calibration=sample_frames[::2]
    )
    stored = co3d.load_program(path).program
    exact = co3d.open_stream(program, backend="torch")
    rounded = co3d.open_stream(stored, backend=backend)
    assert "int8" in rounded.backend
    pairs = [(exact.step(f).output[0], rounded.step(f).output[0]) for f in sample_frames]
    # Eight bits: 1/256 of a layer's range each, over a dozen layers.
    expected, actual = map(torch.stack, zip(*pairs, strict=True))
    assert relative_error(actual, expected) <= 0.05
    moved = [bool(a.argmax() != b.argmax()) for a, b in pairs[WARM_UP:]]
    assert sum(moved) <= 0.02 * len(moved)
    # Not float32 under another name.
    assert relative_error(actual, expected) > 1e-5


def test_calibration_needs_frames(tmp_path, program):
    with pytest.raises(OptionError, match="no frames"):
        co3d.export_program(
            program, tmp_path / "a.onnx", format="onnx", precision="int8", calibration=[]
        )
    assert list(tmp_path.iterdir()) == []


def test_calibration_needs_frames_of_the_right_shape(tmp_path, program):
    with pytest.raises(InputShapeError, match=r"got a frame of shape \(3, 64, 64\)"):
        co3d.export_program(
            program,
            tmp_path / "a.onnx",
            format="onnx",
            precision="int8",
            calibration=[torch.zeros(3, 64, 64)],
        )
    assert list(tmp_path.iterdir()) == []
