"""What people read on a terminal: nothing in it is obeyed, and no secret stands in it."""

import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from co3d.printable import make_printable


class Console(RichConsole):
    """Rich's console; what a terminal would obey in names, labels and keys is spelled out."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """See `rich.console.Console`; its own control codes are segments of their own."""
        for segment in super().render(renderable, options):
            shown = segment.text if segment.control else make_printable(segment.text)
            yield segment._replace(text=shown)


def say(text: str, file: TextIO | None = None) -> None:
    """Print text at once as `Console` would, without colours; None takes standard output."""
    print(make_printable(text), file=file or sys.stdout, flush=True)


def warn(text: str) -> None:
    """Print text on standard error, without the secrets of the addresses in it."""
    say(hide_secrets(text), sys.stderr)


def hide_secrets(text: str) -> str:
    """Text without the secrets of the addresses in it."""
    from co3d.video.address import hide_password  # not before: `--help` waits for no decoder

    return " ".join(hide_password(word) for word in text.split(" "))
