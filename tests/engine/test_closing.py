"""A program that exits while an engine is working exits cleanly."""

import subprocess
import sys

PROGRAM = """
import atexit, threading

@atexit.register  # registered first, so called last
def look():
    names = [thread.name for thread in threading.enumerate()]
    print("left:", [name for name in names if name.startswith("co3d steps")])

import numpy as np, torch
from co3d.engine import Engine, open_labeller

torch.set_num_threads(2)
labeller = open_labeller("camera_motion", backend="torch")
engine = Engine(labeller.compiled, labeller.card, load_limit=None)
track = engine.join(policy="every")

def push():
    for number in range(1000):
        track.push(np.zeros((60, 80, 3), np.uint8), number / 8)

threading.Thread(target=push, daemon=True).start()
threading.Thread(target=list, args=(track,), daemon=True).start()
while not track.metrics().predictions:
    pass
print("labelled")
"""


def test_workers_end_before_python_exits():
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "labelled\nleft: []\n"), ended.stderr
