"""The log of an evaluation: one line per video, on disk before the next video begins."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from co3d.errors import DataError, OutputError
from co3d.evaluation.header import Header
from co3d.evaluation.records import VideoRecord
from co3d.files import make_folder, read_small, report_refusal

FORMAT, VERSION = "co3d evaluation log", 2
MOST_BYTES = 16 << 30
_SHOWN = 300
_PARSE_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


class PredictionLog:
    """Appends records to a JSONL file whose first line holds the settings that made them.

    Every line is flushed to disk, so that a killed run loses only the current video. A kill may
    leave an incomplete last line, which is cut off.

    Attributes:
        records: those that the file held when it was opened.

    Args:
        path: created if absent.
        settings: all that determines the predictions; a file made with other settings is refused.

    Raises:
        OptionError: the file belongs to a run with other settings.
        DataError: the file is not a log, or is broken before its last line.
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._path = path
        self.records = read_log(path, settings) if path.exists() else []
        make_folder(path.parent)
        with report_refusal(path):
            # Unbuffered, so that closing does not retry a write that a full disk refused.
            self._file = path.open("a+b", buffering=0)
            self._file.seek(0)
            whole = self._file.read().rfind(b"\n") + 1
            self._file.truncate(whole)
        if not whole:
            self._write(Header(FORMAT, VERSION, settings).encode())

    def append(self, record: VideoRecord) -> None:
        """Write one record, and wait until it is on disk.

        Raises:
            OutputError: it cannot be written, for instance on a full disk.
        """
        self._write(
            json.dumps(record.to_json(), ensure_ascii=False).encode(errors="backslashreplace")
            + b"\n"
        )

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

    def _write(self, line: bytes) -> None:
        with report_refusal(self._path, "make room, and run the same command again to go on"):
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())


def read_log(path: Path, settings: Mapping[str, Any]) -> list[VideoRecord]:
    """The records of a log, without an incomplete last line.

    Raises:
        OptionError, DataError: see `PredictionLog`. OutputError: it cannot be read.
    """
    try:
        data = read_small(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OutputError(f"cannot read {path}: {reason}; give another --output") from error
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    header = Header(FORMAT, VERSION, settings)
    # A kill may have left a part of the first line; anything else is another file.
    if lines or not header.encode().startswith(data):
        header.check((lines or [data])[0], path)
    return [_parse(path, number, line) for number, line in enumerate(lines[1:], 2)]


def _parse(path: Path, number: int, line: bytes) -> VideoRecord:
    try:
        return VideoRecord.from_json(json.loads(line))
    except _PARSE_ERRORS as error:
        reason = str(error)[:_SHOWN]
        raise DataError(
            f"cannot resume: line {number} of {path} is broken ({reason}); remove that line"
        ) from error
