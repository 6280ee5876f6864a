"""One small network per rule: steps + flush equal the clip network, for odd and ragged lengths."""

import pytest
import torch

from co3d.compiler import convert
from support.rule_networks import FRAMEWISE, HEADS, LAST, LENGTHS, SHAPE, two_pathways
from support.streaming import make_clips, randomise_, relative_error, run_steps, worst_error


# torch says so of every even kernel with padding="same"; that case is here on purpose.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("name", FRAMEWISE)
def test_a_per_frame_network_equals_the_clip(name: str) -> None:
    torch.manual_seed(0)
    model = randomise_(FRAMEWISE[name]()).double()
    program = convert(model, SHAPE, edges="both")
    assert worst_error(model, program, LENGTHS, time_axis=1) <= 1e-10
    if program.temporal_stride > 1:
        for spread in (False, True):
            program = convert(model, SHAPE, edges="both", rate="native", spread=spread)
            assert worst_error(model, program, LENGTHS, time_axis=1) <= 1e-10


@pytest.mark.parametrize("name", HEADS)
def test_a_head_equals_the_clip(name: str) -> None:
    torch.manual_seed(0)
    model = randomise_(HEADS[name]()).double()
    program = convert(model, SHAPE, edges="both", window=12)
    assert worst_error(model, program, LENGTHS) <= 1e-10


@pytest.mark.parametrize("name", LAST)
def test_a_last_element_equals_the_clip(name: str) -> None:
    torch.manual_seed(0)
    model = randomise_(LAST[name]()).double()
    program = convert(model, SHAPE, edges="both")
    assert program.window is None
    assert worst_error(model, program, LENGTHS) <= 1e-10


@pytest.mark.parametrize("spread", [False, True])
def test_pathways_of_two_rates_equal_the_clip(spread: bool) -> None:
    torch.manual_seed(0)
    model = randomise_(two_pathways()).double()
    dense = convert(model, SHAPE, edges="both", window=3)
    assert dense.temporal_stride == 4
    assert worst_error(model, dense, [8, 4, 12]) <= 1e-10
    native = convert(model, SHAPE, edges="both", window=3, rate="native", spread=spread)
    assert worst_error(model, native, [8, 4, 12]) <= 1e-10
    assert native.state_bytes < dense.state_bytes
    assert native.macs_per_frame < dense.macs_per_frame


def test_pathways_of_two_rates_slide_by_one_frame() -> None:
    """In the interior every step equals the clip network on the frames so far."""
    torch.manual_seed(0)
    model = randomise_(two_pathways()).double()
    program = convert(model, (3, 8, 6, 6), edges="none")
    (clip,) = make_clips([64], (3, 6, 6), torch.float64)
    (outputs,) = run_steps(program, [clip])
    # The pools of a long clip, restricted to the window: what the network computes inside it.
    for step in (50, 55, 61):
        newest = step - program.delay
        first = newest % 4
        shifted = clip[None, :, first:]
        with torch.inference_mode():
            fast = model.fast(shifted)
            slow = model.fuse(torch.cat([model.slow(shifted[:, :, ::4]), model.lateral(fast)], 1))
            deep = model.deep(fast)
            last_slow = (newest - first) // 4
            last_fast = newest - first + 3
            pooled = torch.cat(
                [
                    slow[:, :, last_slow - 1 : last_slow + 1].mean((2, 3, 4)),
                    deep[:, :, last_fast - 7 : last_fast + 1].mean((2, 3, 4)),
                ],
                1,
            )
            expected = model.fc(pooled)[0]
        assert relative_error(outputs[step], expected) <= 1e-10
