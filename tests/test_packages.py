"""How to get an optional package, said for the way in which co3d itself is installed."""

import pytest

from co3d import packages
from co3d.errors import MissingPackageError
from co3d.packages import require_package


def test_an_installed_co3d_takes_its_extras_by_name() -> None:
    with pytest.raises(MissingPackageError, match=r"get it with: pip install 'co3d\[watch\]'$"):
        require_package("no_such_package", extra="watch")


def test_pip_is_not_sent_to_an_index_for_a_co3d_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It might find another project of this name there."""
    monkeypatch.setattr(packages, "find_version", lambda _: None)
    with pytest.raises(MissingPackageError, match=r"pip install '\.\[watch\]' in the folder of"):
        require_package("no_such_package", extra="watch")
