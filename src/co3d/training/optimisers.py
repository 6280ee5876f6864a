"""Make the optimiser and its schedule from a recipe."""

import math
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from co3d.training.layers import find_layer_groups, group_of
from co3d.training.recipe import OptimiserSection, ScheduleSection

WARM_UP_START = 0.01


def make_optimiser(model: nn.Module, section: OptimiserSection) -> torch.optim.Optimizer:
    """The optimiser for all parameters; frozen ones have no gradients and do not change.

    Parameter groups go by layer group (discriminative learning rates, arXiv:1801.06146) and by
    whether weights decay: norms, biases and other vectors do not.
    """
    groups = find_layer_groups(model)
    settings: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        index, decays = group_of(name, groups), parameter.dim() > 1
        rate = section.learning_rate * section.layer_decay ** (len(groups) - 1 - index)
        setting = settings.setdefault(
            (index, decays),
            {"params": [], "lr": rate, "weight_decay": section.weight_decay if decays else 0.0},
        )
        setting["params"].append(parameter)
    parts = [settings[key] for key in sorted(settings)]
    if section.kind == "adamw":
        return torch.optim.AdamW(parts, lr=section.learning_rate)
    nesterov = section.momentum > 0
    return torch.optim.SGD(
        parts, lr=section.learning_rate, momentum=section.momentum, nesterov=nesterov
    )


def make_schedule(
    optimiser: torch.optim.Optimizer, section: ScheduleSection, steps: int
) -> LRScheduler:
    """The schedule for a number of optimiser steps.

    One cycle follows Smith & Topin (arXiv:1708.07120), the cosine Loshchilov & Hutter
    (arXiv:1608.03983).
    """
    if section.kind == "one_cycle":
        peaks = [group["lr"] for group in optimiser.param_groups]
        # Torch divides by the lengths of both phases, which must not be zero in short trials.
        total = max(4, steps)
        share = min(max(section.warm_up, 1.5 / total), 1 - 1.5 / total)
        return OneCycleLR(optimiser, peaks, total_steps=total, pct_start=share)
    return LambdaLR(optimiser, lambda step: rate_at(step, steps, section))


def rate_at(step: int, steps: int, section: ScheduleSection) -> float:
    """Fraction of the maximum learning rate at a step, for every kind but one_cycle."""
    warm_up = round(section.warm_up * steps)
    if step < warm_up:
        return WARM_UP_START + (1 - WARM_UP_START) * step / warm_up
    if section.kind == "multi_step":
        return section.factor ** sum(step >= share * steps for share in section.milestones)
    if section.kind == "cosine":
        progress = (step - warm_up) / max(1, steps - warm_up)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return 1.0
