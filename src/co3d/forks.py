"""Make forked processes safe: they inherit objects but not the threads of these."""

import gc
import os
import sys
from functools import cache


@cache
def protect_forks() -> None:
    """Keep forked processes from waiting for threads that do not exist there.

    FFmpeg's decoders and scalers own threads, which a forked process lacks; freeing them there
    waits for those threads forever. Garbage collection would do that, so a forked process keeps all
    objects that it inherits. PyTorch's operators and the native kernels share OpenMP's threads, and
    would wait for these in their first step, so there they use one thread. The threads of
    `torch.compile` are forgotten, because PyTorch only forgets its compile processes.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_settle_child)


def _settle_child() -> None:
    gc.freeze()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "torch._inductor.async_compile" in sys.modules:
        sys.modules["torch._inductor.async_compile"].AsyncCompile.pool.cache_clear()
