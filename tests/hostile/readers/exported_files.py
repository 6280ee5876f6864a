"""Mutations of exported files that know their form: step graphs and descriptions, ONNX graphs."""

import json
import re
import struct
from random import Random
from typing import Any

from hostile.readers.mutations import EDGES, mutate_json

_OPERATORS = (
    *("Loop", "Expand", "Range", "Tile", "ConstantOfShape", "NonZero", "Resize", "Pad", "If"),
    *("Conv", "Add", "Gather", "ScatterND", "EyeLike", "RandomNormal", "Mul", "Identity"),
)
_LAYERS = (
    *("Convolution", "Tile", "Broadcast", "Range", "Pad", "Interpolate", "Const", "Reshape"),
    *(
        "TensorIterator",
        "NonZero",
        "Gather",
        "Add",
        "Parameter",
        "Slice",
        "MatMul",
        "ScatterUpdate",
    ),
)


def mutate_program(content: bytes, random: Random) -> bytes:
    """A file of the format "torch" with its description or its graphs changed."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    key = random.choice([name for name in header["__metadata__"] if name.startswith("co3d")])
    changed = mutate_json(json.loads(header["__metadata__"][key]), random)
    header["__metadata__"][key] = json.dumps(changed)
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + content[8 + size :]


def mutate_onnx(content: bytes, random: Random) -> bytes:
    """An ONNX file with an operator, an attribute, a shape or the description changed."""
    import onnx

    model: Any = onnx.load_model_from_string(content)
    graph = model.graph
    node = random.choice(graph.node)
    kind = random.randrange(6)
    if kind == 0:
        node.op_type = random.choice(_OPERATORS)
    elif kind == 1 and node.attribute:
        attribute = random.choice(node.attribute)
        attribute.i = random.choice(EDGES) % 2**63
        for place in range(len(attribute.ints)):
            attribute.ints[place] = random.choice(EDGES) % 2**63 - random.choice((0, 2**62))
    elif kind == 2:
        value = random.choice([*graph.input, *graph.output, *graph.value_info])
        for size in value.type.tensor_type.shape.dim:
            size.dim_value = random.choice(EDGES) % 2**63
    elif kind == 3 and graph.initializer:
        tensor = random.choice(graph.initializer)
        tensor.dims[:] = [random.choice(EDGES) % 2**63 for _ in range(random.randrange(6))]
        tensor.data_type = random.randrange(25)
    elif kind == 4 and node.input:
        place = random.randrange(len(node.input))
        node.input[place] = random.choice([*graph.initializer, *graph.input]).name
    else:
        entry = random.choice(model.metadata_props)
        entry.value = json.dumps(mutate_json(json.loads(entry.value), random))
    return model.SerializeToString()


def mutate_layers(content: bytes, random: Random) -> bytes:
    """An OpenVINO file with the kind of a layer, or a number in it, changed."""
    places = list(re.finditer(rb'type="(\w+)"|="([\d,]+)"|<dim>(\d+)</dim>', content))
    changed = content
    for found in sorted(random.sample(places, random.choice((1, 1, 3))), key=_begin, reverse=True):
        if found[1]:
            new = b'type="' + random.choice(_LAYERS).encode() + b'"'
        else:
            numbers = [str(random.choice((*EDGES, -1))) for _ in range(random.choice((1, 1, 4)))]
            text = ",".join(numbers).encode()
            new = b"<dim>" + text + b"</dim>" if found[3] else b'="' + text + b'"'
        changed = changed[: found.start()] + new + changed[found.end() :]
    return changed


def _begin(found: "re.Match[bytes]") -> int:
    return found.start()
