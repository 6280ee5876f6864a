"""The parts of a network from the clip to the classifier: what learns, how fast, and what stays."""

import difflib
from collections.abc import Iterable, Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from co3d.errors import RecipeError
from co3d.training.recipe import FreezingSection

LONGEST = 16
"""Parts of a sequence that is opened up."""


def find_layer_groups(model: nn.Module) -> list[str]:
    """Paths of the groups of layers, in the order in which a clip passes them.

    Of the network's children, those that hold more than half of its weights are opened up in turn,
    where they are sequences: x3d_s gives stem, stages.0 to stages.3 and head. A long sequence stays
    one group, so that there are a few in the deepest network.
    """
    return list(_open(model, "", _count(model)))


def _open(module: nn.Module, path: str, total: int) -> Iterable[str]:
    children = [(name, child) for name, child in module.named_children() if _count(child)]
    is_sequence = isinstance(module, nn.Sequential | nn.ModuleList)
    is_large = _count(module) * 2 > total and len(children) <= LONGEST
    may_open = not path or ((is_sequence or "." not in path) and is_large)
    if not may_open or not children or any(True for _ in module.parameters(recurse=False)):
        yield path
        return
    for name, child in children:
        yield from _open(child, f"{path}.{name}" if path else name, total)


def group_of(parameter: str, groups: Sequence[str]) -> int:
    """Index of the group that a parameter, named by its path, belongs to."""
    return next(
        index
        for index, group in enumerate(groups)
        if not group or parameter == group or parameter.startswith(f"{group}.")
    )


class Freezer:
    """Keeps layers as they are: their weights get no gradients, their norms keep their statistics.

    Args:
        model: the network.
        section: what to freeze.

    Raises:
        RecipeError: the network has no layer of such a name.
    """

    def __init__(self, model: nn.Module, section: FreezingSection) -> None:
        self.groups = find_layer_groups(model)
        self._model, self._section = model, section
        modules = dict(model.named_modules())
        for path in section.layers:
            if path not in modules:
                nearest = difflib.get_close_matches(path, modules, n=1, cutoff=0.3)
                known = nearest or self.groups
                raise RecipeError(
                    f"cannot freeze {path!r}: {type(model).__name__} has no such layer; did you "
                    f"mean {' or '.join(known)}?"
                )

    def frozen_paths(self, epoch: int) -> list[str]:
        """Paths of what is frozen in an epoch, from 0."""
        paths = list(self._section.layers)
        if self._section.unfreeze_every is not None:
            learning = 1 + epoch // self._section.unfreeze_every
            paths += self.groups[: max(0, len(self.groups) - learning)]
        return paths

    def freeze(self, epoch: int) -> None:
        """Let the gradients of an epoch reach what learns in it, and nothing else.

        Statistics are not touched: call `train()`, then `stop_statistics`.
        """
        frozen = self.frozen_paths(epoch)
        for name, parameter in self._model.named_parameters():
            parameter.requires_grad_(not any(_is_within(name, path) for path in frozen))
            if not parameter.requires_grad:
                parameter.grad = None

    def stop_statistics(self, epoch: int) -> None:
        """Put what is frozen in evaluation mode; to be called after `train()`."""
        frozen = self.frozen_paths(epoch)
        for name, module in self._model.named_modules():
            is_frozen_norm = self._section.batch_norm and isinstance(module, _BatchNorm)
            if is_frozen_norm or (name and any(_is_within(name, path) for path in frozen)):
                module.eval()


def _is_within(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(f"{path}.")


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
