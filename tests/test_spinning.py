"""The environment that decides how long OpenMP's threads spin."""

import os
import subprocess
import sys

import pytest

from co3d.spinning import SPINS

SAY = "import os; print(os.environ.get('GOMP_SPINCOUNT'))"


@pytest.mark.parametrize(
    ("before", "given", "expected"),
    [
        ("import co3d", {}, str(SPINS)),
        ("import co3d", {"GOMP_SPINCOUNT": "7"}, "7"),
        ("import co3d", {"OMP_WAIT_POLICY": "active"}, "None"),
        ("import sys; sys.modules['torch'] = sys; import co3d", {}, "None"),
    ],
)
def test_spinning_is_bounded_where_it_still_can_be(
    before: str, given: dict[str, str], expected: str
) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", f"{before}; {SAY}"]
    said = subprocess.run(command, env=kept | given, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == expected
