"""Conversion: a clip network becomes a step program."""

from collections.abc import Sequence

from torch import nn

from co3d.arguments import check_arguments
from co3d.compiler.options import ConvertOptions, check_clip_shapes
from co3d.compiler.pipeline import compile_network
from co3d.compiler.program import Edges, Rate, Scope, StepProgram


@check_arguments()
def convert(
    model: nn.Module,
    clip_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    window: int | None = None,
    rate: Rate = "dense",
    scope: Scope = "frame",
    edges: Edges = "start",
    fallback: bool = False,
    spread: bool = False,
) -> StepProgram:
    """Derive the step program of a clip network (arXiv:2106.00050, for any network).

    Args:
        model: takes clips (N, C, T, H, W), returns a tensor, or tuples, lists and dicts of tensors
            and None, or what `torch.export.register_dataclass` knows; converted in evaluation
            mode, with the weights that it has now. Buffers that forward changes are for every
            result as they are now. The model itself is left as it is.
        clip_shape: (C, T, H, W) of the clips that it was trained on; one such shape per input, all
            of the same T, for models that take several.
        window: elements that its pool over time averages, sliding (of its slowest pathway, where
            there are several); by default as many as the training clip had. Longer windows cost
            state, not computation.
        rate: "dense" gives a result at every frame: strides in time become dilations, as if the
            clip were slid along by one frame. "native" gives one every `temporal_stride` frames,
            and does no work in between for what follows a stride. Networks that enlarge time again
            (transposed convolutions in time) always run natively; where each frame has a result
            of its own, that is what "dense" promises as well.
        scope: what a gate inside the network (squeeze-and-excitation) pools instead of the whole
            clip: the current "frame", or a "window" of as many newest frames as the clip had. With
            "window" attention over time and norms over a clip see those as well, which is else
            refused, or rerun by `fallback`.
        edges: "start" reproduces the clip's padding before the first frame (for live streams);
            "both" also its end, so that N steps and a `flush` equal the clip network on N frames;
            "none" neither, the steady program alone.
        fallback: rerun what has no step form (attention over time, a GRU that runs both ways),
            and all that follows it, on the newest clip at every step; the whole network where no
            part can be cut off. Any network that torch.export captures converts so.
        spread: with rate="native", postpone work to frames that have less to do, so that no step
            costs more than 1.5 times the mean where the graph allows it. Results come some frames
            later.

    Returns:
        The step program. With edges="both" its steps and flush equal `program.clip_graph`, the
        model after the rewrites that `program.approximations` lists.

    Raises:
        ConversionError: operators that cannot run frame by frame (all of them are listed), or a
            model that torch.export cannot capture.
        OptionError: an option outside its range.
    """
    shapes = check_clip_shapes(clip_shape)
    options = ConvertOptions(window, rate, scope, edges, fallback, spread)
    return compile_network(model, shapes, options)
