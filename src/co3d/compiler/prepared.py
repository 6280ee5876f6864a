"""A network between the stages of the pipeline."""

from dataclasses import dataclass

from torch import fx
from torch.utils._pytree import TreeSpec

from co3d.compiler.analyse import Analysis
from co3d.compiler.capture import EXPORT_BATCH, ClipShape
from co3d.compiler.options import ConvertOptions


@dataclass(frozen=True)
class Prepared:
    """A clip graph whose every operator has a step form, and how it differs from the model.

    Attributes:
        name: class name of the model.
        clip_shapes: (C, T, H, W) of each input.
        options: of the conversion.
        clip_graph: the clip network after passes and rewrites; it takes any batch.
        whole_graph: the same before some of its convolutions were split for steps.
        output_spec: how the model packs its outputs.
        analysis: what the rules say of the clip graph.
        approximations: the rewrites that change what the network computes.
        fallbacks: the operators from which on the network is rerun on whole clips.
        batch: number of clips that the network was captured for.
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
        """Rows that step graphs are to have; None for any number.

        What is rerun may mix the rows of its batch, so each stream has one of its own.
        """
        return 1 if self.fallbacks else None

    @property
    def clip_frames(self) -> int:
        """Frames of the clips that the network was captured for."""
        return self.clip_shapes[0][1]
