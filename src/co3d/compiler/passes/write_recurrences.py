"""Write recurrent layers as scans of plain operators, which every backend can run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import fx, nn

from co3d.compiler.insertion import insert, replace
from co3d.compiler.passes.result import PassResult
from co3d.compiler.passes.uniform import uniform_value
from co3d.compiler.rules.cumulative import running_maximum, running_minimum
from co3d.compiler.rules.registry import arguments
from co3d.compiler.rules.scan import Scan

_ATEN = torch.ops.aten
_EXTREMA: dict[Any, Any] = {
    _ATEN.cummax.default: running_maximum,
    _ATEN.cummin.default: running_minimum,
}

# (gates' terms from the input, gates' terms from the state, state) -> (output, *state)
Advance = Callable[[fx.Node, fx.Node, Sequence[fx.Node]], Sequence[fx.Node]]


def write_recurrences(clip_graph: fx.GraphModule) -> PassResult:
    """Replace unidirectional LSTM, GRU and RNN layers, and their cells.

    The gates' terms from the input are computed outside of the scan. The rules refuse bidirectional
    layers, and layers whose initial state is not one number everywhere.
    """
    graph, changed = clip_graph.graph, False
    for node in graph.nodes:
        if node.target in _LAYERS and _is_forward(clip_graph, node):
            write = _write_layers
        elif node.target in _CELLS:
            write = _write_cell
        elif node.target in _EXTREMA and all(user.args[1] == 0 for user in node.users):
            write = _write_extremum
        else:
            continue
        with graph.inserting_before(node):
            results = write(node)
        if isinstance(node.meta["val"], tuple):
            for user in list(node.users):
                replace(user, results[user.args[1]])  # type: ignore[index]
        else:
            node.replace_all_uses_with(results[0])
        graph.erase_node(node)
        changed = True
    return PassResult(changed)


def _write_extremum(node: fx.Node) -> list[fx.Node]:
    return [insert(node, _EXTREMA[node.target], node.args)]


def _is_forward(clip_graph: fx.GraphModule, node: fx.Node) -> bool:
    args = arguments(node)
    given = args["hx"]
    states = [given] if isinstance(given, fx.Node) else given
    starts_with_zeros = all(uniform_value(clip_graph, state) == 0 for state in states)
    drops = args["train"] and args["dropout"]
    return starts_with_zeros and not args["bidirectional"] and not drops


@dataclass(frozen=True)
class _Weights:
    """The weights of a layer or a cell; biases and the output projection may be None."""

    input: fx.Node
    state: fx.Node
    input_bias: fx.Node | None = None
    state_bias: fx.Node | None = None
    projection: fx.Node | None = None


def _write_layers(node: fx.Node) -> list[fx.Node]:
    """Write all layers, and return the sequence of outputs and each layer's last state."""
    args = arguments(node)
    x = args["input"]
    if not args["batch_first"]:
        x = insert(node, _ATEN.transpose.int, (x, 0, 1))
    advance, states = _LAYERS[node.target]
    last: list[list[fx.Node]] = []
    for weights in _split_weights(args):
        sequences = _write_layer(node, x, weights, advance, states)
        x = sequences[0]
        end = x.meta["val"].shape[1] - 1
        last.append([insert(node, _ATEN.select.int, (s, 1, end)) for s in sequences])
    if not args["batch_first"]:
        x = insert(node, _ATEN.transpose.int, (x, 0, 1))
    return [x, *(_stack_layers(node, values) for values in zip(*last, strict=True))]


def _split_weights(args: dict[str, Any]) -> list[_Weights]:
    params = list(args["params"])
    size = len(params) // args["num_layers"]
    layers = []
    for start in range(0, len(params), size):
        own = params[start : start + size]
        input_bias, state_bias = own[2:4] if args["has_biases"] else (None, None)
        projection = own[-1] if size % 2 else None
        layers.append(_Weights(own[0], own[1], input_bias, state_bias, projection))
    return layers


