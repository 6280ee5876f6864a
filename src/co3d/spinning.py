"""How long PyTorch's threads, which the native kernels use too, spin while they wait for work."""

import os
import sys

# About 0.4 ms. Threads of one network's operators follow each other sooner; OpenMP's own choice,
# some 5 ms, takes the processors from others: from the frames' decoder, from other streams.
SPINS = 20000


def bound_spinning() -> None:
    """Let threads sleep soon after a step, where nobody else has settled how they wait.

    GNU's OpenMP reads the environment when PyTorch is imported, so this has an effect before alone.
    """
    if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
