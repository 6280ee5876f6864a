"""Evaluate every video once, in one or several processes, resuming after interruptions."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from co3d.evaluation.jobs import Job
from co3d.evaluation.log import PredictionLog, read_log
from co3d.evaluation.ranks import Rank
from co3d.evaluation.records import VideoRecord


class Evaluator(Protocol):
    """Makes the records of videos, from clips or from streams."""

    def evaluate(self, jobs: Iterable[Job]) -> Iterator[VideoRecord]:
        """A record per video, in any order."""
        ...


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    Attributes:
        records: of all videos, in the order of the manifest.
        resumed: how many of them an earlier run had made.
        frames, seconds: processed and spent by this run, summed over the processes.
    """

    records: tuple[VideoRecord, ...]
    resumed: int
    frames: int
    seconds: float


def run_jobs(
    jobs: Sequence[Job],
    evaluator: Evaluator,
    folder: Path,
    settings: Mapping[str, Any],
    *,
    rank: Rank,
    report: Callable[[int, int], None],
) -> RunResult:
    """Evaluate the videos that are not in the logs of a folder yet; log each as it ends.

    Bad videos are tried again, since they may have been fetched anew, or a disk been missing.

    Each process appends to its own log, `log.RANK.jsonl`, and reads those of earlier runs, whose
    number of processes may differ.

    Args:
        settings: all that determines the predictions.
        report: called with the videos done by this process and its number of videos, at the start
            and after each.

    Raises:
        OptionError, DataError, OutputError: see `PredictionLog`. DataError also from strict mode.
    """
    own = folder / f"log.{rank.number}.jsonl"
    with PredictionLog(own, settings) as log:
        wanted = {job.index for job in jobs}
        done: dict[int, VideoRecord] = {}
        # Processes need not share a disk, and none may append before all have read.
        for visible in rank.gather(_read_logs(folder, own, log.records, settings)):
            done |= {r.index: r for r in visible if r.index in wanted and r.error is None}
        share = rank.share([job for job in jobs if job.index not in done])
        made: list[VideoRecord] = []
        report(0, len(share))
        started = perf_counter()
        for record in evaluator.evaluate(share):
            log.append(record)
            made.append(record)
            report(len(made), len(share))
        spent = (sum(record.frames for record in made), perf_counter() - started)
    gathered = rank.gather((made, spent))
    records = list(done.values())
    for others, _ in gathered:
        records += others
    return RunResult(
        records=tuple(sorted(records, key=lambda record: record.index)),
        resumed=len(done),
        frames=sum(frames for _, (frames, _) in gathered),
        seconds=sum(seconds for _, (_, seconds) in gathered),
    )


def _read_logs(
    folder: Path, own: Path, own_records: list[VideoRecord], settings: Mapping[str, Any]
) -> list[VideoRecord]:
    records = list(own_records)
    for path in sorted(folder.glob("log.*.jsonl")):
        if path != own:
            records += read_log(path, settings)
    return records
