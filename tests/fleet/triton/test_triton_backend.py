"""The model that Triton's Python backend loads, with a stand-in for Triton's own module."""

import importlib.util
import json
import sys

import numpy as np
import pytest
import torch

import co3d
from co3d.fleet.triton_repository import write_triton_repository
from support.triton_backend_utils import Request, make_module


@pytest.fixture
def model(program, tmp_path, monkeypatch):
    """`TritonPythonModel` of a written repository, loaded and initialised as Triton does it."""
    folder, _ = write_triton_repository(program, tmp_path)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", make_module())
    monkeypatch.delitem(sys.modules, "co3d.fleet.triton_backend", raising=False)
    spec = importlib.util.spec_from_file_location("model", folder / "1" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    options = {"precision": "float32", "backend": "torch"}
    config = {
        "parameters": {name: {"string_value": text} for name, text in options.items()},
        "sequence_batching": {"max_sequence_idle_microseconds": 60_000_000},
    }
    model.initialize(
        {
            "model_config": json.dumps(config),
            "model_repository": str(folder),
            "model_version": "1",
            "model_instance_kind": "CPU",
            "model_instance_device_id": "0",
        }
    )
    yield model
    model.finalize()


def test_responses_equal_the_programs_outputs(model, program, videos):
    stream = co3d.open_stream(program, backend="torch")
    for t, frame in enumerate(videos[7]):
        request = Request(frame, 7, start=t == 0, end=t == 8)
        filler = Request(frame, 0, start=True, ready=False)  # as the direct strategy fills places
        empty, response = model.execute([filler, request])
        assert empty.output_tensors == []
        made, expected = response.arrays, stream.step(torch.from_numpy(frame))
        assert np.array_equal(made["output"], expected.output.numpy())
        assert (made["valid"].shape, made["valid"].dtype) == ((1, 1), np.bool_)
        assert made["valid"].item() == bool(expected.valid)
        assert made["fresh"].item() is True
        if program.edges == "both" and t < 8:
            assert made["flushed_output"].shape == (1, 0, 5)
            assert made["flushed_valid"].shape == (1, 0, 1)
    flushed = stream.flush()
    assert ("flushed_output" in made) == (program.edges == "both") == bool(flushed)
    if flushed:
        assert np.array_equal(made["flushed_output"][0], torch.cat([r.output for r in flushed]))
        valid = made["flushed_valid"][0, :, 0].tolist()
        assert valid == [bool(result.valid) for result in flushed]


def test_a_refused_request_does_not_affect_the_others(model, videos):
    requests = [
        Request(videos[7][0], 7),
        Request(videos["door"][0], "door", start=True),
    ]
    refused, answered = model.execute(requests)
    assert "sequence 7: it has not started here" in refused.error.message()
    assert answered.arrays["output"].shape == (1, 5)