def _write_layer(
    node: fx.Node, x: fx.Node, weights: _Weights, advance: Advance, states: int
) -> list[fx.Node]:
    """Write one layer over (N, T, C); returns sequences (N, T, …) of output and other states."""
    gates = insert(node, _ATEN.linear.default, (x, weights.input, weights.input_bias))
    gate_sizes, hidden = weights.state.meta["val"].shape
    sizes = [hidden, gate_sizes // 4][:states]
    value = gates.meta["val"]
    constants = [w for w in (weights.state, weights.state_bias, weights.projection) if w]
    body = fx.Graph()
    element = _add_input(body, node, "element", value.select(1, 0))
    carries = [
        _add_input(body, node, f"state{i}", value.new_empty(len(value), size))
        for i, size in enumerate(sizes)
    ]
    given = {
        w: _add_input(body, node, f"weight{i}", w.meta["val"]) for i, w in enumerate(constants)
    }
    bias = weights.state_bias and given[weights.state_bias]
    own = insert(element, _ATEN.linear.default, (carries[0], given[weights.state], bias))
    results = list(advance(element, own, carries))
    if weights.projection:
        results[0] = insert(
            element, _ATEN.linear.default, (results[0], given[weights.projection], None)
        )
    body.output(tuple(results))
    scan = Scan(fx.GraphModule(nn.Module(), body), 1, range(states), 0.0)
    packed = insert(node, scan, ([gates], constants))
    if states == 1:
        return [packed]
    return [insert(node, _ATEN.slice.Tensor, (packed, 2, *place)) for place in scan.spans]


def _add_input(body: fx.Graph, near: fx.Node, name: str, value: Any) -> fx.Node:
    made = body.placeholder(name)
    made.meta = {"origin": near.meta["origin"], "val": value}
    return made


def _stack_layers(node: fx.Node, values: Sequence[fx.Node]) -> fx.Node:
    """(layers, N, C): the last states, as a recurrent layer returns them."""
    stacked = [insert(node, _ATEN.unsqueeze.default, (value, 1)) for value in values]
    joined = stacked[0]
    if len(stacked) > 1:
        joined = insert(node, _ATEN.cat.default, (stacked, 1))
    return insert(node, _ATEN.transpose.int, (joined, 0, 1))


def _write_cell(node: fx.Node) -> list[fx.Node]:
    """Write a cell, which the network itself calls in a loop."""
    args = arguments(node)
    hidden = args["hx"]
    state = [hidden] if isinstance(hidden, fx.Node) else list(hidden)
    own = insert(node, _ATEN.linear.default, (state[0], args["w_hh"], args["b_hh"]))
    given = insert(node, _ATEN.linear.default, (args["input"], args["w_ih"], args["b_ih"]))
    return list(_CELLS[node.target](given, own, state))


def _cut(gates: fx.Node, count: int) -> list[fx.Node]:
    size = gates.meta["val"].shape[1] // count
    return [
        insert(gates, _ATEN.slice.Tensor, (gates, 1, i * size, (i + 1) * size))
        for i in range(count)
    ]


def _advance_lstm(given: fx.Node, own: fx.Node, state: Sequence[fx.Node]) -> list[fx.Node]:
    """Long short-term memory, with the gates in torch's order: input, forget, cell, output."""
    add = partial(insert, given, _ATEN.add.Tensor)
    mul = partial(insert, given, _ATEN.mul.Tensor)
    sigmoid = partial(insert, given, _ATEN.sigmoid.default)
    tanh = partial(insert, given, _ATEN.tanh.default)
    enter, keep, fresh, show = _cut(add((given, own)), 4)
    kept = mul((sigmoid((keep,)), state[1]))
    entered = mul((sigmoid((enter,)), tanh((fresh,))))
    cell = add((kept, entered))
    return [mul((sigmoid((show,)), tanh((cell,)))), cell]


def _advance_gru(given: fx.Node, own: fx.Node, state: Sequence[fx.Node]) -> list[fx.Node]:
    """A gated recurrent unit, with the gates in torch's order: reset, update, new."""
    add = partial(insert, given, _ATEN.add.Tensor)
    mul = partial(insert, given, _ATEN.mul.Tensor)
    reset_in, update_in, new_in = _cut(given, 3)
    reset_own, update_own, new_own = _cut(own, 3)
    reset = insert(given, _ATEN.sigmoid.default, (add((reset_in, reset_own)),))
    update = insert(given, _ATEN.sigmoid.default, (add((update_in, update_own)),))
    new = insert(given, _ATEN.tanh.default, (add((new_in, mul((reset, new_own)))),))
    change = insert(given, _ATEN.sub.Tensor, (state[0], new))
    return [add((mul((change, update)), new))]


def _advance_rnn(
    activation: Any, given: fx.Node, own: fx.Node, _state: Sequence[fx.Node]
) -> list[fx.Node]:
    return [insert(given, activation, (insert(given, _ATEN.add.Tensor, (given, own)),))]


_advance_tanh: Advance = partial(_advance_rnn, _ATEN.tanh.default)
_advance_relu: Advance = partial(_advance_rnn, _ATEN.relu.default)
# Layer -> its step function, and the number of values of its state.
_LAYERS: dict[Any, tuple[Advance, int]] = {
    _ATEN.lstm.input: (_advance_lstm, 2),
    _ATEN.gru.input: (_advance_gru, 1),
    _ATEN.rnn_tanh.input: (_advance_tanh, 1),
    _ATEN.rnn_relu.input: (_advance_relu, 1),
}
_CELLS: dict[Any, Advance] = {
    _ATEN.lstm_cell.default: _advance_lstm,
    _ATEN.gru_cell.default: _advance_gru,
    _ATEN.rnn_tanh_cell.default: _advance_tanh,
    _ATEN.rnn_relu_cell.default: _advance_relu,
}
