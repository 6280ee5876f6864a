"""Progress bars of a comparison."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from co3d.parity.verify import ProgressCallback
from co3d.progress import open_progress


@contextmanager
def show_steps() -> Iterator[ProgressCallback]:
    """Progress bars; yields a function to call with a name, the steps done and all steps."""
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
