"""Operators without a step form are rerun on the newest clip, and listed."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from co3d.compiler import convert
from co3d.errors import ConversionError
from support.clip_functions import unfold
from support.networks import Apply, stem
from support.rule_networks import stem_after
from support.streaming import make_clips, randomise_, relative_error, run_steps, worst_error

SHAPE = (3, 8, 6, 6)


def attend_over_time(m: nn.Module, x: Tensor) -> Tensor:
    tokens = m.stem(x).mean((3, 4)).transpose(1, 2)
    mixed = (tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens
    return m.fc((tokens + mixed).mean(1))


def recur(m: nn.Module, x: Tensor) -> Tensor:
    states, _ = m.gru(m.stem(x).mean((3, 4)).transpose(1, 2))
    return m.fc(states[:, -1])


def normalise_folded(m: nn.Module, x: Tensor) -> Tensor:
    frames = m.stem(x).transpose(1, 2).flatten(0, 1)
    clip = unfold(torch.relu(frames), x)
    return m.fc(F.group_norm(clip, 2).mean((2, 3, 4)))


NETWORKS = {
    "attention over time": lambda: Apply(attend_over_time, stem=stem(), fc=nn.Linear(4, 5)),
    "a recurrent head, both ways": lambda: Apply(
        recur,
        stem=stem(),
        gru=nn.GRU(4, 2, batch_first=True, bidirectional=True),
        fc=nn.Linear(4, 5),
    ),
    "a position for every frame": lambda: Apply(
        lambda m, x: m.fc((m.deep(m.stem(x)) * torch.arange(8.0).view(8, 1, 1)).mean((2, 3, 4))),
        stem=stem(),
        deep=stem_after(3),
        fc=nn.Linear(4, 5),
    ),
    "statistics of the clip, frames folded before": lambda: Apply(
        normalise_folded, stem=stem(), fc=nn.Linear(4, 5)
    ),
    "two pathways, one mirrored": lambda: Apply(
        lambda m, x: m.fc(
            torch.cat([m.stem(x[:, :, ::4]).flip(2).mean((2, 3, 4)), m.stem(x).mean((2, 3, 4))], 1)
        ),
        stem=stem(),
        fc=nn.Linear(4 + 4, 5),
    ),
}


@pytest.mark.parametrize("rate", ["dense", "native"])
@pytest.mark.parametrize("name", NETWORKS)
def test_rerun_equals_clip_of_the_exported_length(name: str, rate: str) -> None:
    torch.manual_seed(0)
    model = randomise_(NETWORKS[name]()).double()
    with pytest.raises(ConversionError, match="fallback=True"):
        convert(model, SHAPE)
    program = convert(model, SHAPE, edges="both", fallback=True, rate=rate)  # type: ignore[arg-type]
    assert worst_error(model, program, [8, 8, 8]) <= 1e-10
    assert program.fallbacks
    assert "networks.py" in program.fallbacks[0]


def test_the_rerun_part_sees_the_newest_clip() -> None:
    """In the interior it sees the newest elements, whose context is real frames, not padding."""
    torch.manual_seed(0)
    model = randomise_(NETWORKS["attention over time"]()).double()
    program = convert(model, SHAPE, edges="none", fallback=True)
    (clip,) = make_clips([20], (3, 6, 6), torch.float64)
    (outputs,) = run_steps(program, [clip])
    with torch.inference_mode():
        features = model.stem(clip[None])
    head = Apply(attend_over_time, stem=nn.Identity(), fc=model.fc)
    for step in (12, 17):
        newest = step - program.delay
        with torch.inference_mode():
            window = head(features[:, :, newest - 7 : newest + 1])
        assert relative_error(outputs[step], window[0]) <= 1e-10


def test_the_fraction_of_recomputed_work_is_reported() -> None:
    model = NETWORKS["a position for every frame"]()
    program = convert(model, SHAPE, fallback=True)
    # The product with the positions and what follows it: the last layer, of 4 values to 5.
    assert program.recomputed_macs == 4 * 5
    assert "rerun on the newest clip" in program.explain()


def test_a_window_is_refused_with_a_rerun_part() -> None:
    with pytest.raises(ConversionError, match="leave window out"):
        convert(NETWORKS["a recurrent head, both ways"](), SHAPE, fallback=True, window=4)
