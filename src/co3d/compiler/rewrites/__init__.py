"""Clip -> clip approximations, kept apart from the exact passes and listed in the program."""

from co3d.compiler.rewrites.adaptive_pools import fix_adaptive_pools
from co3d.compiler.rewrites.collect_clips import collect_clips, collect_inputs
from co3d.compiler.rewrites.frame_picking import even_out_frame_picking
from co3d.compiler.rewrites.gates import localise_gates

__all__ = [
    "collect_clips",
    "collect_inputs",
    "even_out_frame_picking",
    "fix_adaptive_pools",
    "localise_gates",
]
