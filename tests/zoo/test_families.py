"""Every family of the zoo: its steps equal its clips, or differ as the registry says."""

import pytest

from zoo.check import check_family, check_windowed
from zoo.family import Family
from zoo.registry import FAMILIES


@pytest.mark.parametrize("family", [pytest.param(f, id=f.name) for f in FAMILIES])
def test_steps_equal_clips(family: Family) -> None:
    check_family(family)


@pytest.mark.parametrize("family", [pytest.param(f, id=f.name) for f in FAMILIES if f.windowed])
def test_steps_over_the_newest_frames(family: Family) -> None:
    check_windowed(family)


def test_names_are_unique_and_families_many() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert len(names) >= 60
