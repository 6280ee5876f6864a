"""Converts a classifier to a step program that also returns the features before its scores."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import fx, nn
from torch.utils._pytree import tree_structure

from co3d.compiler.analyse import analyse, output_nodes
from co3d.compiler.assemble import assemble
from co3d.compiler.options import ConvertOptions, check_clip_shapes
from co3d.compiler.pipeline import prepare, settle_timing
from co3d.compiler.prepared import Prepared
from co3d.compiler.program import Rate, Scope, StepProgram

_CLASSIFIERS = {
    torch.ops.aten.linear.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.conv1d.default,
    torch.ops.aten.conv2d.default,
    torch.ops.aten.conv3d.default,
}


def convert_with_features(
    model: nn.Module,
    clip_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    window: int | None = None,
    rate: Rate = "dense",
    scope: Scope = "frame",
    fallback: bool = False,
    spread: bool = False,
) -> tuple[StepProgram, bool]:
    """Convert a network to a program that also returns the features before its classifier.

    The classifier is the last linear layer or convolution before the network's first output. The
    features are an additional, last output; otherwise the program is that of `convert`.

    Args:
        model, clip_shape, window, rate, scope, fallback, spread: as for `convert`.

    Returns:
        The program, and whether it returns features, which a network without such a layer lacks.

    Raises:
        ConversionError, OptionError: as for `convert`.
    """
    shapes = check_clip_shapes(clip_shape)
    options = ConvertOptions(window, rate, scope, "start", fallback, spread)
    prepared = prepare(model, shapes, options)
    features = _find_features(prepared)
    if features is not None:
        prepared = _return_too(prepared, features)
    return assemble(settle_timing(prepared)), features is not None


def _find_features(prepared: Prepared) -> fx.Node | None:
    """The input of the last layer with weights before the first output; None without one."""
    before = {output_nodes(prepared.clip_graph)[0]}
    for node in reversed(prepared.clip_graph.graph.nodes):
        if node not in before:
            continue
        if node.target in _CLASSIFIERS:
            return next(n for n in node.all_input_nodes if n in prepared.analysis.types)
        before.update(node.all_input_nodes)
    return None


def _return_too(prepared: Prepared, node: fx.Node) -> Prepared:
    """Add an output to the network, whose outputs then are a tuple."""
    clip_graph = prepared.clip_graph
    outputs = (*output_nodes(clip_graph), node)
    next(n for n in clip_graph.graph.nodes if n.op == "output").args = (outputs,)
    clip_graph.recompile()
    windows = prepared.analysis.windows
    return replace(
        prepared,
        whole_graph=clip_graph,
        output_spec=tree_structure(tuple(range(len(outputs)))),
        analysis=analyse(clip_graph, prepared.clip_frames, prepared.batch, windows),
    )
