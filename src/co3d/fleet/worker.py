"""Labels videos of an archive: one engine with several videos open."""

import threading
from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.engine import Engine
from co3d.errors import DamagedVideoError, EmptyVideoError, StreamError
from co3d.evaluation.bad_videos import BAD_VIDEO_ERRORS
from co3d.evaluation.frames import read_entry
from co3d.evaluation.header import Header
from co3d.fleet.parts import find_part, name_part, open_part
from co3d.fleet.plan import ArchivePlan
from co3d.fleet.rows import FrameRows

_NO_MANIFEST = Manifest(Path(), (), ())


@dataclass(frozen=True)
class Outcome:
    """The result for one video.

    Attributes:
        video_id: which.
        rows: of its part.
        error: why there is no part, or why it ends before the video does; None if all is well.
        existed: whether an earlier run made the part.
    """

    video_id: str
    rows: int = 0
    error: str | None = None
    existed: bool = False


class ArchiveWorker:
    """Labels videos and writes a part for each.

    Args:
        engine: the one that labels; closed with the worker.
        plan: how to label. header: of the archive.
        folder: of the archive.
    """

    def __init__(self, engine: Engine, plan: ArchivePlan, header: Header, folder: Path) -> None:
        self._engine, self._plan, self._header, self._folder = engine, plan, header, folder
        self._at_once = plan.count_videos(engine.compiled.device)
        self._is_stopped = threading.Event()

    def label_all(self, entries: Iterable[VideoEntry]) -> Generator[Outcome, None, None]:
        """Label several videos at a time, and yield the outcome of each as it is done.

        Closing the generator stops the videos in progress, which leave no part.

        Raises:
            OutputError: a part cannot be written. Other errors that do not concern one video.
        """
        waiting = iter(entries)
        running: set[Future[Outcome]] = set()
        pool = ThreadPoolExecutor(self._at_once, "co3d labels")
        try:
            while True:
                while len(running) < self._at_once:
                    entry = next(waiting, None)
                    if entry is None:
                        break
                    running.add(pool.submit(self.label, entry))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            if running:
                self.stop()
            pool.shutdown()

    def label(self, entry: VideoEntry) -> Outcome:
        """Label one video unless its part exists; problems with the video are in the outcome.

        Raises:
            OptionError, DataError: its part was made with other options.
            StreamError: the worker was stopped.
        """
        path = name_part(self._folder, entry.video_id)
        part = find_part(path, self._header, entry)
        if part is not None:
            return Outcome(entry.video_id, part.rows, part.damage, existed=True)
        try:
            return self._write_part(path, entry)
        except BAD_VIDEO_ERRORS as error:
            return Outcome(entry.video_id, error=_describe_error(error))

    def stop(self) -> None:
        """Stop the videos in progress, which leave no part."""
        self._is_stopped.set()
        self._engine.close()

    def _write_part(self, path: Path, entry: VideoEntry) -> Outcome:
        engine, columns = self._engine, self._plan.columns
        frames = read_entry(
            _NO_MANIFEST,
            entry,
            self._plan.rate_hz,
            decoder_threads=None if self._at_once == 1 else 1,
        )
        rows = FrameRows(engine, columns)
        count = 0
        with (
            open_part(path, entry, columns, engine.labels, self._header) as part,
            engine.join(
                rate_hz=self._plan.rate_hz, policy="every", resets_at_gaps=False, listener=rows
            ) as track,
        ):
            try:
                for frame in frames:
                    if not track.feed(frame):
                        break
                    count += 1
                    rows.write(part)
            except DamagedVideoError as error:  # rows before the damage are kept
                part.damage = _describe_error(error)
            finally:
                track.finish()
            for _ in track:  # yields nothing, and ends once all frames are described
                pass
            if self._is_stopped.is_set():
                raise StreamError(f"cannot label {entry.video_id}: stopped")
            rows.write(part, to_end=True)
            if not part.rows:
                program = engine.compiled.program
                flushed = program.delay if program.edges == "both" else 0
                needed = program.first_valid_step + 1 - flushed
                raise EmptyVideoError(
                    f"{entry.video_id} has {count} frames at {self._plan.rate_hz:g}/s, and the "
                    f"network needs {needed}; sample it faster, or leave it out"
                )
        return Outcome(entry.video_id, part.rows, part.damage)


def _describe_error(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
