"""Exact clip -> clip passes: one per file, each a function that changes the graph in place."""

from co3d.compiler.passes.convolve_space_first import convolve_space_first
from co3d.compiler.passes.drop_noops import drop_noops
from co3d.compiler.passes.fold_batch_norm import fold_batch_norm
from co3d.compiler.passes.fold_constants import fold_constants
from co3d.compiler.passes.fold_unpools import fold_unpools
from co3d.compiler.passes.free_batch import free_batch
from co3d.compiler.passes.fuse_time_pads import fuse_time_pads
from co3d.compiler.passes.keep_batch_first import keep_batch_first
from co3d.compiler.passes.pick_before_permutes import pick_before_permutes
from co3d.compiler.passes.reduce_before_folds import reduce_before_folds
from co3d.compiler.passes.roll_loops import roll_loops
from co3d.compiler.passes.share_rows import share_rows
from co3d.compiler.passes.split_lists import split_lists
from co3d.compiler.passes.split_pools import split_pools
from co3d.compiler.passes.write_as_pads import write_as_pads
from co3d.compiler.passes.write_compositions import write_compositions
from co3d.compiler.passes.write_frame_picks import write_frame_picks
from co3d.compiler.passes.write_recurrences import write_recurrences
from co3d.compiler.passes.write_stacks import write_stacks

__all__ = [
    "convolve_space_first",
    "drop_noops",
    "fold_batch_norm",
    "fold_constants",
    "fold_unpools",
    "free_batch",
    "fuse_time_pads",
    "keep_batch_first",
    "pick_before_permutes",
    "reduce_before_folds",
    "roll_loops",
    "share_rows",
    "split_lists",
    "split_pools",
    "write_as_pads",
    "write_compositions",
    "write_frame_picks",
    "write_recurrences",
    "write_stacks",
]
