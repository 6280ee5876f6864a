"""Output on a terminal, with control codes in foreign text escaped and secrets removed."""

import sys
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from co3d.printable import make_printable


class Console(RichConsole):
    """Rich's console, which escapes control characters in names, labels and keys."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """See `rich.console.Console`, whose own control codes are separate segments."""
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
    from co3d.video.address import hide_password  # `--help` does not load PyAV

    return " ".join(hide_password(word) for word in text.split(" "))
