"""Capture: an `nn.Module` and example clips become one functional graph of ATen operators."""

import copy
import io
import logging
import operator
import sysconfig
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils._pytree import TreeSpec

from co3d.compiler.functional import FunctionalExport, write_functional
from co3d.compiler.insertion import insert
from co3d.errors import Co3dError, ConversionError, InputShapeError

# Two streams, so that a graph which treats the batch as anything but a batch shows it.
EXPORT_BATCH = 2
_OTHER_BATCH = 3
# A multiple of the strides that networks have, so that pathways which meet still meet.
_MORE_FRAMES = 48
_VIEWS = {
    torch.ops.aten.view.default,
    torch.ops.aten._unsafe_view.default,
    torch.ops.aten.reshape.default,
}

_COMPILER = Path(__file__).parent

ClipShape = tuple[int, ...]


@dataclass(frozen=True)
class Origin:
    """Where in the user's network a graph node comes from."""

    module_path: str
    module_class: str
    source_line: str


@dataclass(frozen=True)
class Captured:
    """A network as a graph, and how its outputs were packed (tensor, tuple, dict).

    `weights` names, for the graph's constants, the parameters and buffers that they are.
    """

    clip_graph: fx.GraphModule
    output_spec: TreeSpec
    weights: dict[str, str]


def capture(
    model: nn.Module, clip_shapes: Sequence[ClipShape], *, free_batch: bool = False
) -> Captured:
    """Export `model` for clips of `clip_shapes` (C, T, H, W), one per input, as a graph.

    Parameters and buffers become attributes of the returned graph module. Every node carries its
    `Origin` in `node.meta["origin"]` and its value's shape in `node.meta["val"]`; a view whose
    sizes do not tell where time is may carry in `node.meta["longer"]` the shapes that it makes of
    each other in longer clips. The model is not changed: it is exported in evaluation mode and put
    back.

    Args:
        model: the clip network.
        clip_shapes: without the batch.
        free_batch: find out, by a second export, which numbers in the graph are the batch size, and
            compute them from the input instead.

    Raises:
        ConversionError: the model cannot be exported (a data-dependent branch, say).
    """
    exported = _export(model, clip_shapes, EXPORT_BATCH)
    if any(_may_fold_one_frame(node) for node in exported.graph.nodes):
        _look_at_longer_clips(exported, model, clip_shapes)
    captured = _bind(exported, model)
    if free_batch:
        other = _bind(_export(model, clip_shapes, _OTHER_BATCH), model)
        _compute_batch_sizes(captured.clip_graph.graph, other.clip_graph.graph)
    return captured


def _export(model: nn.Module, clip_shapes: Sequence[ClipShape], batch: int) -> FunctionalExport:
    parameter = next(model.parameters(), None)
    dtype = torch.float32 if parameter is None else parameter.dtype
    device = torch.device("cpu") if parameter is None else parameter.device
    examples = tuple(torch.zeros((batch, *s), dtype=dtype, device=device) for s in clip_shapes)
    was_training = {module: module.training for module in model.modules()}
    try:
        model.eval()
        # Of a failure torch prints the whole graph; `_explain_failure` says what matters of it.
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), _quiet():
            # torch's own use of its deprecated pytree API; nothing that a user can act on.
            warnings.filterwarnings("ignore", category=FutureWarning)
            # Recurrent layers keep a list of their own parameters, which export sees assigned.
            warnings.filterwarnings(
                "ignore", "The tensor attributes .* were assigned during export"
            )
            return write_functional(torch.export.export(model, examples, strict=False))
    except InputShapeError:
        raise
    except Exception as error:  # torch.export raises errors of many kinds
        raise _explain_failure(error, model, clip_shapes) from error
    finally:
        for module, training in was_training.items():
            module.training = training


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own accounts of what it could not trace."""
    names = ("torch.fx.experimental.symbolic_shapes", "torch._subclasses.fake_tensor")
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _explain_failure(
    error: Exception, model: nn.Module, clip_shapes: Sequence[ClipShape]
) -> ConversionError:
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    shapes = ", ".join(map(str, clip_shapes))
    start = f"cannot capture {type(model).__name__} for clips of shape {shapes}: "
    path, kind, line = _failing_place(error, model)
    branch = "DataDependent" in type(error).__name__ or "data-dependent" in str(error).lower()
    if branch:
        return ConversionError(
            f"{start}a data-dependent branch in {path or 'the model'} ({kind}), {line}: what it "
            "does depends on the values of a tensor, and a graph must do the same for every clip; "
            "use torch.where, or move it out of the exported model"
        )
    return ConversionError(
        f"{start}torch.export failed in {path or 'the model'} ({kind}), {line}, with "
        f"{type(error).__name__}: {reason.strip()}; check that the model runs on a clip of this "
        "shape, and move Python that needs values out of forward"
    )


def _failing_place(error: Exception, model: nn.Module) -> tuple[str, str, str]:
    """Module path, class and source line where an exception came through the user's network."""
    names = {id(module): name for name, module in model.named_modules()}
    path, kind, place = "", type(model).__name__, "unknown line"
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = frame.f_locals.get("self")
        if id(module) in names:
            path, kind = names[id(module)], type(module).__name__
        file = frame.f_code.co_filename
        if not _is_library(file):
            place = f'File "{file}", line {line}, in {frame.f_code.co_name}'
    return path, kind, place


def _is_library(file: str) -> bool:
    """Whether a source file is torch's, Python's own, the compiler's, or is generated."""
    if file.startswith("<"):
        return True
    standard = file.startswith(sysconfig.get_path("stdlib")) and "site-packages" not in file
    return standard or "/torch/" in file or Path(file).parent == _COMPILER


