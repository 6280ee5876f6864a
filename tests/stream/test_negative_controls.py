"""Mutations that the parity tests must notice; a parity test that passes them proves nothing."""

import pytest
import torch

from co3d.stream import convert
from co3d.stream.rules import conv, global_pool, pointwise, pool
from co3d.stream.rules.registry import Use
from support.networks import small_network
from support.streaming import randomise_, without_masks, worst_error

SHAPE = (3, 8, 6, 6)
CAUGHT = 1e-3  # parity asks for 1e-10


def _error(masks: bool = True) -> float:
    torch.manual_seed(0)
    model = randomise_(small_network()).double()
    program = convert(model, SHAPE, edges="both")
    return worst_error(model, program if masks else without_masks(program), [8])


def test_unmutated_passes() -> None:
    assert _error() <= 1e-10


def test_masks_removed_is_caught() -> None:
    assert _error(masks=False) > CAUGHT


def test_reversed_taps_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = conv.temporal_uses
    monkeypatch.setattr(conv, "temporal_uses", lambda *a, **k: list(reversed(original(*a, **k))))
    assert _error() > CAUGHT


def test_dropped_delay_lines_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointwise, "Use", lambda node, back: Use(node, 0))
    assert _error() > CAUGHT


def test_delay_off_by_one_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointwise, "Use", lambda node, back: Use(node, back + 1 if back else 0))
    assert _error() > CAUGHT


def test_short_window_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def shorter(node: torch.fx.Node, back: int = 0, fill: float | None = None) -> Use:
        return Use(node, max(back - 1, 0), fill)

    monkeypatch.setattr(global_pool, "Use", shorter)
    assert _error() > CAUGHT


def test_zero_padding_instead_of_infinity_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Sequential(
        # Not over space: the maximum of nine signed values hides a zero.
        torch.nn.Conv3d(3, 4, 3, padding=1),
        torch.nn.MaxPool3d((3, 1, 1), 1, (1, 0, 0)),
    ).double()
    program = convert(model, SHAPE, edges="both")
    assert worst_error(model, program, [8], time_axis=1) <= 1e-10
    original = pool.temporal_uses

    def filled_with_zero(*args: object, **kwargs: object) -> list[Use]:
        uses = original(*args, **kwargs)  # type: ignore[arg-type]
        return [Use(u.node, u.back, 0.0 if u.fill == float("-inf") else u.fill) for u in uses]

    monkeypatch.setattr(pool, "temporal_uses", filled_with_zero)
    program = convert(model, SHAPE, edges="both")
    assert worst_error(model, program, [8], time_axis=1) > CAUGHT
