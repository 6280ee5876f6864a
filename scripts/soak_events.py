"""Kill, cut off and starve a process that makes events: none that was committed may be lost.

python scripts/soak_events.py --kills 100 --down-seconds 180

A child process makes events of made-up predictions of four cameras and delivers them to a web
server, to an MQTT broker (mosquitto) and to a file. Three trials:

- kills: it is killed (SIGKILL) at random moments and started again;
- down: web server and broker are away for so long, while events go on;
- full: its disk has no room for a while (a tmpfs of 6 MB; needs root).

After each, every committed record must have come to all three, each camera's in order, and every
repeat with its first id. Writes the figures as JSON to standard output.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from co3d.engine import Prediction
from co3d.engine.events import EventLog, Outbox, Rule, RuleBook
from co3d.engine.events import outbox as outbox_module
from co3d.engine.events.courier import Courier, RecordFilter
from co3d.engine.events.outputs.json_lines import JsonLinesOutput
from co3d.engine.events.outputs.mqtt import Broker, MqttOutput
from co3d.engine.events.outputs.webhook import WebhookOutput
from co3d.engine.events.service import EventService
from co3d.video import VideoFrame
from event_receivers import Receivers

CAMERAS = ("door", "yard", "hall", "gate")
LABELS = ("falling", "walking", "running")
RULES = [Rule("falls", ("falling",), threshold=0.6, update_seconds=1.0)]
NO_PICTURE = np.empty((0, 0, 3), np.uint8)
OUTPUTS = ("hook", "mqtt", "lines")


def make_prediction(camera: str, pts_seconds: float, falling: float) -> Prediction:
    """What a network of three labels says of a camera."""
    frame = VideoFrame(NO_PICTURE, pts_seconds, 0, received_seconds=time.time())
    probabilities = np.array([falling, 1 - falling, 0.0], np.float32)
    said = (probabilities, (), 0.0, 0.0, 0)
    return Prediction(frame, pts_seconds, pts_seconds, True, False, *said, track=camera)


class CountingOutbox(Outbox):
    """Counts what is appended."""

    appended = 0

    def append(self, kind: Any, event: Any) -> None:
        """See `Outbox`."""
        self.appended += 1
        super().append(kind, event)


def make_events(
    folder: Path, ports: tuple[int, int], per_second: float, said: Any, runs_for: float, waits: int
) -> None:
    """The child: about so many predictions a second of each camera, until killed or over."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    outbox_module.MOST_WAITING = waits
    outbox = CountingOutbox(folder, on_notice=lambda text: said.send(("notice", text)))
    outbox.set_outputs(OUTPUTS)
    outputs = {
        "hook": WebhookOutput(f"http://127.0.0.1:{ports[0]}/events", "key"),
        "mqtt": MqttOutput(Broker("127.0.0.1", ports[1]), [(name, "falls") for name in CAMERAS]),
        "lines": JsonLinesOutput(folder.parent / f"{folder.name}.jsonl"),
    }
    couriers = [
        Courier(
            name, output, outbox, RecordFilter(), on_notice=lambda text: said.send(("notice", text))
        )
        for name, output in outputs.items()
    ]
    service = EventService(RuleBook(RULES, LABELS), outbox, lambda _: None)
    said.send(("ready", None))
    stopping = threading.Event()
    threading.Thread(target=tell_commits, args=(outbox, said, stopping), daemon=True).start()
    began, step, longest_seconds = time.monotonic(), 0, 0.0
    while (passed := time.monotonic() - began) < runs_for:
        step += 1
        for number, camera in enumerate(CAMERAS):
            phase = (step + 3 * number) % (14 + number)
            started = time.monotonic()
            service.take(make_prediction(camera, 0.125 * step, 0.9 if phase < 6 else 0.1))
            longest_seconds = max(longest_seconds, time.monotonic() - started)
        time.sleep(max(0.0, step / per_second - passed))
    service.close(1.0)
    outbox.flush(20.0)
    until = time.monotonic() + 120
    while time.monotonic() < until and not all(
        outbox.read_cursor(name) >= outbox.health().latest_number for name in OUTPUTS
    ):
        time.sleep(0.1)
    stopping.set()
    for courier in couriers:
        courier.close(2.0)
    health = outbox.health()
    said.send(
        (
            "over",
            {
                "predictions": step * len(CAMERAS),
                "longest_take_ms": round(1e3 * longest_seconds, 1),
                "appended": outbox.appended,
                "latest_number": health.latest_number,
                "lost": health.lost,
            },
        )
    )
    outbox.close()


def tell_commits(outbox: Outbox, said: Any, stopping: threading.Event) -> None:
    """Tell the parent of every record that can be read, and so is committed."""
    for record in outbox.log.follow(0, stopping):
        said.send(("committed", (record.number, record.event.id)))


class Child:
    """The process that makes events."""

    def __init__(
        self,
        context: Any,
        folder: Path,
        ports: tuple[int, int],
        per_second: float,
        runs_for: float,
        waits: int = outbox_module.MOST_WAITING,
    ) -> None:
        self.committed: dict[int, str] = {}
        self.notices: list[str] = []
        self.summary: dict[str, Any] = {}
        self._ready = threading.Event()
        self._receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(
            target=make_events, args=(folder, ports, per_second, sender, runs_for, waits)
        )
        self.process.start()
        sender.close()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        assert self._ready.wait(60), "the child does not start"

    def kill(self) -> None:
        """End it at once, wherever it is."""
        self.process.kill()
        self.process.join()
        self._thread.join()

    def wait(self) -> None:
        """Wait for its own end."""
        self.process.join()
        self._thread.join()
        assert self.process.exitcode == 0, self.process.exitcode

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                kind, value = self._receiver.recv()
                if kind == "ready":
                    self._ready.set()
                elif kind == "committed":
                    self.committed[value[0]] = value[1]
                elif kind == "notice":
                    self.notices.append(value)
                else:
                    self.summary = value


