"""Predictions as tables: Parquet where pyarrow is installed, else JSONL."""

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from co3d.evaluation.frame_scores import FrameScores
from co3d.evaluation.records import VideoRecord
from co3d.files import output_file
from co3d.packages import is_installed, require_package

ROWS_AT_ONCE = 1000
VIDEO_COLUMNS = {"video_id": "string", "labels": "int32[]", "error": "string", "frames": "int32"}
STEP_COLUMNS = {
    "video_id": "string",
    "step": "int32",
    "pts_seconds": "float64",
    "valid": "bool_",
    "label": "int32",
    "confidence": "float32",
}


def write_predictions(
    records: Sequence[VideoRecord], folder: Path, frame_scores: FrameScores | None = None
) -> list[Path]:
    """Write `predictions` (a row per video) and, for streams, `frames` (a row per step).

    A row of predictions has video_id, labels, error, frames and a list of K probabilities per
    prediction; a row of frames has video_id, step, pts_seconds, valid, label, confidence and, if
    they are kept, a list of K probabilities.

    Returns:
        The files.

    Raises:
        OutputError: a file cannot be written. DataError: kept probabilities cannot be read.
    """
    names = list(dict.fromkeys(name for record in records for name in record.scores))
    columns = VIDEO_COLUMNS | dict.fromkeys(names, "float32[]")
    rows = (_describe_video(record, names) for record in records)
    written = [write_table(rows, columns, folder / "predictions")]
    if any(record.trace is not None for record in records):
        steps = (step for record in records for step in _describe_steps(record, frame_scores))
        more = {} if frame_scores is None else {"scores": "float32[]"}
        written.append(write_table(steps, STEP_COLUMNS | more, folder / "frames"))
    return written


def write_table(rows: Iterable[dict[str, Any]], columns: Mapping[str, str], path: Path) -> Path:
    """Write rows to `path` with its suffix added: .parquet or .jsonl.

    Args:
        columns: name -> pyarrow's name of a type, with [] for a list of it.
    """
    if is_installed("pyarrow"):
        return _write_parquet(rows, columns, path.with_name(path.name + ".parquet"))
    target = path.with_name(path.name + ".jsonl")
    with (
        output_file(target) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return target


def _write_parquet(rows: Iterable[dict[str, Any]], columns: Mapping[str, str], path: Path) -> Path:
    arrow = require_package("pyarrow", extra="evaluation")
    parquet = importlib.import_module("pyarrow.parquet")

    def find_type(name: str) -> Any:
        kind = getattr(arrow, name.removesuffix("[]"))()
        return arrow.list_(kind) if name.endswith("[]") else kind

    schema = arrow.schema([(name, find_type(kind)) for name, kind in columns.items()])
    waiting = iter(rows)
    with output_file(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        while batch := list(islice(waiting, ROWS_AT_ONCE)):
            writer.write_table(arrow.Table.from_pylist(batch, schema=schema))
    return path


def _describe_video(record: VideoRecord, names: Sequence[str]) -> dict[str, Any]:
    return {
        "video_id": record.video_id,
        "labels": list(record.labels),
        "error": record.error,
        "frames": record.frames,
        **{name: record.scores[name].tolist() if record.scores else None for name in names},
    }


def _describe_steps(
    record: VideoRecord, frame_scores: FrameScores | None
) -> Iterator[dict[str, Any]]:
    if record.trace is None:
        return
    trace = record.trace
    scores = None if frame_scores is None else frame_scores.read(record.index, record.frames)
    rows = zip(trace.pts_seconds, trace.labels, trace.confidences, strict=True)
    for step, (pts_seconds, label, confidence) in enumerate(rows):
        yield {
            "video_id": record.video_id,
            "step": step,
            "pts_seconds": pts_seconds,
            "valid": step >= trace.first_valid,
            "label": label,
            "confidence": confidence,
            **({} if scores is None else {"scores": scores[step].tolist()}),
        }
