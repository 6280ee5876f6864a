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
            and None, or a dataclass registered by `torch.export.register_dataclass`. Converted in
            evaluation mode, with its current weights and buffers; buffers that forward changes
            stay constant in the program. The model itself is not changed.
        clip_shape: (C, T, H, W) of the clips that it was trained on; one such shape per input, all
            of the same T, for models that take several.
        window: elements that its pool over time averages, sliding (of its slowest pathway, where
            there are several); by default as many as the training clip had. Longer windows cost
            state, not computation.
        rate: "dense" gives a result at every frame: strides in time become dilations, as if the
            clip were slid along by one frame. "native" gives one every `temporal_stride` frames,
            and computes what follows a stride at those frames alone. Networks that enlarge time
            again (transposed convolutions in time) always run in native rate; "dense" accepts
            them if every frame has a result.
        scope: what a gate inside the network (squeeze-and-excitation) pools instead of the whole
            clip: the current "frame", or a "window" of as many newest frames as the clip had.
            "window" also applies to attention over time and norms over a clip; "frame" refuses
            these, or reruns them with `fallback`.
        edges: "start" reproduces the clip's padding before the first frame (for live streams);
            "both" also its end, so that N steps and a `flush` equal the clip network on N frames;
            "none" reproduces neither.
        fallback: rerun operators without a step form (attention over time, a bidirectional GRU),
            and all that follows them, on the newest clip at every step; the whole network where it
            cannot be cut. With it any network converts that torch.export captures.
        spread: with rate="native", move work to frames with less of it, so that no step costs more
            than 1.5 times the mean where the graph allows it. Results come some frames later.

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
