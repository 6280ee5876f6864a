"""Clip -> clip approximations, kept apart from the exact passes and listed in the program."""

from co3d.stream.rewrites.frame_picking import even_out_frame_picking
from co3d.stream.rewrites.gates import pool_gates_per_frame

__all__ = ["even_out_frame_picking", "pool_gates_per_frame"]
