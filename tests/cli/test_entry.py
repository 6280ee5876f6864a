"""Signals from the first import on: the command ends with 130 and says nothing."""

import os
import signal
import subprocess
import sys

import pytest

from co3d.cli.interrupts import interrupt_on_signals, is_interrupt

SLOW_IMPORT = "import os, signal, sys, time\nprint('importing', flush=True)\ntime.sleep(60)\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "module", ["typer", "torch", pytest.param("torchmetrics", marks=pytest.mark.slow)]
)
def test_a_signal_during_imports_ends_the_command(module, number, tmp_path):
    """`typer` is needed by the command line itself, the others by the command."""
    (tmp_path / f"{module}.py").write_text(SLOW_IMPORT)
    paths = [str(tmp_path), *sys.path]
    process = subprocess.Popen(
        [sys.executable, "-m", "co3d", "eval", "--data", str(tmp_path), "--mode", "stream"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert process.stdout.readline() == "importing\n"
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (130, "", "")


END = """
import atexit, os, signal, sys, threading, time
from co3d.cli import interrupts
interrupts.PATIENCE_SECONDS = 0.1
end = interrupts.CleanEnd()
atexit.register(print, "registered later")
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("done")
end.finish(3)
"""


@pytest.mark.parametrize(
    ("last", "out"),
    [
        ("sys.exit(3)", "done\nregistered later\n"),
        ("signal.raise_signal(signal.SIGTERM); time.sleep(60)", "done\n"),
    ],
)
def test_a_running_thread_does_not_abort_the_exit(last, out):
    command = [sys.executable, "-c", END + last]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, out, "")


def test_ignored_signals_stay_ignored():
    previous = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interrupt_on_signals():
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_an_error_that_a_library_made_of_an_interrupt_counts_as_one(co3d, monkeypatch):
    def interrupted(*_, **__):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("numpy._core.multiarray failed to import") from error

    monkeypatch.setattr("co3d.cli.evaluate.evaluate_data", interrupted)
    outcome = co3d("eval", "--data", "videos", "--mode", "stream")
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "")
    assert not is_interrupt(ValueError())
