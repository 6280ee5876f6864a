"""Runs one pass, checks the graph afterwards, and names the pass in errors."""

from collections.abc import Callable

from torch import fx

from co3d.compiler.passes.result import PassResult
from co3d.errors import Co3dError, InternalError


def run_pass(
    clip_graph: fx.GraphModule, change: Callable[..., PassResult], *args: object
) -> PassResult:
    """Apply a pass to a clip graph, and check that the graph is valid afterwards.

    Args:
        clip_graph: changed in place.
        change: the pass; called with the graph and `args`.

    Raises:
        InternalError: the pass failed or left an invalid graph; the message names the pass.
        ConversionError: raised by the pass itself about the network.
    """
    try:
        result = change(clip_graph, *args)
        check_graph(clip_graph)
    except (Co3dError, MemoryError):
        raise
    except Exception as error:
        # torch prints the whole graph after the first line.
        reason = next(iter(str(error).splitlines()), "")
        raise InternalError(
            f"cannot convert: the pass {change.__name__} failed with {type(error).__name__}: "
            f"{reason}; this is a bug of co3d and none of the network: report it with the "
            "traceback (--debug on the command line) and, if you can, the network"
        ) from error
    return result


def check_graph(clip_graph: fx.GraphModule) -> None:
    """Check that a clip graph is valid, and that each node has its shape and origin.

    Raises:
        RuntimeError: it is not valid; the message names the node.
    """
    clip_graph.graph.lint()
    for node in clip_graph.graph.nodes:
        if node.op != "output" and not {"val", "origin"} <= node.meta.keys():
            raise RuntimeError(f"the node {node.name} lacks its shape or its origin")
