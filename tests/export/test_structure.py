"""The structure of results in untrusted files."""

import json
import sys
from collections import OrderedDict, namedtuple

import pytest
import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from co3d.errors import ExportedFileError, ExportError
from co3d.export.description import describe, read_description
from co3d.export.structure import read_structure, write_structure

LEAF = torch.zeros(1)
Pair = namedtuple("Pair", "first second")
HARM = (
    '[1, {"type": "collections.defaultdict", "context": {"default_factory_module": "this", '
    '"default_factory_name": "s", "dict_context": ["x"]}, "children_spec": '
    '[{"type": null, "context": null, "children_spec": []}]}]'
)


@pytest.mark.parametrize(
    "packed",
    [LEAF, (LEAF,), [LEAF, LEAF], {"b": LEAF, "a": (LEAF, [LEAF])}, OrderedDict(z=LEAF, a=LEAF)],
)
def test_a_structure_is_read_back(packed: object) -> None:
    leaves, spec = tree_flatten(packed)
    again = read_structure(write_structure(spec), len(leaves))
    assert tree_unflatten(range(len(leaves)), again) == tree_unflatten(range(len(leaves)), spec)


@pytest.mark.parametrize("packed", [Pair(LEAF, LEAF), {1: LEAF}])
def test_unsupported_structures_are_refused(packed: object) -> None:
    with pytest.raises(ExportError, match="return one of those"):
        write_structure(tree_flatten(packed)[1])


@pytest.mark.parametrize(
    "structure",
    [HARM, {"tuple": [None, None]}, {"tuple": None}, {"set": [None]}, {"list": []}, [], 1, "*"],
)
def test_a_file_cannot_name_other_types(program, model, structure: object) -> None:
    sys.modules.pop("this", None)
    raw = json.loads(describe(program, model.card, slots=1, precision="float32"))
    raw["output_structure"] = structure
    with pytest.raises(ExportedFileError, match="its description is broken"):
        read_description(json.dumps(raw), "file.onnx")
    assert "this" not in sys.modules


def test_a_structure_that_is_too_deep_is_refused(program, model) -> None:
    text = describe(program, model.card, slots=1, precision="float32")
    deep = '{"list": [' * 900 + "null" + "]}" * 900
    assert json.loads(text)["output_structure"] is None
    with pytest.raises(ExportedFileError):
        read_description(
            text.replace('"output_structure": null', f'"output_structure": {deep}'), "f"
        )
