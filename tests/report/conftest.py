import dataclasses

import pytest

from co3d.engine import Labeller, open_labeller
from support.predictions import LABELS


@pytest.fixture(scope="session")
def labeller() -> Labeller:
    """A labeller whose labels are those of `support.predictions`."""
    return dataclasses.replace(open_labeller(weights="random"), labels=LABELS)
