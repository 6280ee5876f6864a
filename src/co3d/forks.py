"""Forked processes inherit objects whose threads they lack."""

import gc
import os
import sys
from functools import cache


@cache
def protect_forks() -> None:
    """Let forked processes neither wait for threads that they lack nor free what owns such.

    The decoders and scalers of FFmpeg own threads, which do not live on in a forked process; to
    free them there is to wait for those threads forever. Garbage collection is what would do it, so
    a forked process keeps all that it inherits. PyTorch's operators and the native kernels share
    OpenMP's threads, and would wait for these in their first step: there they take one thread.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_settle_child)


def _settle_child() -> None:
    gc.freeze()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
