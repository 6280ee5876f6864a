"""Forked processes that inherit FFmpeg's objects must not free them."""

import gc
import os
from functools import cache


@cache
def protect_forks() -> None:
    """Let forked processes keep all that they inherit, for as long as they run.

    The decoders and scalers of FFmpeg own threads, which do not live on in a forked process; to
    free them there is to wait for those threads forever. Garbage collection is what would do it.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=gc.freeze)
