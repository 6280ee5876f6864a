"""Match the keys of a checkpoint, in whatever published format, with the names of a network."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from co3d.weights.keymap_x3d import rename_pyslowfast_x3d

OPTIONAL_SUFFIX = "num_batches_tracked"  # a counter of training, absent from older files


def _keep(key: str) -> str | None:
    """The map of files that we wrote ourselves."""
    return key


_KEY_MAPS: tuple[Callable[[str], str | None], ...] = (_keep, rename_pyslowfast_x3d)


@dataclass(frozen=True)
class KeyMatch:
    """How well the keys of a file name the tensors of a network.

    Attributes:
        source_of: our name -> key in the file.
        unused: keys that name no tensor of the network.
        missing: names that no key gives, counters of batch norm excepted.
    """

    source_of: dict[str, str]
    unused: list[str]
    missing: list[str]


def match_keys(keys: Iterable[str], names: Iterable[str]) -> KeyMatch:
    """Match the keys of a file with our names, by the key map that names most of them."""
    keys, names = list(keys), list(names)
    matches = [_match(rename, keys, names) for rename in _KEY_MAPS]
    return max(matches, key=lambda match: len(match.source_of))


def _match(rename: Callable[[str], str | None], keys: list[str], names: list[str]) -> KeyMatch:
    wanted = set(names)
    source_of: dict[str, str] = {}
    unused = []
    for key in keys:
        name = rename(key)
        if name in wanted and name not in source_of:
            source_of[name] = key
        else:
            unused.append(key)
    missing = [n for n in names if n not in source_of and not n.endswith(OPTIONAL_SUFFIX)]
    return KeyMatch(source_of, unused, missing)
