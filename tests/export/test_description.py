import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from co3d.errors import ExportedFileError
from co3d.export.description import describe, read_description

NOTHING = st.none() | st.integers(-3, 3) | st.text(max_size=3) | st.lists(st.integers(), max_size=2)


def test_a_description_is_read_back(program, model):
    text = describe(program, model.card, slots=2, precision="float32")
    read = read_description(text, "file")
    assert (read.slots, read.precision, read.card) == (2, "float32", model.card)
    for name, value in read.fields.items():
        assert value == getattr(program, name)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_broken_description_is_refused_with_the_files_name(program, model, data):
    """Any part may be missing or of another type: it is read, or refused with the file's name."""
    raw = json.loads(describe(program, model.card, slots=1, precision="float32"))
    parent = raw
    while True:
        keys = sorted(parent) if isinstance(parent, dict) else range(len(parent))
        key = data.draw(st.sampled_from(list(keys)))
        child = parent[key]
        if not (isinstance(child, (dict, list)) and child and data.draw(st.booleans())):
            break
        parent = child
    if data.draw(st.booleans()):
        parent[key] = data.draw(NOTHING)
    else:
        del parent[key]
    try:
        read_description(json.dumps(raw), "file.onnx")
    except ExportedFileError as error:
        message = str(error)
    else:
        message = "file.onnx"
    assert "file.onnx" in message


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"version": 3}'])
def test_other_texts_are_refused(text):
    with pytest.raises(ExportedFileError):
        read_description(text, "file")
