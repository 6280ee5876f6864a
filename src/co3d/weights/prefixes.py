"""Prefixes that training code adds to tensor names, and extra entries of training code."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Distributed training, torch.compile, PyTorchVideo's detectors and Lightning modules add these.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
_MOST_PREFIXES = 8
"""The most prefixes removed from a name, because a hostile file may repeat them without end."""


@dataclass(frozen=True)
class Reading:
    """One interpretation of the keys of a file.

    Attributes:
        pairs: each key with its name without the prefix.
        outside: keys without the prefix: losses, metrics, counters.
    """

    pairs: tuple[tuple[str, str], ...]
    outside: tuple[str, ...]


def list_readings(keys: Iterable[str]) -> Iterator[Reading]:
    """The keys unchanged, and then with one known prefix after the other removed.

    Since a network may itself have a part called "model", only its own names decide which
    interpretation is right.
    """
    pairs, outside = tuple((key, key) for key in keys), ()
    yield Reading(pairs, outside)
    for _ in range(_MOST_PREFIXES):
        counts = {p: sum(name.startswith(p) for _, name in pairs) for p in PREFIXES}
        prefix = max(counts, key=lambda p: counts[p])
        if not counts[prefix]:
            return
        outside += tuple(key for key, name in pairs if not name.startswith(prefix))
        pairs = tuple(
            (key, name.removeprefix(prefix)) for key, name in pairs if name.startswith(prefix)
        )
        yield Reading(pairs, outside)
