"""Networks as the packages that people install build them: steps equal clips.

`make test-slow` installs the packages, in a folder of their own beside the environment's.
"""

import pytest

from zoo.check import check_family
from zoo.family import Family
from zoo.installed import INSTALLED

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", [pytest.param(f, id=f.name) for f in INSTALLED])
def test_network_as_installed_equals_its_clips(family: Family) -> None:
    check_family(family)
