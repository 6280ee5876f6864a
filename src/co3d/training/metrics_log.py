"""The metrics of a run as a CSV file, which a resumed run continues."""

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

from co3d.errors import TrainingError
from co3d.files import output_file

Row = dict[str, float]
_MOST_BYTES, _MOST_COLUMNS, _MOST_STEPS = 64 << 20, 1000, 1 << 48


def read_metrics(path: Path) -> list[Row]:
    """Rows of a metrics file; a row has only the metrics logged at its step.

    Raises:
        TrainingError: it is truncated, or not a metrics file.
    """
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it is no file, or one of over {_MOST_BYTES} bytes")
        return _parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, csv.Error) as error:
        reason = str(error)[:200]
        raise TrainingError(
            f"cannot read {path}: {reason}; remove the file to go on without the metrics so far"
        ) from error


def _parse(text: str) -> list[Row]:
    if not text.endswith("\n"):
        raise ValueError("its last line is cut")
    rows = csv.reader(text.splitlines(), strict=True)
    columns = next(rows, [])
    if "step" not in columns or len(columns) > _MOST_COLUMNS:
        raise ValueError(f"it begins with {str(columns)[:100]}, expected names of metrics")
    parsed = []
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"line {rows.line_num} has {len(row)} values, not {len(columns)}")
        values = {key: float(value) for key, value in zip(columns, row, strict=True) if value}
        if not 0 <= values.get("step", -1) < _MOST_STEPS:
            raise ValueError(f"line {rows.line_num} is of no step")
        parsed.append(values)
    return parsed


class MetricsLog(Logger):
    """Writes `metrics.csv`: a row per step, a column per metric; rewritten at every save.

    Args:
        path: the file. When a run is resumed, rows up to `resumed_step` are kept.
    """

    def __init__(self, path: Path, resumed_step: int | None = None) -> None:
        super().__init__()
        self._path = path
        self._rows: dict[int, Row] = {}
        if resumed_step is not None and path.exists():
            self._rows = {
                int(row["step"]): row for row in read_metrics(path) if row["step"] < resumed_step
            }

    @property
    def name(self) -> str:
        """The name that distinguishes this log from Lightning's others."""
        return "metrics"

    @property
    def version(self) -> str:
        """There is one."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add the metrics of a step."""
        row = self._rows.setdefault(step or 0, {"step": step or 0})
        row.update(metrics)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Do nothing: the recipe is in a file of its own."""

    @rank_zero_only
    def save(self) -> None:
        """Write all rows, completely or not at all."""
        rows = [self._rows[step] for step in sorted(self._rows)]
        columns = dict.fromkeys(["epoch", "step", *(key for row in rows for key in sorted(row))])
        with output_file(self._path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(columns), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the remaining rows."""
        del status
        self.save()
