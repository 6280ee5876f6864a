"""How long the OpenMP threads of PyTorch and the native kernels spin while they wait for work."""

import os
import sys

# About 0.4 ms. A network's operators follow each other sooner; OpenMP's default, some 5 ms, takes
# cores from other work: the frames' decoder and other streams.
SPINS = 20000


def bound_spinning() -> None:
    """Let threads sleep soon after a step, unless the environment says how they wait.

    GNU OpenMP reads the environment when PyTorch is imported, so call this before.
    """
    if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
