"""Functions of clips as networks write them: folds, shifts, writes in place, attention."""

import torch


def sum_of(*values: torch.Tensor) -> torch.Tensor:
    """Broadcast and add."""
    return values[0] + values[1] + values[2]


def fold(x: torch.Tensor) -> torch.Tensor:
    """(N, C, T, H, W) -> (N·T, C, H, W)."""
    return x.transpose(1, 2).reshape(-1, x.shape[1], *x.shape[3:])


def unfold(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(N·T, C, H, W) -> (N, C, T, H, W)."""
    return x.view(like.shape[0], like.shape[2], *x.shape[1:]).transpose(1, 2)


def shift_by_cat(x: torch.Tensor) -> torch.Tensor:
    """One channel from the next frame, one from the previous, the rest as they are."""
    blank = torch.zeros_like(x[:, :1, :1])
    left, right = torch.cat([x[:, :1, 1:], blank], 2), torch.cat([blank, x[:, 1:2, :-1]], 2)
    return torch.cat([left, right, x[:, 2:]], 1)


def shift_by_writing(x: torch.Tensor) -> torch.Tensor:
    """The same, written into zeros."""
    out = torch.zeros_like(x)
    out[:, :1, :-1] = x[:, :1, 1:]
    out[:, 1:2, 1:] = x[:, 1:2, :-1]
    out[:, 2:] = x[:, 2:]
    return out


def shift_time_first(x: torch.Tensor) -> torch.Tensor:
    """The same on (N, T, C, H, W), where the two slices of a write are nested otherwise."""
    out = torch.zeros_like(x)
    out[:, :-1, :1], out[:, 1:, 1:2] = x[:, 1:, :1], x[:, :-1, 1:2]
    out[:, :, 2:] = x[:, :, 2:]
    return out


def overwrite(x: torch.Tensor) -> torch.Tensor:
    """Some channels replaced in place."""
    y = x.clone()
    y[:, 1:3] = x[:, 2:4] * 2
    return y


def attend(x: torch.Tensor) -> torch.Tensor:
    """Every place of a frame looks at every other of the same frame."""
    tokens = x.permute(0, 2, 3, 4, 1).flatten(2, 3)
    scores = (tokens @ tokens.transpose(-1, -2)).softmax(-1)
    mixed = scores @ tokens
    return mixed.unflatten(2, x.shape[3:]).permute(0, 4, 1, 2, 3)
