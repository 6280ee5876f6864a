"""`nn.MultiheadAttention` with the batch as first axis; torch folds the batch into the heads."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Attend = Callable[..., tuple[Tensor, Tensor | None]]
# Arguments that are not supported here.
_UNUSUAL = ("bias_k", "bias_v", "key_padding_mask", "static_k", "static_v")


def attend_batch_first(function: Attend, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """`F.multi_head_attention_forward`, written as attention over (N, heads, L, C).

    Args:
        function: torch's own, which is called where an argument is not supported here.
        args, kwargs: the arguments of `F.multi_head_attention_forward`.

    Returns:
        The result (L, N, C), and the attention weights or None.
    """
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    given = bound.arguments
    query, key, value = (given[name] for name in ("query", "key", "value"))
    heads, mask = given["num_heads"], given["attn_mask"]
    unusual = any(given[name] is not None for name in _UNUSUAL) or given["add_zero_attn"]
    unusual |= bool(given["dropout_p"]) and given["training"]
    if unusual or query.dim() != 3 or (mask is not None and mask.dim() != 2):
        return function(*args, **kwargs)
    queries, keys, values = (
        x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in _project(query, key, value, given)
    )
    is_causal = bool(given["is_causal"])
    if is_causal and not given["need_weights"]:
        mask = None  # like torch, which uses the flag instead
    is_causal &= mask is None
    if mask is not None and mask.dtype == torch.bool:
        mask = mask.logical_not()  # torch: True masks; here: True attends
    attended = F.scaled_dot_product_attention(queries, keys, values, mask, is_causal=is_causal)
    attended = attended.transpose(1, 2).flatten(2)
    result = F.linear(attended, given["out_proj_weight"], given["out_proj_bias"]).transpose(0, 1)
    if not given["need_weights"]:
        return result, None
    return result, _compute_weights(queries, keys, mask, average=given["average_attn_weights"])


def _project(query: Tensor, key: Tensor, value: Tensor, given: dict[str, Any]) -> list[Tensor]:
    """Project (L, N, C) inputs to queries, keys and values, each (N, L, C)."""
    weight, bias = given["in_proj_weight"], given["in_proj_bias"]
    x = query, key, value
    if query is key and key is value and weight is not None:
        return list(F.linear(query, weight, bias).transpose(0, 1).chunk(3, -1))
    own = [given[f"{name}_proj_weight"] for name in "qkv"]
    weights: list[Any] = own if weight is None else weight.chunk(3)
    biases: list[Any] = [None] * 3 if bias is None else bias.chunk(3)
    return [
        F.linear(one, w, b).transpose(0, 1) for one, w, b in zip(x, weights, biases, strict=True)
    ]


def _compute_weights(
    queries: Tensor, keys: Tensor, mask: Tensor | None, *, average: bool
) -> Tensor:
    """Attention weights, (N, L, S) averaged over heads or (N, heads, L, S)."""
    products = queries @ keys.transpose(-2, -1) * queries.shape[-1] ** -0.5
    if mask is not None:
        if mask.dtype == torch.bool:
            products = products.masked_fill(mask.logical_not(), float("-inf"))
        else:
            products = products + mask
    weights = products.softmax(-1)
    return weights.mean(1) if average else weights
