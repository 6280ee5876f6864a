"""Progress bars: on standard error, and on a terminal only."""

from rich.progress import Progress, ProgressColumn

from co3d.console import Console


def open_progress(*columns: str | ProgressColumn, transient: bool = False) -> Progress:
    """A progress display with these columns, to be used in a `with` block.

    Args:
        columns: of each task's row.
        transient: remove the bars at the end.
    """
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=transient)
