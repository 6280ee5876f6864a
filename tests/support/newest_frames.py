"""Attention and norms of the newest frames, frame by frame: what `scope="window"` must give."""

from collections.abc import Callable

import torch
from torch import Tensor

# (queries (…, T·I, C), keys (…, T·J, C), values (…, T·J, D)) -> (…, T·I, D)
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def attend_newest(frames: int, window: int, weigh: Callable[[Tensor], Tensor]) -> Attend:
    """Each of so many frames attends to itself and the `window - 1` before it.

    Args:
        frames: of the clip.
        window: frames.
        weigh: makes weights of the products (…, I, n·J).
    """

    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        here, there = queries.shape[-2] // frames, keys.shape[-2] // frames
        results = []
        for frame in range(frames):
            first = max(0, frame - window + 1) * there
            seen = slice(first, (frame + 1) * there)
            own = queries[..., frame * here : (frame + 1) * here, :]
            weights = weigh(own @ keys[..., seen, :].transpose(-1, -2))
            results.append(weights @ values[..., seen, :])
        return torch.cat(results, -2)

    return attend


def normalise_newest(x: Tensor, groups: int, window: int, eps: float = 1e-5) -> Tensor:
    """A group norm of (N, C, T, …) by the statistics of each frame and the `window - 1` before."""
    apart = x.unflatten(1, (groups, -1))
    results = []
    for frame in range(x.shape[2]):
        seen = apart[:, :, :, max(0, frame - window + 1) : frame + 1].flatten(2)
        mean, variance = seen.mean(2), seen.var(2, correction=0)
        sizes = (*mean.shape, *(1,) * (x.dim() - 2))
        own = apart[:, :, :, frame]
        scaled = (own - mean.reshape(sizes)) * (variance + eps).rsqrt().reshape(sizes)
        results.append(scaled.flatten(1, 2))
    return torch.stack(results, 2)
