"""Bars of how far a comparison is."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from co3d.parity.verify import Report
from co3d.progress import open_progress


@contextmanager
def show_steps() -> Iterator[Report]:
    """Bars of what is being done: yields a function of its name, the steps taken and to take."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with open_progress(*columns) as display:
        tasks = {"converting": display.add_task("converting", total=1)}

        def report(what: str, done: int, total: int) -> None:
            display.update(tasks["converting"], completed=1)
            if what not in tasks:
                tasks[what] = display.add_task(what)
            display.update(tasks[what], completed=done, total=total)

        yield report
