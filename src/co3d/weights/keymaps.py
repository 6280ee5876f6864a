"""Match the keys of a checkpoint of any published format to the names of a network."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from co3d.weights import keymap_mmaction as mmaction
from co3d.weights import keymap_movinet as movinet
from co3d.weights import keymap_movinet_tensorflow as movinet_tensorflow
from co3d.weights import keymap_pyslowfast as pyslowfast
from co3d.weights import keymap_pytorchvideo as pytorchvideo
from co3d.weights import keymap_torchvision as torchvision
from co3d.weights import keymap_tsm as tsm
from co3d.weights.keymap_caffe2 import (
    is_caffe2_leftover,
    rename_caffe2_single,
    rename_caffe2_slowfast,
)
from co3d.weights.prefixes import Reading, list_readings

OPTIONAL_SUFFIX = "num_batches_tracked"  # a counter of training, absent from older files


def _keep(key: str) -> str | None:
    return key


def _ignore_nothing(_key: str) -> bool:
    return False


@dataclass(frozen=True)
class KeyMap:
    """A publisher's names for the tensors in its files.

    Attributes:
        title: name of such files, for messages.
        rename: our name for a key; None for a key that is not in such files.
        is_ignored: whether a key does not belong to the network and is left out.
        ignores_ones: whether shapes may differ by sizes of one, since a kernel for pictures, or a
            pointwise one, can be stored without some axes.
        absent_norms: our norms that these networks lack; they are loaded as identities.
    """

    title: str
    rename: Callable[[str], str | None]
    is_ignored: Callable[[str], bool] = _ignore_nothing
    ignores_ones: bool = False
    absent_norms: tuple[str, ...] = ()


_KEY_MAPS = (
    KeyMap("co3d", _keep),
    KeyMap("PySlowFast X3D", pyslowfast.PYSLOWFAST_X3D.rename),
    KeyMap("PySlowFast ResNet", pyslowfast.PYSLOWFAST_RESNET.rename),
    KeyMap("PySlowFast SlowFast", pyslowfast.PYSLOWFAST_SLOWFAST.rename),
    KeyMap("PyTorchVideo Slow", pytorchvideo.PYTORCHVIDEO_SLOW.rename),
    KeyMap("PyTorchVideo I3D or C2D", pytorchvideo.PYTORCHVIDEO_POOLED.rename),
    KeyMap("PyTorchVideo SlowFast", pytorchvideo.PYTORCHVIDEO_SLOWFAST.rename),
    KeyMap("PyTorchVideo CSN", pytorchvideo.PYTORCHVIDEO_CSN.rename),
    KeyMap("PyTorchVideo R(2+1)D", pytorchvideo.PYTORCHVIDEO_R2PLUS1D.rename),
    KeyMap(
        "PyTorchVideo X3D",
        pytorchvideo.PYTORCHVIDEO_X3D.rename,
        absent_norms=("stages.0.0.shortcut.norm",),
    ),
    KeyMap("torchvision R(2+1)D", torchvision.TORCHVISION_R2PLUS1D.rename),
    KeyMap("torchvision R3D or MC3", torchvision.TORCHVISION_RESNET.rename),
    KeyMap("torchvision S3D", torchvision.TORCHVISION_S3D.rename, ignores_ones=True),
    KeyMap("mmaction2 ResNet3d", mmaction.MMACTION_RESNET3D.rename),
    KeyMap("mmaction2 SlowFast", mmaction.MMACTION_SLOWFAST.rename),
    KeyMap("mmaction2 R(2+1)D", mmaction.MMACTION_R2PLUS1D.rename),
    KeyMap("mmaction2 X3D", mmaction.MMACTION_X3D.rename, ignores_ones=True),
    KeyMap("mmaction2 CSN", mmaction.MMACTION_IR_CSN.rename),
    KeyMap("mmaction2 CSN", mmaction.MMACTION_IP_CSN.rename),
    KeyMap("mmaction2 TSM", mmaction.MMACTION_TSM.rename, ignores_ones=True),
    KeyMap("mmaction2 TSM", mmaction.rename_mmaction_tsm_mobilenet, ignores_ones=True),
    KeyMap("TSM", tsm.TSM_RESNET.rename, ignores_ones=True),
    KeyMap("TSM", tsm.rename_tsm_mobilenet, ignores_ones=True),
    KeyMap("MoViNet, base", movinet.rename_movinet_base, ignores_ones=True),
    KeyMap("MoViNet, stream", movinet.rename_movinet_stream, ignores_ones=True),
    KeyMap(
        "MoViNet of TensorFlow, base",
        movinet_tensorflow.rename_base,
        movinet_tensorflow.is_of_training,
        ignores_ones=True,
    ),
    KeyMap(
        "MoViNet of TensorFlow, stream",
        movinet_tensorflow.rename_stream,
        movinet_tensorflow.is_of_training,
        ignores_ones=True,
    ),
    KeyMap("Caffe2 ResNet", rename_caffe2_single, is_caffe2_leftover, ignores_ones=True),
    KeyMap("Caffe2 SlowFast", rename_caffe2_slowfast, is_caffe2_leftover, ignores_ones=True),
)


@dataclass(frozen=True)
class KeyMatch:
    """How well the keys of a file match the names of a network.

    Attributes:
        key_map: the map with the most matches.
        source_of: our name -> key in the file.
        unused: keys that match no tensor of the network and are not ignored.
        outside: keys without a prefix that the others share; they belong to training.
        missing: names without a key, except counters of batch norm and absent norms.
    """

    key_map: KeyMap
    source_of: dict[str, str]
    unused: list[str]
    missing: list[str]
    outside: tuple[str, ...] = ()


def match_keys(keys: Iterable[str], names: Iterable[str]) -> KeyMatch:
    """Match the keys of a file to our names by the map with the most matches.

    All key maps are tried, on the unchanged keys and without prefixes of training code. Keys
    without the prefix are dropped if all names are found under it.
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
    missing = [
        name
        for name in names
        if name not in source_of
        and not name.endswith(OPTIONAL_SUFFIX)
        and name.rpartition(".")[0] not in key_map.absent_norms
    ]
    outside = reading.outside
    if missing:
        unused, outside = [*unused, *outside], ()
    return KeyMatch(key_map, source_of, unused, missing, outside)
