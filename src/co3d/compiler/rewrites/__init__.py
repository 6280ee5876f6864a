"""Rewrites of the clip graph that change its results; the program lists these approximations."""

from co3d.compiler.rewrites.adaptive_pools import fix_adaptive_pools
from co3d.compiler.rewrites.attention import slide_attention
from co3d.compiler.rewrites.collect_clips import collect_clips, collect_inputs
from co3d.compiler.rewrites.frame_picking import even_out_frame_picking
from co3d.compiler.rewrites.gates import localise_gates
from co3d.compiler.rewrites.sliding_norms import slide_norms

__all__ = [
    "collect_clips",
    "collect_inputs",
    "even_out_frame_picking",
    "fix_adaptive_pools",
    "localise_gates",
    "slide_attention",
    "slide_norms",
]
