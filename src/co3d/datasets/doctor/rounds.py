"""Examine all videos of a manifest in parallel, with a log from which a killed run resumes."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from co3d.datasets.examination import Examination, examine
from co3d.datasets.manifest import Manifest
from co3d.errors import SandboxError
from co3d.files import make_folder, report_refusal
from co3d.sandbox import Sandbox

AHEAD = 4
"""Files queued per worker: queueing a whole data set would waste memory."""


def examine_all(
    manifest: Manifest,
    log: Path,
    workers: int,
    report: Callable[[Examination], None] = lambda _: None,
    sandbox: Sandbox | None = None,
) -> dict[str, Examination]:
    """Examine the videos of a manifest, each file once.

    Args:
        manifest: the videos.
        log: JSONL file that each result is added to at once. A file that it already holds, with
            the same length and time of change, is not decoded again.
        workers: how many videos to decode at a time, in threads: decoding releases the GIL.
        report: called with each result, those of the log included.
        sandbox: where to decode; None decodes in this process. Videos that kill its processes or
            exceed its limits count as unreadable.

    Returns:
        Path of an entry -> its examination.

    Raises:
        OutputError: the log cannot be written.
        KeyboardInterrupt: after Ctrl-C; earlier results are in the log.
    """
    rates = {entry.path: entry.rate_hz for entry in manifest.entries}
    known = _read_log(log)
    found: dict[str, Examination] = {}
    todo: list[tuple[str, str]] = []
    for path in rates:
        stamp = _stamp(manifest.root / path)
        if (path, stamp) in known:
            found[path] = known[path, stamp]
            report(found[path])
        else:
            todo.append((path, stamp))
    with _open_log(log) as file, ThreadPoolExecutor(workers) as pool:
        waiting: dict[Future[Examination], tuple[str, str]] = {}
        remaining = iter(todo)
        try:
            while True:
                while len(waiting) < workers * AHEAD and (job := next(remaining, None)):
                    path = manifest.root / job[0]
                    waiting[pool.submit(_examine, path, rates[job[0]], sandbox)] = job
                if not waiting:
                    return found
                for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                    name, stamp = waiting.pop(done)
                    found[name] = done.result()
                    line = {"path": name, "stamp": stamp, **asdict(found[name])}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                    file.flush()
                    report(found[name])
        except BaseException:
            if sandbox is not None:
                sandbox.close()
            pool.shutdown(cancel_futures=True)
            raise


def _examine(path: Path, rate_hz: float | None, sandbox: Sandbox | None) -> Examination:
    if sandbox is None:
        return examine(path, rate_hz)
    try:
        return sandbox.run(examine, path, rate_hz)
    except SandboxError as error:
        return Examination("unreadable", f"cannot read {path}: {error}")


def _stamp(path: Path) -> str:
    """A value that changes when a file changes; all absent files have the same one."""
    try:
        status = path.stat()
    except OSError:
        return ""
    count = sum(1 for _ in path.iterdir()) if path.is_dir() else status.st_size
    return f"{count} {status.st_mtime_ns}"


@contextmanager
def _open_log(path: Path) -> Iterator[TextIO]:
    make_folder(path.parent)
    with report_refusal(path):
        _end_last_line(path)
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            yield file


def _end_last_line(path: Path) -> None:
    """End a line that a killed run left incomplete, so that the next one starts on its own line."""
    if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
        with path.open("a") as file:
            file.write("\n")


def _read_log(path: Path) -> dict[tuple[str, str], Examination]:
    """Results of earlier runs; incomplete lines of killed runs are ignored."""
    known: dict[tuple[str, str], Examination] = {}
    if not path.is_file():
        return known
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            values = json.loads(line)
            key = values.pop("path"), values.pop("stamp")
            known[key] = Examination(**values)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
    return known
