"""Predictions as tables: Parquet where pyarrow is installed, else JSONL."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from co3d.backends.packages import is_installed, require_package
from co3d.evaluation.records import VideoRecord
from co3d.report import output_file


def write_predictions(records: Sequence[VideoRecord], folder: Path) -> list[Path]:
    """Write `predictions` (a row a video) and, of streams, `frames` (a row a step).

    A row of predictions has video_id, labels, error, frames and a list of K probabilities per
    prediction; a row of frames has video_id, step, pts_seconds, valid, label and confidence.

    Returns:
        The files.

    Raises:
        OutputError: a file cannot be written.
    """
    names = list(dict.fromkeys(name for record in records for name in record.scores))
    rows = [_describe_video(record, names) for record in records]
    written = [write_table(rows, folder / "predictions")]
    steps = [step for record in records for step in _describe_steps(record)]
    if steps:
        written.append(write_table(steps, folder / "frames"))
    return written


def write_table(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Write rows of the same fields to `path` with its suffix added: .parquet or .jsonl."""
    if is_installed("pyarrow"):
        target = path.with_name(path.name + ".parquet")
        parquet = require_package("pyarrow.parquet", extra="evaluation")
        table = require_package("pyarrow", extra="evaluation").Table.from_pylist(list(rows))
        with output_file(target) as temporary:
            parquet.write_table(table, temporary)
        return target
    target = path.with_name(path.name + ".jsonl")
    with output_file(target) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return target


def _describe_video(record: VideoRecord, names: Sequence[str]) -> dict[str, Any]:
    return {
        "video_id": record.video_id,
        "labels": list(record.labels),
        "error": record.error,
        "frames": record.frames,
        **{name: list(record.scores[name]) if record.scores else None for name in names},
    }


def _describe_steps(record: VideoRecord) -> Iterator[dict[str, Any]]:
    if record.trace is None:
        return
    trace = record.trace
    rows = zip(trace.pts_seconds, trace.labels, trace.confidences, strict=True)
    for step, (pts_seconds, label, confidence) in enumerate(rows):
        yield {
            "video_id": record.video_id,
            "step": step,
            "pts_seconds": pts_seconds,
            "valid": step >= trace.first_valid,
            "label": label,
            "confidence": confidence,
        }
