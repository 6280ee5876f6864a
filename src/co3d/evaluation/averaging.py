"""The mean of several evaluations, such as of the three divisions of UCF101."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from co3d.errors import DataError
from co3d.files import read_small

SUMMARY = "summary.json"
MOST_BYTES = 1 << 30
# What a division may have of its own: its videos, and the network that was trained for it.
_OWN = frozenset({"split", "model", "weights", "weights_sha256", "data_sha256"})


@dataclass(frozen=True)
class Average:
    """Measures of several evaluations, and their means.

    Attributes:
        splits: judged by each.
        videos: judged by each.
        values: (prediction, measure) -> its value in each, as a share.
    """

    splits: tuple[str | None, ...]
    videos: tuple[int, ...]
    values: dict[tuple[str, str], tuple[float, ...]]

    def mean(self, prediction: str, measure: str) -> float:
        """The mean of a measure, in which all evaluations count alike."""
        return fmean(self.values[prediction, measure])


def average_evaluations(folders: Sequence[Path]) -> Average:
    """Read what `co3d eval` left in folders; all must have been made in the same way.

    Args:
        folders: two or more. Models, weights and splits may differ.

    Raises:
        DataError: a folder has no summary, was made by other settings, or is the same evaluation as
            another one.
    """
    if len(folders) < 2:
        raise DataError(f"cannot average {len(folders)} evaluation: name two folders or more")
    summaries = [_read(folder) for folder in folders]
    first = summaries[0]
    for folder, summary in zip(folders[1:], summaries[1:], strict=True):
        _check_alike(folders[0], first["settings"], folder, summary["settings"])
    seen: dict[tuple[str, ...], Path] = {}
    for folder, summary in zip(folders, summaries, strict=True):
        key = tuple(str(summary["settings"][k]) for k in ("weights_sha256", "data_sha256"))
        if key in seen:
            raise DataError(
                f"cannot average {seen[key]} and {folder}: they are the same network on the same "
                "videos; name each once"
            )
        seen[key] = folder
    values = {
        (prediction, measure): tuple(one["measures"][prediction][measure] for one in summaries)
        for prediction, measures in first["measures"].items()
        for measure in measures
        if all(_is_number(one["measures"][prediction].get(measure)) for one in summaries)
    }
    return Average(
        tuple(one["settings"]["split"] for one in summaries),
        tuple(one["videos"]["judged"] for one in summaries),
        values,
    )


def _read(folder: Path) -> dict[str, Any]:
    path = folder / SUMMARY
    try:
        summary = json.loads(read_small(path, MOST_BYTES))
        sections = [summary[key] for key in ("settings", "measures", "videos")]
        if not all(isinstance(section, dict) and section for section in sections):
            raise ValueError("it has no measures")
        for key in ("split", "weights_sha256", "data_sha256"):
            sections[0][key]
        sections[2]["judged"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(
            f"cannot read {path}: {error}; name the output folder of a `co3d eval` that is done"
        ) from error
    return summary


def _check_alike(one: Path, settings: dict[str, Any], other: Path, others: dict[str, Any]) -> None:
    for key in sorted({*settings, *others} - _OWN):
        if settings.get(key) != others.get(key):
            raise DataError(
                f"cannot average {one} and {other}: {key} is {settings.get(key)!r} and "
                f"{others.get(key)!r}, expected equal settings; evaluate all in the same way"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