def read_committed(folder: Path) -> dict[int, tuple[str, str]]:
    """All records of an outbox: id and camera by number."""
    found: dict[int, tuple[str, str]] = {}
    number = 0
    with EventLog(folder) as log:
        while records := log.read_records(number, 1000):
            for record in records:
                found[record.number] = record.event.id, record.event.camera
            number = records[-1].number
    return found


def check(folder: Path, receivers: Receivers, told: dict[int, str]) -> dict[str, Any]:
    """Compare what was committed with what came."""
    committed = read_committed(folder)
    for number, event_id in told.items():
        assert committed[number][0] == event_id, f"the committed record {number} is lost"
    receivers.lines.records.clear()
    for line in (folder.parent / f"{folder.name}.jsonl").read_bytes().splitlines():
        with suppress(ValueError):  # a line that a kill cut short, which was written again
            receivers.lines.add(line)
    taken = {"hook": receivers.hook, "mqtt": receivers.mqtt, "lines": receivers.lines}
    for name, one in taken.items():
        one.check(committed, name)
    with EventLog(folder) as log:
        assert not log.list_events(is_open=True)
        assert {cursor.waiting for cursor in log.list_cursors()} == {0}
    return {
        "records": len(committed),
        "events": len({event_id for event_id, _ in committed.values()}),
        "repeats": {name: one.repeats for name, one in taken.items()},
    }


def try_kills(context: Any, folder: Path, kills: int) -> dict[str, Any]:
    """Kill it again and again."""
    receivers, told = Receivers(folder / "kills"), {}
    outbox = folder / "kills" / "events"
    for number in range(kills):
        child = Child(context, outbox, receivers.ports, 100, 1e9)
        time.sleep(random.uniform(0.0, 0.6))
        child.kill()
        told |= child.committed
        if number % 10 == 9:
            print(f"{number + 1} kills, {len(told)} records", file=sys.stderr)
    child = Child(context, outbox, receivers.ports, 100, 0.5)
    child.wait()
    time.sleep(1.0)
    found = check(outbox, receivers, told | child.committed)
    receivers.close()
    return {"kills": kills, **found}


def try_down(context: Any, folder: Path, down_seconds: float) -> dict[str, Any]:
    """Take its receivers away for a while."""
    receivers = Receivers(folder / "down")
    outbox = folder / "down" / "events"
    child = Child(context, outbox, receivers.ports, 50, down_seconds + 10)
    time.sleep(3)
    receivers.stop()
    before = len(receivers.hook.records)
    print(f"web server and broker are away for {down_seconds:g} s", file=sys.stderr)
    time.sleep(down_seconds)
    waited = len(child.committed) - before
    receivers.start()
    child.wait()
    time.sleep(1.0)
    found = check(outbox, receivers, child.committed)
    receivers.close()
    notices = [one.split(":")[0] for one in child.notices]
    return {"down_seconds": down_seconds, "waited": waited, **found, "said": notices}


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 6 MB."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def try_full(context: Any, folder: Path) -> dict[str, Any]:
    """Fill its disk for a while."""
    receivers = Receivers(folder / "full")
    with small_disk(folder / "disk") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(5_700_000))
        child = Child(context, disk / "events", receivers.ports, 60, 50, waits=100)
        time.sleep(35)  # by then it is full, and more records came than may wait
        committed = len(child.committed)
        ballast.unlink()
        child.wait()
        time.sleep(1.0)
        found = check(disk / "events", receivers, child.committed)
        with EventLog(disk / "events") as log:
            added = sum(event.cause == "interrupted" for event in log.list_events(limit=1000))
        made = child.summary["appended"] + added
        assert made == found["records"] + child.summary["lost"], "the loss is not counted exactly"
    receivers.close()
    said = [one.replace(str(disk), "DISK") for one in child.notices]
    return {
        "before_room": committed,
        "ended_after_loss": added,
        **child.summary,
        **found,
        "said": said,
    }


def main() -> None:
    """Run the trials."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--down-seconds", type=float, default=180.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", default="kills,down,full")
    options = parser.parse_args()
    random.seed(options.seed)
    assert shutil.which("mosquitto"), "install mosquitto"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["co3d.engine.events", "co3d.engine.events.service"])
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trials = {
            "kills": lambda: try_kills(context, folder, options.kills),
            "down": lambda: try_down(context, folder, options.down_seconds),
            "full": lambda: try_full(context, folder),
        }
        for trial in options.trials.split(","):
            began = time.monotonic()
            results[trial] = trials[trial]()
            results[trial]["took_seconds"] = round(time.monotonic() - began, 1)
            print(json.dumps({trial: results[trial]}), file=sys.stderr)
    print(json.dumps(results, indent=2), flush=True)


if __name__ == "__main__":
    code = 1
    try:
        main()
        code = 0
    except Exception:  # noqa: BLE001 (said, and the code tells)
        traceback.print_exc()
    os._exit(code)  # threads of servers do not matter any more
