"""Untrusted graphs: intermediate memory of operators, and arguments that these do not check."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensorMode

from co3d.errors import ExportedFileError
from co3d.export.measuring import MeasuringInterpreter

ATEN = torch.ops.aten
LIMIT = 1 << 20


def measure(step: Callable[[Tensor], object], *shape: int, dtype: torch.dtype) -> None:
    graph = fx.symbolic_trace(step)
    with FakeTensorMode():
        given = torch.empty(shape, dtype=dtype)
        MeasuringInterpreter(graph, "a.safetensors", LIMIT).run(given)


def _expand(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.view(100, 1, 1, 100), x.view(1, 100, 100, 1)


def _attend(x: Tensor) -> Tensor:
    given = x.view(1, 1, 2500, 4)
    return ATEN.scaled_dot_product_attention(given, given, given, x[:1], 0.5)


BOMBS: dict[str, Callable[[Tensor], object]] = {
    "matmul": lambda x: ATEN.matmul(*_expand(x)),
    "einsum": lambda x: ATEN.einsum("a,b,ac,bc->", [x, x, x.view(-1, 1), x.view(-1, 1)]),
    "cosine_similarity": lambda x: ATEN.cosine_similarity(x.view(100, 1, 100), x.view(1, 100, 100)),
    "attention": _attend,
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("has_gradients", [True, False])
def test_large_intermediate_values_are_refused(bomb: str, has_gradients: bool) -> None:
    with (
        torch.inference_mode(not has_gradients),
        pytest.raises(ExportedFileError, match=r"takes \d+ bytes, expected at most 1048576"),
    ):
        measure(BOMBS[bomb], 10_000, dtype=torch.float32)


@pytest.mark.parametrize(
    "split",
    [
        lambda x: ATEN.tensor_split(x, 300_000_000),
        lambda x: ATEN.split(x, 1),
        lambda x: ATEN.unbind(x),
        lambda x: ATEN.chunk(x, 1 << 40),
    ],
)
def test_splits_into_millions_of_values_are_refused(split: Callable[[Tensor], object]) -> None:
    with pytest.raises(ValueError, match="over 16384 calls or results"):
        measure(split, 200_000, dtype=torch.int8)


@pytest.mark.parametrize(
    "divide",
    [
        lambda x: ATEN.div(x, x, rounding_mode="trunc"),
        lambda x: ATEN.div(x, -1, rounding_mode="trunc"),
        lambda x: ATEN.div(x, 0, rounding_mode="trunc"),
        lambda x: torch.div(x, x, rounding_mode="trunc"),
    ],
)
def test_integer_divisions_that_trap_are_refused(
    divide: Callable[[Tensor], Tensor],
) -> None:
    """Such as the smallest integer by -1."""
    with pytest.raises(ValueError, match="what may be 0 or -1"):
        measure(divide, 9, dtype=torch.int64)


@pytest.mark.parametrize(
    "norm",
    [
        lambda x: ATEN._native_batch_norm_legit_no_training(x, None, None, x, x, 0.1, 1e-5),
        lambda x: ATEN.native_group_norm(x, None, None, 1, 1 << 20, 64, 4, 1e-5),
        lambda x: ATEN.native_group_norm(x, None, None, 2, 4, 3, 0, 1e-5),
        lambda x: ATEN.native_group_norm(x, x, x, 2, 4, 3, 2, 1e-5),
    ],
)
def test_norms_with_short_parameters_are_refused(norm: Callable[[Tensor], object]) -> None:
    with pytest.raises(ValueError, match=r"it norms \d+ "):
        measure(norm, 2, 4, 3, dtype=torch.float32)


def test_attention_with_short_values_is_refused() -> None:
    def attend(x: Tensor) -> Tensor:
        return ATEN.scaled_dot_product_attention(x, x, x[:, :, :3])

    with pytest.raises(ValueError, match="it attends to"):
        measure(attend, 1, 1, 20, 4, dtype=torch.float32)


def _work(x: Tensor) -> Tensor:
    normed = ATEN.group_norm(x, 2)
    normed = ATEN._native_batch_norm_legit_no_training(normed, None, None, *[x[0, :, 0]] * 2, 0, 1)
    halves = ATEN.div(ATEN.argmax(x, 2), 2, rounding_mode="trunc")
    heads = x[None]
    product = ATEN.scaled_dot_product_attention(heads, heads, heads).sum()
    product = product + ATEN.einsum("bct,dct->bd", [normed[0], x])
    return product + ATEN.div(x, x, rounding_mode="trunc").sum() + halves.sum()


def test_the_memory_of_ordinary_steps_is_measured() -> None:
    measure(_work, 2, 4, 3, dtype=torch.float32)