def _may_fold_one_frame(node: fx.Node) -> bool:
    """Whether a view may fold time into the batch: of one element its sizes do not tell."""
    if node.target not in _VIEWS:
        return False
    before, after = _view_shapes(node)
    return before[:2] == (EXPORT_BATCH, 1) and after[0] == EXPORT_BATCH


def _view_shapes(node: fx.Node) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of what a view reads, and of what it makes."""
    return tuple(node.all_input_nodes[0].meta["val"].shape), tuple(node.meta["val"].shape)


def _look_at_longer_clips(
    exported: FunctionalExport, model: nn.Module, clip_shapes: Sequence[ClipShape]
) -> None:
    """Note what every view does in clips where more than one element of time is left.

    Nothing is noted of networks that take no other length, or do something else with it.
    """
    longer_shapes = [(c, t + _MORE_FRAMES, *space) for c, t, *space in clip_shapes]
    try:
        longer = _export(model, longer_shapes, EXPORT_BATCH)
    except Co3dError:
        return
    nodes, twins = _without_copies(exported.graph), _without_copies(longer.graph)
    if [_kind(node) for node in nodes] == [_kind(twin) for twin in twins]:
        for node, twin in zip(nodes, twins, strict=True):
            if node.target in _VIEWS:
                node.meta["longer"] = _view_shapes(twin)


def _without_copies(graph: fx.Graph) -> list[fx.Node]:
    """All nodes but those that make a value contiguous, which one element always is."""
    return [node for node in graph.nodes if node.target is not torch.ops.aten.clone.default]


def _kind(node: fx.Node) -> Any:
    return torch.ops.aten.reshape.default if node.target in _VIEWS else node.target


def _bind(exported: FunctionalExport, model: nn.Module) -> Captured:
    program = exported.program
    tensors: dict[str, Any] = {**program.constants, **program.state_dict}
    root = nn.Module()
    graph = fx.Graph()
    bound: dict[fx.Node, fx.Node] = {}
    inputs = [node for node in exported.graph.nodes if node.op == "placeholder"]
    specs = dict(zip(inputs, program.graph_signature.input_specs, strict=True))
    weights: dict[str, str] = {}
    for node in exported.graph.nodes:
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
    results = _results(program, list(output.args[0]), type(model).__name__)
    output.args = (results[0] if len(results) == 1 else tuple(results),)
    spec = program.call_spec.out_spec
    assert spec is not None
    return Captured(fx.GraphModule(root, graph), spec, weights)


def _results(program: ExportedProgram, values: list[Any], name: str) -> list[fx.Node]:
    kinds = [spec.kind for spec in program.graph_signature.output_specs]
    if OutputKind.USER_INPUT_MUTATION in kinds:
        raise ConversionError(
            f"cannot convert {name}: its forward writes into the clip that it is given, which is "
            "its caller's; let it write into a copy (x = x.clone())"
        )
    if any(kind is not OutputKind.USER_OUTPUT for kind in kinds):
        raise ConversionError(
            f"cannot convert {name}: its forward changes its own buffers, which streams cannot "
            "share; move that out of forward in evaluation mode"
        )
    if not values or not all(isinstance(v, fx.Node) for v in values):
        raise ConversionError(
            f"cannot convert {name}: it returns something that is not a tensor, expected tensors "
            "(one, a tuple or a dict of them); wrap it in a module that returns those"
        )
    return values


def _origin(node: fx.Node) -> Origin:
    stack = node.meta.get("nn_module_stack") or {}
    path, kind = next(reversed(stack.values()), ("", ""))
    kind = kind if isinstance(kind, str) else kind.__name__
    trace = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines()]
    files = [i for i, line in enumerate(trace) if line.startswith("File ")]
    # The innermost frame outside torch is the line that the user wrote.
    own = [i for i in files if "/torch/" not in trace[i]] or files
    return Origin(path, kind.rsplit(".", 1)[-1], trace[own[-1]] if own else "")


def _compute_batch_sizes(graph: fx.Graph, other: fx.Graph) -> None:
    """Replace numbers that follow the batch, in two graphs of the same network, by its size."""
    nodes, others = list(graph.nodes), list(other.nodes)
    assert [n.target for n in nodes] == [n.target for n in others]
    source = next(n for n in nodes if n.op == "placeholder")
    sizes: dict[int, fx.Node] = {}

    def size(multiple: int) -> fx.Node:
        if multiple not in sizes:
            with graph.inserting_after(sizes.get(1, source)):
                if multiple == 1:
                    made = insert(source, torch.ops.aten.sym_size.int, (source, 0))
                else:
                    made = insert(source, operator.mul, (size(1), multiple))
            sizes[multiple] = made
        return sizes[multiple]

    def merge(node: fx.Node, here: Any, there: Any) -> Any:
        if isinstance(here, (list, tuple)):
            return type(here)(merge(node, a, b) for a, b in zip(here, there, strict=True))
        if type(here) is not int or here == there:
            return here
        assert here % EXPORT_BATCH == 0
        assert here * _OTHER_BATCH == there * EXPORT_BATCH
        return -1 if node.target in _VIEWS else size(here // EXPORT_BATCH)

    for node, twin in zip(nodes, others, strict=True):
        if node.op == "call_function":
            size_args = merge(node, list(node.args), list(twin.args))
            node.args = tuple(size_args)
            node.kwargs = {k: merge(node, v, twin.kwargs[k]) for k, v in node.kwargs.items()}
