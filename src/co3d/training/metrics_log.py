"""The metrics of a run as a CSV file, which a resumed run continues."""

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

from co3d.files import output_file

Row = dict[str, float]


def read_metrics(path: Path) -> list[Row]:
    """Rows of a metrics file; a row has only what was logged at its step."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: float(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


class MetricsLog(Logger):
    """Writes `metrics.csv`: a row a step, a column a metric, the whole file anew at every save.

    Args:
        path: the file. Of a run that is resumed, the rows up to `resumed_step` are kept.
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
        """Of the log among others."""
        return "metrics"

    @property
    def version(self) -> str:
        """There is one."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Take in what was measured at a step."""
        row = self._rows.setdefault(step or 0, {"step": step or 0})
        row.update(metrics)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """The recipe stands in a file of its own."""

    @rank_zero_only
    def save(self) -> None:
        """Write all rows, whole or not at all."""
        rows = [self._rows[step] for step in sorted(self._rows)]
        columns = dict.fromkeys(["epoch", "step", *(key for row in rows for key in sorted(row))])
        with output_file(self._path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(columns), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left."""
        del status
        self.save()
