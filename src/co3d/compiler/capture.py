"""Capture: an `nn.Module` and example clips become one functional graph of ATen operators."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils._pytree import TreeSpec

from co3d.compiler.batch_sizes import VIEWS, GraphMismatchError, compute_batch_sizes
from co3d.compiler.exporting import ClipShape as ClipShape
from co3d.compiler.exporting import export_network
from co3d.compiler.functional import FunctionalExport
from co3d.compiler.packing import drop_nothing
from co3d.compiler.passes.decompose import decompose
from co3d.errors import Co3dError, ConversionError

# Two clips, so that a graph that mixes the rows of its batch can be detected.
EXPORT_BATCH = 2
_OTHER_BATCH = 3
# A multiple of common temporal strides, so that the shapes of pathways still fit each other.
_MORE_FRAMES = 48


@dataclass(frozen=True)
class Origin:
    """The module and source line that a graph node comes from."""

    module_path: str
    module_class: str
    source_line: str


@dataclass(frozen=True)
class Captured:
    """A network as a graph, with the structure of its outputs (tensor, tuple, dict).

    Attributes:
        clip_graph: the network.
        output_spec: pytree structure of its outputs.
        weights: constant of the graph -> name of the parameter or buffer that it is.
        fixed_batch_reason: why the graph takes no other batch size; None where it does, or where
            that was not asked for.
        changed_buffers: names of the buffers that forward changes and that its results depend on.
    """

    clip_graph: fx.GraphModule
    output_spec: TreeSpec
    weights: dict[str, str]
    fixed_batch_reason: str | None = None
    changed_buffers: tuple[str, ...] = ()


def capture(
    model: nn.Module,
    clip_shapes: Sequence[ClipShape],
    *,
    free_batch: bool = False,
    batch: int = EXPORT_BATCH,
) -> Captured:
    """Export `model` for clips of `clip_shapes` (C, T, H, W), one per input, as a graph.

    Parameters and buffers become attributes of the returned graph module. Every node carries its
    `Origin` in `node.meta["origin"]` and its value's shape in `node.meta["val"]`. A view whose
    sizes do not tell where time is may carry its input and output shapes for longer clips in
    `node.meta["longer"]`. The model is exported in evaluation mode and put back into its own.
    Buffers that forward changes are constants of the graph, with the values that they have now.

    Args:
        model: the clip network.
        clip_shapes: without the batch.
        free_batch: find by a second export which numbers in the graph scale with the batch, and
            compute them from the input's size, if the two graphs differ in nothing else.
        batch: number of clips to export for.

    Raises:
        ConversionError: the model cannot be exported (a data-dependent branch, say).
    """
    exported = export_network(model, clip_shapes, batch)
    if any(_may_fold_one_frame(node) for node in exported.graph.nodes):
        _record_longer_shapes(exported, model, clip_shapes)
    captured = _bind(exported, model)
    decompose(captured.clip_graph)
    if not free_batch:
        return captured
    try:
        other = _bind(export_network(model, clip_shapes, _OTHER_BATCH), model)
        decompose(other.clip_graph)
        _free_batch(captured, other)
    except (GraphMismatchError, ConversionError) as error:
        return replace(captured, fixed_batch_reason=str(error))
    return captured


def _free_batch(captured: Captured, other: Captured) -> None:
    """Let a captured graph take any batch size; GraphMismatchError where that is impossible."""
    batches = EXPORT_BATCH, _OTHER_BATCH
    others = dict(other.clip_graph.named_buffers())
    for name, tensor in captured.clip_graph.named_buffers():
        if name not in captured.weights and not torch.equal(tensor, others.get(name, tensor)):
            raise GraphMismatchError(f"the constant {name} is another one on other batches")
    compute_batch_sizes(captured.clip_graph.graph, other.clip_graph.graph, batches)


def _may_fold_one_frame(node: fx.Node) -> bool:
    """Whether a view of a value with one element in time may fold time into the batch."""
    if node.target not in VIEWS:
        return False
    before, after = _view_shapes(node)
    return before[:2] == (EXPORT_BATCH, 1) and after[0] == EXPORT_BATCH


def _view_shapes(node: fx.Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of a view's input and of its result."""
    return tuple(node.all_input_nodes[0].meta["val"].shape), tuple(node.meta["val"].shape)


def _record_longer_shapes(
    exported: FunctionalExport, model: nn.Module, clip_shapes: Sequence[ClipShape]
) -> None:
    """Record the shapes of every view for longer clips, which have several elements in time.

    Does nothing where the network takes no other length, or has another graph for it.
    """
    longer_shapes = [(c, t + _MORE_FRAMES, *space) for c, t, *space in clip_shapes]
    try:
        longer = export_network(model, longer_shapes, EXPORT_BATCH)
    except Co3dError:
        return
    nodes, twins = _without_copies(exported.graph), _without_copies(longer.graph)
    if [_comparable_target(node) for node in nodes] == [_comparable_target(twin) for twin in twins]:
        for node, twin in zip(nodes, twins, strict=True):
            if node.target in VIEWS:
                node.meta["longer"] = _view_shapes(twin)


