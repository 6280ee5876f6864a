"""Capture: an `nn.Module` and an example clip become one functional graph of ATen operators."""

import copy
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export.graph_signature import InputKind, InputSpec
from torch.fx.passes.fake_tensor_prop import FakeTensorProp

from co3d.errors import ConversionError, InputShapeError

# Two streams, so that a graph which treats the batch as anything but a batch shows it.
EXPORT_BATCH = 2


@dataclass(frozen=True)
class Origin:
    """Where in the user's network a graph node comes from."""

    module_path: str
    module_class: str
    source_line: str


def capture(model: nn.Module, clip_shape: tuple[int, int, int, int]) -> fx.GraphModule:
    """Export `model` for clips of `clip_shape` (C, T, H, W) as a graph with one input.

    Parameters and buffers become attributes of the returned module. Every node carries its
    `Origin` in `node.meta["origin"]` and its value's shape in `node.meta["val"]`. The model is
    not changed: it is exported in evaluation mode and put back.

    Raises:
        ConversionError: the model cannot be exported (a data-dependent branch, say), or it takes
            or returns more than one tensor.
    """
    parameter = next(model.parameters(), None)
    dtype = torch.float32 if parameter is None else parameter.dtype
    device = torch.device("cpu") if parameter is None else parameter.device
    example = torch.zeros((EXPORT_BATCH, *clip_shape), dtype=dtype, device=device)
    was_training = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with warnings.catch_warnings():
            # torch's own use of its deprecated pytree API; nothing that a user can act on.
            warnings.filterwarnings("ignore", category=FutureWarning)
            exported = torch.export.export(model, (example,), strict=False).run_decompositions({})
    except InputShapeError:
        raise
    except Exception as error:  # torch.export raises errors of many kinds
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConversionError(
            f"cannot capture {type(model).__name__} for clips of shape {clip_shape}: torch.export "
            f"failed with {type(error).__name__}: {reason}; move data-dependent Python out of "
            "forward, or check that the model runs on a clip of this shape"
        ) from error
    finally:
        for module, training in was_training.items():
            module.training = training
    return _bind(exported, type(model).__name__)


def propagate_shapes(clip_graph: fx.GraphModule) -> None:
    """Recompute `node.meta["val"]` after a pass has changed the graph."""
    example = next(n for n in clip_graph.graph.nodes if n.op == "placeholder").meta["val"]
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = torch.empty(example.shape, dtype=example.dtype, device=example.device)
        FakeTensorProp(clip_graph, mode=mode).propagate_dont_convert_inputs(fake)


def _bind(exported: torch.export.ExportedProgram, model_name: str) -> fx.GraphModule:
    root = nn.Module()
    graph = fx.Graph()
    bound: dict[fx.Node, fx.Node] = {}
    specs = {spec.arg.name: spec for spec in exported.graph_signature.input_specs}
    inputs = 0
    for node in exported.graph.nodes:
        if node.op == "placeholder" and specs[node.name].kind is not InputKind.USER_INPUT:
            if node.users:
                tensor = _constant(exported, specs[node.name])
                attribute = node.name
                root.register_buffer(attribute, tensor.detach())
                bound[node] = graph.get_attr(attribute)
        else:
            inputs += node.op == "placeholder"
            bound[node] = graph.node_copy(node, bound.__getitem__)
        if node in bound:
            bound[node].meta = copy.copy(node.meta)
            bound[node].meta["origin"] = _origin(node)
    output = next(n for n in graph.nodes if n.op == "output")
    values = output.args[0]
    results = list(values) if isinstance(values, (tuple, list)) else [values]
    if inputs != 1 or len(results) != 1:
        raise ConversionError(
            f"cannot convert {model_name}: it takes {inputs} and returns {len(results)} tensors, "
            "expected one clip in and one tensor out; wrap it in a module that does"
        )
    output.args = (results[0],)
    return fx.GraphModule(root, graph)


def _constant(exported: torch.export.ExportedProgram, spec: InputSpec) -> Tensor:
    constant = {**exported.constants, **exported.state_dict}[spec.target or ""]
    assert isinstance(constant, Tensor)
    return constant


def _origin(node: fx.Node) -> Origin:
    stack = node.meta.get("nn_module_stack") or {}
    path, kind = next(reversed(stack.values()), ("", ""))
    kind = kind if isinstance(kind, str) else kind.__name__
    trace = [line.strip() for line in (node.meta.get("stack_trace") or "").splitlines()]
    files = [i for i, line in enumerate(trace) if line.startswith("File ")]
    # The innermost frame outside torch is the line that the user wrote.
    own = [i for i in files if "/torch/" not in trace[i]] or files
    return Origin(path, kind.rsplit(".", 1)[-1], trace[own[-1]] if own else "")
