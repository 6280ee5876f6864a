"""The log of an evaluation: a line a video, on the disk before the next video begins."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from co3d.errors import DataError, OptionError, OutputError
from co3d.evaluation.records import VideoRecord

FORMAT, VERSION = "co3d evaluation log", 2


class PredictionLog:
    """Appends records to a JSONL file, whose first line says how they were made.

    Every line is flushed to the disk, so that a killed run loses the video at hand and no other. A
    last line without its end is what such a kill leaves: it is cut off.

    Attributes:
        records: those that the file held when it was opened.

    Args:
        path: made where there is none.
        settings: what determines the predictions; a file made with others is refused.

    Raises:
        OptionError: the file belongs to a run with other settings.
        DataError: the file is no log, or broken before its last line.
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._path = path
        self.records = read_log(path, settings) if path.exists() else []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
            self._file.seek(0)
            whole = self._file.read().rfind(b"\n") + 1
            self._file.truncate(whole)
        except OSError as error:
            raise OutputError(
                f"cannot write {path}: {error.strerror}; choose a folder that can be written"
            ) from error
        if not whole:
            self._write(_make_header(settings))

    def append(self, record: VideoRecord) -> None:
        """Write one record, and wait until it is on the disk.

        Raises:
            OutputError: the disk is full, say.
        """
        self._write(record.to_json())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "PredictionLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, values: Mapping[str, Any]) -> None:
        try:
            self._file.write(_encode(values))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(
                f"cannot write {self._path}: {error.strerror}; make room, and run the same command "
                "again to go on"
            ) from error


def read_log(path: Path, settings: Mapping[str, Any]) -> list[VideoRecord]:
    """The records of a log, without a last line that has no end.

    Raises:
        OptionError, DataError: see `PredictionLog`. OutputError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror}; give another --output") from error
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    header = _make_header(settings)
    # A kill may have left the beginning of the first line; anything else is somebody's file.
    if lines or not _encode(header).startswith(data):
        _check_header(path, (lines or [data])[0], header)
    return [_parse(path, number, line) for number, line in enumerate(lines[1:], 2)]


def _encode(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False).encode() + b"\n"


def _make_header(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, "settings": dict(settings)}


def _check_header(path: Path, line: bytes, expected: dict[str, Any]) -> None:
    try:
        header = json.loads(line)
        found = (header["format"], header["version"])
        settings = header["settings"]
    except (ValueError, KeyError, TypeError):
        found, settings = None, {}
    if found != (FORMAT, VERSION) or not isinstance(settings, dict):
        raise DataError(
            f"cannot resume: {path} is no log of this version of co3d; choose another folder"
        )
    # Through JSON and back, as the file's own were.
    wanted = json.loads(json.dumps(expected["settings"]))
    names = [name for name in wanted | settings if wanted.get(name, ...) != settings.get(name, ...)]
    if names:
        changes = ", ".join(f"{n} {settings.get(n)!r}, now {wanted.get(n)!r}" for n in names)
        raise OptionError(
            f"cannot resume: {path} holds another run ({changes}); give another --output, or "
            "remove that folder"
        )


def _parse(path: Path, number: int, line: bytes) -> VideoRecord:
    try:
        return VideoRecord.from_json(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"cannot resume: line {number} of {path} is broken ({error}); remove that line"
        ) from error
