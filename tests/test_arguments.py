"""Arguments that are told by their methods."""

from typing import Protocol

import pytest

from co3d.arguments import check_arguments
from co3d.errors import OptionError


class Listener(Protocol):
    name: str

    def hear(self, text: str) -> None: ...

    def _whisper(self) -> None: ...


class Ear:
    def hear(self, text: str) -> None:
        self.heard = text


@check_arguments(listener="give what hears")
def tell(listener: Listener | None = None) -> None:
    if listener is not None:
        listener.hear("a")


def test_an_object_with_the_methods_of_a_protocol_is_accepted() -> None:
    ear = Ear()
    tell(ear)  # type: ignore[arg-type]
    tell(None)
    assert ear.heard == "a"
    with pytest.raises(OptionError, match="expected Listener or None; give what hears"):
        tell(3)  # type: ignore[arg-type]
