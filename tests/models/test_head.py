"""What a head does with a map larger than its window."""

import pytest
import torch

from co3d.models.head import SlidingHead, pool_positions


def head(join: str) -> SlidingHead:
    torch.manual_seed(0)
    head = SlidingHead(6, pool_side=2, num_classes=5, dropout=0.5, join=join).eval()
    torch.nn.init.normal_(head.classifier.weight)
    return head


def positions(model: SlidingHead, *maps: torch.Tensor) -> list[torch.Tensor]:
    """The output for each 2×2 window of 3×4 maps by itself."""
    return [
        model(*(x[..., y : y + 2, i : i + 2] for x in maps)) for y in range(2) for i in range(3)
    ]


def test_the_pool_covers_a_window_in_space_and_all_frames() -> None:
    x = torch.randn(2, 6, 5, 3, 4)
    pooled = pool_positions(x, 2)
    assert pooled.shape == (2, 6, 1, 2, 3)
    torch.testing.assert_close(pooled[:, :, 0, 1, 2], x[..., 1:3, 2:4].mean((2, 3, 4)))


def test_the_window_is_clamped_to_the_map() -> None:
    x = torch.randn(2, 6, 5, 1, 4)
    torch.testing.assert_close(pool_positions(x, 7)[..., 0, 0], x.mean((2, 3, 4))[..., None])


@pytest.mark.parametrize("join", ["probabilities", "logits"])
def test_a_single_position_gives_its_own_logits(join: str) -> None:
    model, x = head(join), torch.randn(3, 6, 4, 2, 2)
    with torch.no_grad():
        torch.testing.assert_close(model(x), model.classifier(x.mean((2, 3, 4))))


def test_several_positions_give_the_mean_of_the_probabilities() -> None:
    model, x = head("probabilities"), torch.randn(3, 6, 4, 3, 4)
    with torch.no_grad():
        expected = torch.stack([y.softmax(-1) for y in positions(model, x)]).mean(0)
        torch.testing.assert_close(model(x).softmax(-1), expected)
        torch.testing.assert_close(model(x).exp(), expected)


def test_several_positions_give_the_mean_of_the_logits() -> None:
    model, x = head("logits"), torch.randn(3, 6, 4, 3, 4)
    with torch.no_grad():
        torch.testing.assert_close(model(x), torch.stack(positions(model, x)).mean(0))


def test_pathways_of_different_lengths_are_joined_in_order() -> None:
    model = head("probabilities")
    slow, fast = torch.randn(2, 4, 3, 2, 2), torch.randn(2, 2, 7, 2, 2)
    pooled = torch.cat((slow.mean((2, 3, 4)), fast.mean((2, 3, 4))), 1)
    with torch.no_grad():
        torch.testing.assert_close(model(slow, fast), model.classifier(pooled))
