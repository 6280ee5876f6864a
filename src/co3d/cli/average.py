"""`co3d average`: the mean of several evaluations."""

from collections.abc import Sequence
from pathlib import Path
from statistics import stdev

from co3d.cli.columns import open_table
from co3d.cli.exit_codes import SUCCESS
from co3d.console import Console, say
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
    table = open_table(("prediction", "measure", "mean %", "deviation", *names), texts=2)
    for (prediction, measure), values in average.values.items():
        figures = average.mean(prediction, measure), stdev(values), *values
        shown = [f"{100 * figure:.2f}" for figure in figures]
        table.add_row(prediction, measure, *shown)
    Console().print(table)
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
