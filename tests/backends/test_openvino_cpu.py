"""OpenVINO's plugin must not break the process that loads it."""

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

# Python's handler runs on the thread's alternate signal stack, if it has one.
PROGRAM = """
import signal, threading

import co3d

def open_stream():
    model = co3d.create_model("camera_motion")
    program = co3d.convert(model, model.card.clip_shape)
    return co3d.open_stream(program, backend="openvino", precision="bfloat16")

streams = [open_stream()]
thread = threading.Thread(target=streams.clear)
thread.start()
thread.join()
signal.signal(signal.SIGUSR1, lambda *_: print("alive", flush=True))
signal.raise_signal(signal.SIGUSR1)
"""


@pytest.mark.slow
def test_signals_arrive_after_a_stream_ended_in_another_thread():
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "alive\n"), ended.stderr
