"""Keys of MoViNet's port to PyTorch (github.com/Atze00/MoViNet-pytorch)."""

import re

from co3d.weights.key_tables import KeyTable

# The base network's convolutions are conv3d, the stream network's conv2d.
_KINDS = ("conv2d", "conv3d")


def _name_conv(theirs: str, conv: str, norm: str) -> dict[str, str]:
    convs = {f"{theirs}.{kind}": conv for kind in _KINDS}
    return convs | {f"{theirs}.norm": norm}


def _name_layer(theirs: str, ours: str) -> dict[str, str]:
    return _name_conv(f"{theirs}.conv_1", f"{ours}.conv", f"{ours}.norm")


def _name_linear(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.conv_1.{kind}": ours for kind in _KINDS}


_COMMON = {
    **_name_layer("expand", "expand"),
    **_name_layer("project", "project"),
    **_name_linear("se.fc1", "gate.reduce"),
    **_name_linear("se.fc2", "gate.restore"),
    # A pool may precede it.
    **_name_layer("res.0", "shortcut"),
    **_name_layer("res.1", "shortcut"),
}


def _make(depthwise: dict[str, str]) -> KeyTable:
    return KeyTable(
        ends={
            **_name_layer("conv1", "stem"),
            **_name_layer("conv7", "last"),
            **_name_linear("classifier.0", "head.hidden"),
            **_name_linear("classifier.3", "head.classifier"),
        },
        block=re.compile(r"blocks\.b(\d)_l(\d+)\.(.+)"),
        place=lambda stage, index: f"stages.{stage}.{index}",
        inside={**_COMMON, **depthwise},
    )


_BASE = _make(_name_layer("deep", "depthwise"))
_STREAM = _make(
    {
        **_name_layer("deep", "depthwise.spatial"),
        **_name_conv("deep.conv_2", "depthwise.temporal", "depthwise.temporal_norm"),
    }
)
_ALPHA = re.compile(r"blocks\.b(\d)_l(\d+)\.alpha")


def rename_movinet_base(key: str) -> str | None:
    """Our name for a key of a base network; None for other keys."""
    return _rename(_BASE, key)


def rename_movinet_stream(key: str) -> str | None:
    """Our name for a key of a stream network; None for other keys."""
    return _rename(_STREAM, key)


def _rename(table: KeyTable, key: str) -> str | None:
    alpha = _ALPHA.fullmatch(key)
    return f"stages.{alpha[1]}.{alpha[2]}.alpha" if alpha else table.rename(key)
