"""Fallback: what has no step form is rerun on whole clips, which are gathered in front of it."""

from torch import fx

from co3d.compiler.analyse import Analysis
from co3d.compiler.insertion import insert
from co3d.compiler.passes.result import PassResult
from co3d.compiler.rules.recompute import collect_clip


def collect_clips(clip_graph: fx.GraphModule, analysis: Analysis) -> PassResult:
    """Gather clips in front of everything that depends on an operator without a step form."""
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
