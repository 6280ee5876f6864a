"""Blob names of the Caffe2 checkpoints that PySlowFast publishes (I3D, SlowFast)."""

import re

_VALUE = r"(w|bn_s|bn_b|bn_rm|bn_riv)"
_STEM = re.compile(rf"(t_)?(?:res_)?conv1_{_VALUE}")
_BLOCK = re.compile(rf"(t_)?res([2-5])_(\d+)_branch(1|2a|2b|2c)_{_VALUE}")
_LATERAL = re.compile(rf"t_(?:pool1|res([2-4])_\d+_branch2c_bn)_subsample_{_VALUE}")
_CLASSIFIER = {"pred_w": "head.classifier.weight", "pred_b": "head.classifier.bias"}
_BRANCHES = {
    "1": ("shortcut.conv", "shortcut.norm"),
    "2a": ("reduce", "reduce_norm"),
    "2b": ("spatial", "spatial_norm"),
    "2c": ("expand", "expand_norm"),
}
_NORM_VALUES = {
    "bn_s": "weight",
    "bn_b": "bias",
    "bn_rm": "running_mean",
    "bn_riv": "running_var",  # the variance itself, in spite of the "i" for inverse
}


def rename_caffe2_single(blob: str) -> str | None:
    """Our name for a blob of a network of one pathway; None for other blobs."""
    return None if blob.startswith("t_") else _rename(blob, slow="trunk")


def rename_caffe2_slowfast(blob: str) -> str | None:
    """Our name for a blob of a SlowFast file; None for other blobs."""
    lateral = _LATERAL.fullmatch(blob)
    if lateral:
        return _name(f"fuse{lateral[1] or 1}", "conv", "norm", lateral[2])
    return _rename(blob, slow="slow")


def is_caffe2_leftover(blob: str) -> bool:
    """Whether a blob is left over from training: momenta, learning rates, a counter."""
    return any(word in blob for word in ("momentum", "lr", "model_iter"))


def _rename(blob: str, slow: str) -> str | None:
    """`slow` is our name for the pathway of the blobs without prefix; `t_` is the fast pathway."""
    if blob in _CLASSIFIER:
        return _CLASSIFIER[blob]
    stem = _STEM.fullmatch(blob)
    if stem:
        return _name(f"{'fast' if stem[1] else slow}.stem", "conv", "norm", stem[2])
    block = _BLOCK.fullmatch(blob)
    if block:
        pathway = "fast" if block[1] else slow
        return _name(f"{pathway}.res{block[2]}.{block[3]}", *_BRANCHES[block[4]], block[5])
    return None


def _name(module: str, conv: str, norm: str, value: str) -> str:
    if value == "w":
        return f"{module}.{conv}.weight"
    return f"{module}.{norm}.{_NORM_VALUES[value]}"
