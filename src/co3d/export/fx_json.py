"""Converts step graphs to JSON and tensors and back, with an allowlist of functions.

A node of a graph that is read may call only the functions listed here, which the compiler's rules
use, and the ATen operators allowed by `operators.py`.
"""

import keyword
import math
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from co3d.export.operators import find_operator, list_keywords

_TORCH = (
    "add addcmul amax amin avg_pool1d cat clamp_min clone conv1d conv2d conv3d conv_transpose1d "
    "conv_transpose2d conv_transpose3d div flatten flip ge index_select le log_softmax "
    "logical_and max_pool1d maximum mean mul permute prelu reshape select softmax squeeze stack "
    "sub sum unsqueeze where logical_not logical_or"
)
_FUNCTIONAL = (
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d avg_pool2d avg_pool3d glu linear "
    "max_pool2d max_pool3d pad"
)
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f"torch.{name}": getattr(torch, name) for name in _TORCH.split()},
    **{f"functional.{name}": getattr(F, name) for name in _FUNCTIONAL.split()},
    "operator.getitem": operator.getitem,
}
_NAMES = {function: name for name, function in _FUNCTIONS.items()}


class UnknownOperatorError(ValueError):
    """A function, or a function's name, is not on the allowlist."""


def write_graph(graph: fx.GraphModule, name_tensor: Callable[[Tensor], str]) -> list[list[Any]]:
    """Convert a graph to JSON: per node [kind, name or function, arguments, keyword arguments].

    Args:
        graph: a graph from the compiler, without submodules.
        name_tensor: stores a constant and returns its name.

    Raises:
        UnknownOperatorError: the graph calls a function that is not on the allowlist.
    """
    places = {node: i for i, node in enumerate(graph.graph.nodes)}
    rows = []
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            target = name_tensor(graph.get_buffer(str(node.target)))
        elif node.op == "call_function":
            target = _name_function(node.target)
        else:
            target = node.name
        rows.append([node.op, target, _encode(node.args, places), _encode(node.kwargs, places)])
    return rows


def read_graph(rows: list[list[Any]], tensors: Mapping[str, Tensor]) -> fx.GraphModule:
    """Make a graph from the JSON of `write_graph`.

    Raises:
        UnknownOperatorError: it names a function that is not on the allowlist.
        KeyError, IndexError, TypeError, ValueError: it is not such a graph.
    """
    graph, root = fx.Graph(), nn.Module()
    nodes: list[fx.Node] = []
    for kind, target, raw_args, raw_kwargs in rows:
        args, kwargs = _decode(raw_args, nodes), _decode(raw_kwargs, nodes)
        if not isinstance(args, tuple) or not isinstance(kwargs, dict):
            raise TypeError("the arguments of a node are no tuple, or no mapping")
        if kind == "placeholder":
            nodes.append(graph.placeholder(_identifier(target)))
        elif kind == "get_attr":
            root.register_buffer(_identifier(target), tensors[target])
            nodes.append(graph.get_attr(target))
        elif kind == "call_function":
            function = _find_function(target)
            if others := kwargs.keys() - _list_keywords(function, kwargs.keys()):
                raise ValueError(f"{target} would change its argument {min(others)}, or has none")
            nodes.append(graph.call_function(function, args, kwargs))
        elif kind == "output":
            nodes.append(graph.output(args[0]))
        else:
            raise ValueError(f"got a node of kind {kind!r}")
    if [row[0] for row in rows].count("output") != 1 or not isinstance(nodes[-1].args[0], tuple):
        raise ValueError("expected one output at the end, a tuple")
    graph.lint()
    return fx.GraphModule(root, graph)


def _name_function(function: Any) -> str:
    if isinstance(function, torch._ops.OpOverloadPacket):
        name = f"aten.{function.__name__}"
    elif isinstance(function, torch._ops.OpOverload):
        name = str(function)
    else:
        name = _NAMES.get(function, "")
    _find_function(name or repr(function))
    return name


def _find_function(name: str) -> Callable[..., Any]:
    function = _FUNCTIONS.get(name) or find_operator(name)
    if function is None:
        raise UnknownOperatorError(f"{name} is not a function of step graphs")
    return function


def _list_keywords(function: Callable[..., Any], given: Collection[str]) -> set[str]:
    """The keywords that the function reads and does not write to."""
    if isinstance(function, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return list_keywords(function)
    return set(given) - {"out"}


def _identifier(name: Any) -> str:
    # ASCII only, because Python normalises other Unicode spellings of a letter to the letter.
    is_name = isinstance(name, str) and name.isascii() and name.isidentifier()
    if not is_name or keyword.iskeyword(name):
        raise ValueError(f"got {name!r}, expected a name")
    return name


def _encode(value: Any, places: Mapping[fx.Node, int]) -> Any:
    if isinstance(value, fx.Node):
        return {"node": places[value]}
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, places) for item in value]}
    if isinstance(value, list):
        return [_encode(item, places) for item in value]
    if isinstance(value, Mapping):
        return {"mapping": {key: _encode(item, places) for key, item in value.items()}}
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": repr(value)}
    if isinstance(value, torch.dtype):
        return {"dtype": str(value).removeprefix("torch.")}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise UnknownOperatorError(f"an argument of kind {type(value).__name__} cannot be stored")


def _decode(value: Any, nodes: list[fx.Node]) -> Any:
    if isinstance(value, list):
        return [_decode(item, nodes) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "node":
        return nodes[content]
    if kind == "tuple":
        return tuple(_decode(item, nodes) for item in content)
    if kind == "mapping":
        return {_identifier(key): _decode(item, nodes) for key, item in content.items()}
    if kind == "number":
        return float(content)
    if kind == "dtype":
        dtype = getattr(torch, _identifier(content))
        if isinstance(dtype, torch.dtype):
            return dtype
    raise ValueError(f"got a value of kind {kind!r}")
