"""The registered networks, as parameters of tests."""

import pytest

from co3d.models import list_models

# The longer, deeper or plainer twins of networks that the quick tests have.
TWINS = {"x3d_s", "x3d_m", "x3d_l", "slowfast_r50_4x16", "slow_r50"}
# Every one, once: twins in the slow tests.
MODELS = [
    pytest.param(name, marks=[pytest.mark.slow] if name in TWINS else []) for name in list_models()
]
