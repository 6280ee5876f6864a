"""`co3d average`: the mean of several evaluations."""

from collections.abc import Sequence
from pathlib import Path
from statistics import stdev

from co3d.cli.exit_codes import SUCCESS
from co3d.console import say
from co3d.evaluation.averaging import Average, average_evaluations
from co3d.printable import dump_json


def print_average(folders: Sequence[Path], *, as_json: bool) -> int:
    """Print the mean of each measure, and the values that it is of; returns the exit code.

    Raises:
        DataError: as for `average_evaluations`.
    """
    average = average_evaluations(folders)
    if as_json:
        say(dump_json(_describe(average, folders)))
        return SUCCESS
    names = [split or folder.name for split, folder in zip(average.splits, folders, strict=True)]
    say(f"| prediction | measure | mean % | deviation | {' | '.join(names)} |")
    say(f"|---|---|---:|---:|{'---:|' * len(names)}")
    for (prediction, measure), values in average.values.items():
        shown = " | ".join(f"{100 * value:.2f}" for value in values)
        mean, deviation = 100 * average.mean(prediction, measure), 100 * stdev(values)
        say(f"| {prediction} | {measure} | {mean:.2f} | {deviation:.2f} | {shown} |")
    return SUCCESS


def _describe(average: Average, folders: Sequence[Path]) -> dict[str, object]:
    measures: dict[str, dict[str, object]] = {}
    for (prediction, measure), values in average.values.items():
        described = {"mean": average.mean(prediction, measure), "values": values}
        measures.setdefault(prediction, {})[measure] = described
    return {
        "folders": [str(folder) for folder in folders],
        "splits": average.splits,
        "videos": average.videos,
        "measures": measures,
    }