def _without_copies(graph: fx.Graph) -> list[fx.Node]:
    """All nodes but copies that make a value contiguous, which depend on the clip's length."""
    return [node for node in graph.nodes if node.target is not torch.ops.aten.clone.default]


def _comparable_target(node: fx.Node) -> Any:
    return torch.ops.aten.reshape.default if node.target in VIEWS else node.target


def _bind(exported: FunctionalExport, model: nn.Module) -> Captured:
    program, name = exported.program, type(model).__name__
    tensors: dict[str, Any] = {**program.constants, **program.state_dict}
    root = nn.Module()
    graph = fx.Graph()
    bound: dict[fx.Node, fx.Node] = {}
    inputs = [node for node in exported.graph.nodes if node.op == "placeholder"]
    specs = dict(zip(inputs, program.graph_signature.input_specs, strict=True))
    weights: dict[str, str] = {}
    for node in exported.graph.nodes:
        if node.op == "get_attr":
            raise ConversionError(
                f"cannot convert {name}: it holds a graph inside its graph ({node.name}, of "
                "torch.cond or another operator that runs functions); use torch.where"
            )
        if node.op == "placeholder" and specs[node].kind is not InputKind.USER_INPUT:
            if node.users:
                tensor = tensors[specs[node].target or ""]
                assert isinstance(tensor, Tensor)
                attribute = node.name
                root.register_buffer(attribute, tensor.detach())
                bound[node] = graph.get_attr(attribute)
                if specs[node].target in program.state_dict:
                    weights[attribute] = specs[node].target or ""
        else:
            bound[node] = graph.node_copy(node, bound.__getitem__)
        if node in bound:
            bound[node].meta = copy.copy(node.meta)
            bound[node].meta["origin"] = _origin(node)
    output = next(n for n in graph.nodes if n.op == "output")
    changed, leaves = _results(program, list(output.args[0]), name)
    results = [leaf for leaf in leaves if isinstance(leaf, fx.Node)]
    output.args = (results[0] if len(results) == 1 else tuple(results),)
    if changed:
        graph.eliminate_dead_code()
    read = {weights.get(str(node.target)) for node in graph.nodes if node.op == "get_attr"}
    spec = program.call_spec.out_spec
    assert spec is not None
    return Captured(
        fx.GraphModule(root, graph),
        drop_nothing(spec, leaves),
        weights,
        changed_buffers=tuple(name for name in changed if name in read),
    )


def _results(
    program: ExportedProgram, values: list[Any], name: str
) -> tuple[list[str], list[fx.Node | None]]:
    """Names of the buffers that forward changes, and what it returns."""
    changed, leaves = [], []
    for spec, value in zip(program.graph_signature.output_specs, values, strict=True):
        if spec.kind is OutputKind.BUFFER_MUTATION:
            changed.append(spec.target or "")
        elif spec.kind is OutputKind.USER_INPUT_MUTATION:
            raise ConversionError(
                f"cannot convert {name}: its forward writes into the clip that it is given, which "
                "is its caller's; let it write into a copy (x = x.clone())"
            )
        elif spec.kind is not OutputKind.USER_OUTPUT:
            raise ConversionError(
                f"cannot convert {name}: its forward has an effect of the kind {spec.kind.name}, "
                "which a stream has not; move that out of forward in evaluation mode"
            )
        else:
            leaves.append(value)
    made = [leaf for leaf in leaves if leaf is not None]
    if not made or not all(isinstance(leaf, fx.Node) and _is_tensor(leaf) for leaf in made):
        raise ConversionError(
            f"cannot convert {name}: it returns something that is not a tensor, expected tensors "
            "(one, or tuples and dicts of them and None); wrap it in a module that returns those"
        )
    return changed, leaves


def _is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta["val"], Tensor)


def _origin(node: fx.Node) -> Origin:
    stack = node.meta.get("nn_module_stack") or {}
    path, kind = next(reversed(stack.values()), ("", ""))
    kind = kind if isinstance(kind, str) else kind.__name__
    trace = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines()]
    files = [i for i, line in enumerate(trace) if line.startswith("File ")]
    # The innermost frame outside torch is the line that the user wrote.
    own = [i for i in files if "/torch/" not in trace[i]] or files
    return Origin(path, kind.rsplit(".", 1)[-1], trace[own[-1]] if own else "")
