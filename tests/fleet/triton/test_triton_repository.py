"""The files of a model repository, and which exports are refused."""

import json
import re

import pytest
from torch import nn

import co3d
from co3d.errors import OptionError, OutputError
from co3d.fleet.triton_config import list_outputs, make_config
from co3d.fleet.triton_repository import write_triton_repository

CONFIG = """\
# Written by `co3d export`, and yours to change: docs/triton.md says what may be.
backend: "python"
max_batch_size: 3
input [
  { name: "frame" data_type: TYPE_FP32 dims: [ 3, 6, 6 ] }
]
output [
  { name: "output" data_type: TYPE_FP32 dims: [ 5 ] label_filename: "labels.txt" },
  { name: "valid" data_type: TYPE_BOOL dims: [ 1 ] },
  { name: "fresh" data_type: TYPE_BOOL dims: [ 1 ] }FLUSHED
]
sequence_batching {
  max_sequence_idle_microseconds: 2500000
  STRATEGY
  control_input [
    { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
    { name: "END" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } ] },
    { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } ] }
  ]
}
instance_group [ { count: 1 kind: KIND_CPU } ]
parameters [
  { key: "backend" value { string_value: "a \\"quoted\\" name" } }
]
"""
FLUSHED = """,
  { name: "flushed_output" data_type: TYPE_FP32 dims: [ -1, 5 ] },
  { name: "flushed_valid" data_type: TYPE_BOOL dims: [ -1, 1 ] }"""


@pytest.fixture
def card():
    return co3d.ModelCard(
        "front door/v2", 4, 8.0, 6, 6, (0.5,) * 3, (0.2,) * 3, labels=tuple("abcde")
    )


@pytest.mark.parametrize(
    ("strategy", "text"),
    [("direct", "direct { }"), ("oldest", "oldest { max_candidate_sequences: 3 }")],
)
def test_the_configuration_names_inputs_outputs_and_controls(program, strategy, text):
    made = make_config(
        program,
        sequences=3,
        strategy=strategy,
        idle_seconds=2.5,
        parameters={"backend": 'a "quoted" name'},
        has_labels=True,
    )
    flushed = FLUSHED if program.edges == "both" else ""
    assert made == CONFIG.replace("STRATEGY", text).replace("FLUSHED", flushed)


def test_a_repository_holds_program_labels_and_client_fields(program, card, tmp_path):
    repository = tmp_path / "models"
    folder, description = write_triton_repository(program, repository, card=card)
    assert folder == repository / "front_door_v2"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {"config.pbtxt", "labels.txt", "1/model.py", "1/program.safetensors"}
    assert (folder / "labels.txt").read_text() == "a\nb\nc\nd\ne\n"
    loaded = co3d.load_program(folder / "1" / "program.safetensors")
    assert loaded.program.fingerprint == program.fingerprint
    (text,) = re.findall(r'"co3d" value \{ string_value: (".*") \}', _read_config(folder))
    told = json.loads(json.loads(text))
    assert (told["delay"], told["edges"]) == (program.delay, program.edges)
    assert told["card"]["mean"] == [0.5] * 3
    assert json.loads(description)["fingerprint"] == program.fingerprint


def test_an_existing_model_is_not_overwritten(program, tmp_path):
    folder, _ = write_triton_repository(program, tmp_path)
    assert folder.name == program.name
    (folder / "config.pbtxt").write_text("mine")
    with pytest.raises(OutputError, match="exists already; remove it"):
        write_triton_repository(program, tmp_path)
    assert _read_config(folder) == "mine"
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_triton_repository(program, tmp_path / "file")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "int8"}, "got precision 'int8', expected one of float32, bfloat16, float16"),
        ({"sequences": 0}, "got 0 sequences, expected at least 1"),
        ({"strategy": "newest"}, "got strategy 'newest', expected one of direct, oldest"),
        ({"idle_seconds": 0.0}, "got idle_seconds=0.0, expected from 0.001"),
        ({"idle_seconds": float("nan")}, "got idle_seconds=nan"),
    ],
)
def test_values_out_of_range_are_refused_and_nothing_is_written(program, tmp_path, options, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        write_triton_repository(program, tmp_path / "models", **options)
    assert not (tmp_path / "models").exists()


def test_a_scalar_output_has_the_shape_of_one_number():
    class Mean(nn.Module):
        def forward(self, x):
            return x.mean((1, 2, 3, 4))

    outputs = list_outputs(co3d.convert(Mean(), (3, 4, 6, 6)))
    assert outputs[0].dims == (1,)


def _read_config(folder) -> str:
    return (folder / "config.pbtxt").read_text()
