"""Match the keys of a checkpoint, in whatever published format, with the names of a network."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from co3d.weights.keymap_caffe2 import (
    is_caffe2_leftover,
    rename_caffe2_single,
    rename_caffe2_slowfast,
)
from co3d.weights.keymap_pytorchvideo import rename_pytorchvideo_slow
from co3d.weights.keymap_torchvision import rename_torchvision_r2plus1d
from co3d.weights.keymap_x3d import rename_pyslowfast_x3d
from co3d.weights.prefixes import Reading, list_readings

OPTIONAL_SUFFIX = "num_batches_tracked"  # a counter of training, absent from older files


def _keep(key: str) -> str | None:
    return key


def _ignore_nothing(_key: str) -> bool:
    return False


@dataclass(frozen=True)
class KeyMap:
    """How a publisher names the tensors of its files.

    Attributes:
        title: what to call such files.
        rename: our name for a key; None for a key that no such file has.
        is_ignored: whether a key means nothing to a network and is left out.
        drops_trailing_ones: whether shapes may lack sizes of one at their end.
    """

    title: str
    rename: Callable[[str], str | None]
    is_ignored: Callable[[str], bool] = _ignore_nothing
    drops_trailing_ones: bool = False


_KEY_MAPS = (
    KeyMap("co3d", _keep),
    KeyMap("PySlowFast X3D", rename_pyslowfast_x3d),
    KeyMap("PyTorchVideo Slow", rename_pytorchvideo_slow),
    KeyMap("torchvision R(2+1)D", rename_torchvision_r2plus1d),
    KeyMap("Caffe2 ResNet", rename_caffe2_single, is_caffe2_leftover, drops_trailing_ones=True),
    KeyMap("Caffe2 SlowFast", rename_caffe2_slowfast, is_caffe2_leftover, drops_trailing_ones=True),
)


@dataclass(frozen=True)
class KeyMatch:
    """How well the keys of a file name the tensors of a network.

    Attributes:
        key_map: the map that named most tensors.
        source_of: our name -> key in the file.
        unused: keys that name no tensor of the network and are not ignored.
        outside: keys beside a prefix that the others share; they belong to the training.
        missing: names that no key gives, counters of batch norm excepted.
    """

    key_map: KeyMap
    source_of: dict[str, str]
    unused: list[str]
    missing: list[str]
    outside: tuple[str, ...] = ()


def match_keys(keys: Iterable[str], names: Iterable[str]) -> KeyMatch:
    """Match the keys of a file with our names, by what names most of them.

    Tried are all key maps, on the keys as they stand and without the prefixes of training code.
    What lies beside a prefix is let go where all names are found under it.
    """
    names = list(names)
    matches = [
        _match(key_map, reading, names) for reading in list_readings(keys) for key_map in _KEY_MAPS
    ]
    return max(matches, key=lambda match: len(match.source_of))


def _match(key_map: KeyMap, reading: Reading, names: list[str]) -> KeyMatch:
    wanted = set(names)
    source_of: dict[str, str] = {}
    unused = []
    for key, bare in reading.pairs:
        name = key_map.rename(bare)
        if name in wanted and name not in source_of:
            source_of[name] = key
        elif not key_map.is_ignored(bare):
            unused.append(key)
    missing = [n for n in names if n not in source_of and not n.endswith(OPTIONAL_SUFFIX)]
    outside = reading.outside
    if missing:
        unused, outside = [*unused, *outside], ()
    return KeyMatch(key_map, source_of, unused, missing, outside)
