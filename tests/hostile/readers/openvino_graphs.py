"""OpenVINO files by hand: a healthy file with further layers, whose result reaches the output."""

import re
from collections.abc import Mapping
from hashlib import sha256
from random import Random
from typing import Any

import numpy as np

from co3d.export.openvino_pair import DIGEST_KEY
from hostile.readers.mutations import EDGES

NUMBERS = {"float32": "f32", "int64": "i64", "int32": "i32", "bool": "boolean", "uint8": "u8"}
_FIRST = 1000  # id of the first layer that is added


class Graph:
    """A file to which layers are added.

    Args:
        graph, weights: a healthy file, whose first layer is the frame.
    """

    def __init__(self, graph: bytes, weights: bytes) -> None:
        self._text, self._weights = graph.decode(), bytearray(weights)
        self._layers: list[str] = []
        self._edges: list[str] = []

    def constant(self, values: object, numbers: str = "", **data: Any) -> str:
        """Add a constant, of which `data` may say something else than it is."""
        array = np.asarray(values)
        said = {
            "element_type": numbers or NUMBERS[str(array.dtype)],
            "shape": ",".join(map(str, array.shape)),
            "offset": len(self._weights),
            "size": array.nbytes,
        }
        self._weights += array.tobytes()
        return self.layer("Const", version="opset1", **{**said, **data})

    def layer(
        self,
        kind: str,
        *inputs: object,
        version: str = "opset8",
        outputs: int = 1,
        precision: str = "FP32",
        **data: Any,
    ) -> str:
        """Add a layer, and say where its first result comes from. Inputs are such places or arrays.

        Args:
            precision: that the file says its results are of. data: its attributes.
        """
        sources = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        name = str(_FIRST + len(self._layers))
        ports = [f'<port id="{i}" precision="{precision}"/>' for i in range(len(sources) + outputs)]
        attributes = " ".join(f'{key.replace("__", "-")}="{value}"' for key, value in data.items())
        given, made = "".join(ports[: len(sources)]), "".join(ports[len(sources) :])
        self._layers.append(
            f'<layer id="{name}" name="n{name}" type="{kind}" version="{version}">'
            + (f"<data {attributes}/>" if data else "")
            + (f"<input>{given}</input>" if sources else "")
            + f"<output>{made}</output></layer>"
        )
        for port, source in enumerate(sources):
            self._connect(source, name, str(port))
        return f"{name}:{len(sources)}"

    def finish(self, value: str, rank: int = 1) -> tuple[bytes, bytes]:
        """The file, in which the sum of a value of so many axes is added to the output."""
        number = self.layer("Convert", value, version="opset1", destination_type="f32")
        if rank:
            axes = np.arange(rank)
            number = self.layer("ReduceSum", number, axes, version="opset1", keep_dims="false")
        output = re.search(r'<layer id="(\d+)"[^>]*type="Result"', self._text)
        assert output is not None
        found = re.search(
            rf'<edge from-layer="(\d+)" from-port="(\d+)" to-layer="{output[1]}" to-port="0" ?/>',
            self._text,
        )
        assert found is not None
        total = self.layer(
            "Add", f"{found[1]}:{found[2]}", number, version="opset1", auto_broadcast="numpy"
        )
        self._text = self._text.replace(found[0], "").replace(' names="output"', "")
        named = self._layers[-1].replace("<output><port ", '<output><port names="output" ')
        self._layers[-1] = named
        self._connect(total, output[1], "0")
        return self.write()

    def write(self) -> tuple[bytes, bytes]:
        """The file as it is, which names its weights."""
        text = self._text.replace("</layers>", "".join(self._layers) + "</layers>")
        text = text.replace("</edges>", "".join(self._edges) + "</edges>")
        digest = sha256(self._weights).hexdigest()
        text = re.sub(rf'(<{DIGEST_KEY} value=")\w+', rf"\g<1>{digest}", text)
        return text.encode(), bytes(self._weights)

    def _connect(self, source: str, layer: str, port: str) -> None:
        place, _, made = source.partition(":")
        self._edges.append(
            f'<edge from-layer="{place}" from-port="{made}" to-layer="{layer}" to-port="{port}"/>'
        )


