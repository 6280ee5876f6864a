"""Tables of figures: columns of text on the left, figures to their right."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text


def open_table(titles: Sequence[str], texts: int = 1) -> Table:
    """A table without lines and rows.

    Args:
        titles: of its columns.
        texts: how many of the first columns hold text; the others hold figures.
    """
    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(titles):
        table.add_column(Text(title), justify="left" if number < texts else "right")
    return table
