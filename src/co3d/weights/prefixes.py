"""What training code puts before the names of a network's tensors, and beside them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Of distributed training, torch.compile, PyTorchVideo's detectors, and Lightning modules.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
_MOST_PREFIXES = 8
"""Of one name: a file may repeat them without end."""


@dataclass(frozen=True)
class Reading:
    """One way to read the keys of a file.

    Attributes:
        pairs: each key with its name without the prefix.
        outside: keys that do not bear the prefix: losses, metrics, counters.
    """

    pairs: tuple[tuple[str, str], ...]
    outside: tuple[str, ...]


def list_readings(keys: Iterable[str]) -> Iterator[Reading]:
    """The keys as they stand, and then without one prefix after the other.

    A network may have a part called "model" itself, so that only its own names tell which reading
    is meant.
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