FRAME = "0:0"
"""Where the frame comes from."""
_WINDOW = {
    "strides": "1,1",
    "dilations": "1,1",
    "pads_begin": "0,0",
    "pads_end": "0,0",
    "kernel": "2,2",
    "auto_pad": "explicit",
    "rounding_type": "ceil",
}
_DATA: Mapping[str, Mapping[str, Any]] = {
    "AvgPool": {**_WINDOW, "exclude__pad": "true"},
    "Broadcast": {"mode": "explicit"},
    "Concat": {"axis": 0},
    "Convert": {"destination_type": "i64"},
    "Convolution": _WINDOW,
    "CumSum": {"exclusive": "false", "reverse": "false"},
    "DepthToSpace": {"block_size": 1, "mode": "blocks_first"},
    "FakeQuantize": {"levels": 2, "auto_broadcast": "numpy"},
    "GatherElements": {"axis": 0},
    "GroupNormalization": {"num_groups": 1, "epsilon": 1e-5},
    "LRN": {"size": 5, "alpha": 1, "beta": 1, "bias": 1},
    "MVN": {"eps": 1e-9, "eps_mode": "inside_sqrt", "normalize_variance": "true"},
    "MatMul": {"transpose_a": "false", "transpose_b": "false"},
    "MaxPool": _WINDOW,
    "NormalizeL2": {"eps": 1e-9, "eps_mode": "add"},
    "OneHot": {"axis": -1},
    "Pad": {"pad_mode": "reflect"},
    "Range": {"output_type": "i64"},
    "Reshape": {"special_zero": "false"},
    "SoftMax": {"axis": 0},
    "SpaceToDepth": {"block_size": 1, "mode": "blocks_first"},
    "Split": {"num_splits": 1},
    "TopK": {"axis": 0, "mode": "max", "sort": "value", "index_element_type": "i64"},
}
_VERSIONS = {"CumSum": "opset3", "GroupNormalization": "opset12", "MVN": "opset6", "Pad": "opset12"}
_OTHERS = (
    *("Add", "Divide", "Mod", "Power", "Select", "Slice", "Squeeze", "Tile", "Transpose"),
    *("ReduceMean", "ReduceProd", "ScatterElementsUpdate", "ScatterUpdate", "Unsqueeze"),
    *("DFT", "Gather", "IRDFT", "RDFT", "VariadicSplit", "Exp", "Identity", "ShapeOf"),
)
_NEAR = (0, 1, 2, 3, 4, 7, -1, -2, -9)


def draw_graph(healthy: tuple[bytes, bytes], random: Random) -> tuple[bytes, bytes]:
    """A healthy file with one to three layers of any kind, of which each takes the one before."""
    graph = Graph(*healthy)
    value = FRAME if random.randrange(2) else graph.constant(_draw_array(random))
    for _ in range(random.choice((1, 1, 2, 3))):
        kind = random.choice((*_DATA, *_OTHERS))
        data: dict[str, Any] = dict(_DATA.get(kind, {"auto_broadcast": "numpy"}))
        for key, old in data.items():
            if isinstance(old, int) and random.randrange(2):
                data[key] = _draw_number(random)
            elif key in _WINDOW and "," in str(old) and random.randrange(4) == 0:
                data[key] = f"{_draw_number(random)},{random.choice(_NEAR)}"
        others = [_draw_array(random) for _ in range(random.randrange(4))]
        version = random.choice((_VERSIONS.get(kind, "opset8"), "opset1", "opset8", "opset12"))
        value = graph.layer(kind, value, *others, version=version, **data)
    return graph.finish(value, random.randrange(5))


def _draw_number(random: Random) -> int:
    return random.choice((*_NEAR, random.choice(EDGES), -random.choice(EDGES)))


def _draw_array(random: Random) -> np.ndarray:
    shape = [random.choice((0, 1, 1, 2, 4)) for _ in range(random.choice((0, 1, 1, 1, 2, 4)))]
    size = int(np.prod(shape))
    if random.randrange(3) == 0:
        values = [random.choice((0.0, 1.0, -1e30, float("nan"), 1e9)) for _ in range(size)]
        return np.array(values, np.float32).reshape(shape)
    numbers = [max(-(2**63), min(2**63 - 1, _draw_number(random))) for _ in range(size)]
    return np.array(numbers, np.int64).reshape(shape)
