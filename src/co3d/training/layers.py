"""Layer groups of a network from the clip to the classifier, and freezing them."""

import difflib
from collections.abc import Iterable, Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from co3d.errors import RecipeError
from co3d.training.recipe import FreezingSection

LONGEST = 16
"""The most parts of a sequence that is split into groups."""


def find_layer_groups(model: nn.Module) -> list[str]:
    """Paths of the groups of layers, in the order in which a clip passes them.

    A child that holds more than half of the network's weights is split into its own children if it
    is a sequence: x3d_s gives stem, stages.0 to stages.3 and head. A long sequence stays one group,
    so that even the deepest network has few groups.
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
    """Freezes layers: their weights get no gradients, and their norms keep their statistics.

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
        """Paths of the frozen submodules in an epoch, from 0."""
        paths = list(self._section.layers)
        if self._section.unfreeze_every is not None:
            learning = 1 + epoch // self._section.unfreeze_every
            paths += self.groups[: max(0, len(self.groups) - learning)]
        return paths

    def freeze(self, epoch: int) -> None:
        """Enable gradients for the layers that learn in an epoch, and for no others.

        This does not affect statistics: call `train()`, then `stop_statistics`.
        """
        frozen = self.frozen_paths(epoch)
        for name, parameter in self._model.named_parameters():
            parameter.requires_grad_(not any(_is_within(name, path) for path in frozen))
            if not parameter.requires_grad:
                parameter.grad = None

    def stop_statistics(self, epoch: int) -> None:
        """Put frozen layers in evaluation mode; call it after `train()`."""
        frozen = self.frozen_paths(epoch)
        for name, module in self._model.named_modules():
            is_frozen_norm = self._section.batch_norm and isinstance(module, _BatchNorm)
            if is_frozen_norm or (name and any(_is_within(name, path) for path in frozen)):
                module.eval()


def _is_within(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(f"{path}.")


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
