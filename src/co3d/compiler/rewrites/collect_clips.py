"""Fallback: operators without a step form are rerun on whole clips, collected before them."""

import torch
from torch import fx

from co3d.compiler.analyse import Analysis, output_nodes
from co3d.compiler.insertion import insert
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.recompute import collect_clip, give_beside


def collect_inputs(clip_graph: fx.GraphModule) -> PassResult:
    """Collect the clips of all inputs, so that the whole network is rerun on them.

    Outputs without a first axis of one row get one, for the stream.
    """
    graph = clip_graph.graph
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    gathered = []
    for node in inputs:
        with graph.inserting_after(inputs[-1]):
            clip = insert(node, collect_clip, (node,))
        node.replace_all_uses_with(clip, lambda user, clip=clip: user is not clip)
        gathered.append(clip)
    output = next(node for node in graph.nodes if node.op == "output")
    with graph.inserting_before(output):
        rows = [_as_row(node, gathered[0]) for node in output_nodes(clip_graph)]
    output.args = (rows[0] if len(rows) == 1 else tuple(rows),)
    return PassResult(True)


def _as_row(node: fx.Node, clip: fx.Node) -> fx.Node:
    """An output with one row for the stream, and a dependency on the clip if it has none."""
    made = insert(clip, give_beside, (node, clip))
    shape = node.meta["val"].shape
    if not shape or shape[0] != 1:
        made = insert(clip, torch.ops.aten.unsqueeze.default, (made, 0))
    return made


def collect_clips(clip_graph: fx.GraphModule, analysis: Analysis) -> PassResult:
    """Collect clips before all nodes that depend on an operator without a step form."""
    graph, changed = clip_graph.graph, False
    rerun: set[fx.Node] = {problem.node for problem in analysis.problems}
    for node in graph.nodes:
        if node.op == "call_function" and any(n in rerun for n in node.all_input_nodes):
            rerun.add(node)
    for node in list(graph.nodes):
        readers = [user for user in node.users if user in rerun]
        if node not in analysis.types or node in rerun or not readers:
            continue
        with graph.inserting_after(node):
            gathered = insert(node, collect_clip, (node,))
        for reader in readers:
            reader.replace_input_with(node, gathered)
        changed = True
    return PassResult(changed)
