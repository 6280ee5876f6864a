"""A process forked after a step with two threads does not wait for threads that it lacks."""

import os
import subprocess
import sys

import pytest

from support.slow import slow_but

FORK = """
import os, sys, warnings
import torch
from torch import nn
torch.set_num_threads(2)
from co3d.compiler import convert
from co3d.errors import StreamError
from co3d.runtime import compile

warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads
network = nn.Sequential(
    nn.Conv3d(3, 32, 3, padding=(0, 1, 1)), nn.AdaptiveAvgPool3d(1), nn.Flatten()
).eval()
program = convert(network, (3, 4, 224, 224))
frame = torch.ones(1, 3, 224, 224)
compiled = compile(program, backend=sys.argv[1])
slot = compiled.open()
(torch.ones(2000, 2000) @ torch.ones(2000, 2000)).sum()  # with two threads
expected = [compiled.step([slot], frame).output for _ in range(3)][-1]
child = os.fork()
if child:
    print(os.waitpid(child, 0)[1], flush=True)
    os._exit(0)
try:
    try:
        compiled.step([slot], frame)
    except StreamError as error:
        assert "spawn" in str(error)
    else:
        raise AssertionError("the parent's program stepped")
    mine = compile(program, backend=sys.argv[1])
    slot = mine.open()
    result = [mine.step([slot], frame).output for _ in range(3)][-1]
    assert torch.allclose(result, expected, atol=1e-5)
    os._exit(0)
except BaseException as error:
    print(repr(error), file=sys.stderr, flush=True)
    os._exit(1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize(
    "backend",
    slow_but(["torch", "native", "onnxruntime", "openvino", "inductor"], "torch"),
)
def test_a_forked_child_opens_a_stream(backend, tmp_path):
    command = [sys.executable, "-c", FORK, backend]
    # What was compiled before would not be compiled by threads.
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.stdout.strip() == "0", done.stderr
