"""The result of the pipeline's stages from capture to analysis."""

from dataclasses import dataclass

from torch import fx
from torch.utils._pytree import TreeSpec

from co3d.compiler.analyse import Analysis
from co3d.compiler.capture import EXPORT_BATCH, ClipShape
from co3d.compiler.options import ConvertOptions


@dataclass(frozen=True)
class Prepared:
    """A clip graph in which every operator has a step form, with its analysis.

    Attributes:
        name: class name of the model.
        clip_shapes: (C, T, H, W) of each input.
        options: of the conversion.
        clip_graph: the clip network after passes and rewrites; it takes any batch size.
        whole_graph: the same before convolutions were split into taps for the steps.
        output_spec: pytree structure of the model's outputs.
        analysis: the analysis of the clip graph.
        approximations: the rewrites that change what the network computes.
        fallbacks: the operators from which on the network is rerun on whole clips.
        batch: batch size of the capture.
    """

    name: str
    clip_shapes: tuple[ClipShape, ...]
    options: ConvertOptions
    clip_graph: fx.GraphModule
    whole_graph: fx.GraphModule
    output_spec: TreeSpec
    analysis: Analysis
    approximations: tuple[str, ...]
    fallbacks: tuple[str, ...]
    batch: int = EXPORT_BATCH

    @property
    def graph_slots(self) -> int | None:
        """Fixed batch size of the step graphs; None for any.

        A rerun part may mix the rows of its batch, so with one each stream is a batch of its own.
        """
        return 1 if self.fallbacks else None

    @property
    def clip_frames(self) -> int:
        """Frames of the clips that the network was captured for."""
        return self.clip_shapes[0][1]
