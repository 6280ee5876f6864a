"""Every family of the zoo: its steps equal its clips, or differ as the registry says."""

import pytest

from zoo.check import check_family, check_windowed
from zoo.family import Family
from zoo.registry import FAMILIES

# These take seconds each; others of their kinds run in every `make test`.
HEAVY = {
    "Lips, multi-scale TCN",
    "LipNet",
    "LipNet, one direction",
    "MoViNet, stream form on clips",
    "MViT",
    "S3D-G",
    "Sign language, BiLSTM",
    "Sign language, I3D and TCN",
    "TANet",
    "TimeSformer",
    "TransNet V2, histograms",
    "Video Swin",
    "ViViT",
    "I3D, logits in time",
    "EDVR",
}


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(f, id=f.name, marks=[pytest.mark.slow] if f.name in HEAVY else [])
        for f in FAMILIES
    ],
)
def test_steps_equal_clips(family: Family) -> None:
    check_family(family)


@pytest.mark.parametrize("family", [pytest.param(f, id=f.name) for f in FAMILIES if f.windowed])
def test_steps_over_the_newest_frames(family: Family) -> None:
    check_windowed(family)


def test_names_are_unique_and_families_many() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert len(names) >= 60
    assert set(names) >= HEAVY
