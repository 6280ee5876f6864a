"""Names of MoViNet's variables in TensorFlow's Model Garden (official/projects/movinet)."""

import re

_OUTSIDE = {
    "stem/stem": "stem",
    "head/project": "last",
    "classifier_head/head": "head.hidden",
    "classifier_head/classifier": "head.classifier",
}
_INSIDE = {
    "expansion": "expand",
    "feature": "depthwise",
    "projection": "project",
    "se/se_reduce": "gate.reduce",
    "se/se_expand": "gate.restore",
    "skip/skip_project": "shortcut",
}
_LINEAR = ("gate.reduce", "gate.restore", "head.hidden", "head.classifier")
_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# Layers may be below the model's name; those inside a 2-D convolution are numbered.
_VARIABLE = re.compile(
    r"(?:[\w-]+/)*?(?:b(?P<stage>\d)/l(?P<index>\d+)/(?:bneck/)?)?"
    rf"(?P<layer>{'|'.join((*_OUTSIDE, *_INSIDE))})/"
    r"(?:(?P<conv>conv[23]d)(?P<temporal>_temporal)?/(?:(?:depthwise_)?conv2d(?:_\d+)?/)?"
    r"(?P<kernel>kernel|depthwise_kernel|bias)"
    r"|bn(?P<temporal_norm>_temporal)?/(?P<norm>\w+))"
)
_SCALE = re.compile(r"(?:[\w-]+/)*?b(\d)/l(\d+)/(?:bneck/)?scale")
_OF_TRAINING = re.compile(
    r"(save_counter|global_step|iter|decay|learning_rate|momentum|beta_\d"
    r"|(optimizer|train_metrics|validation_metrics)/.*|.*ExponentialMovingAverage)"
)


def _rename(key: str, *, causal: bool) -> str | None:
    scale = _SCALE.fullmatch(key)
    if scale is not None:
        return f"stages.{scale[1]}.{scale[2]}.alpha"
    found = _VARIABLE.fullmatch(key)
    if found is None or (found["layer"] in _INSIDE) is (found["stage"] is None):
        return None
    ours = _OUTSIDE.get(found["layer"]) or _INSIDE[found["layer"]]
    place = "" if found["stage"] is None else f"stages.{found['stage']}.{found['index']}."
    is_temporal = bool(found["temporal"] or found["temporal_norm"])
    if found["norm"]:
        end = _NORM.get(found["norm"])
        norm = "norm"
    else:
        end = "bias" if found["kernel"] == "bias" else "weight"
        norm = ""
    if end is None or (is_temporal and ours != "depthwise"):
        return None
    if ours in _LINEAR:
        return None if norm else f"{place}{ours}.{end}"
    if is_temporal:
        return f"{place}{ours}.{'temporal_norm' if norm else 'temporal'}.{end}"
    if causal and ours == "depthwise":
        ours = "depthwise.spatial"
    return f"{place}{ours}.{norm or 'conv'}.{end}"


def rename_base(key: str) -> str | None:
    """Our name for a variable of a base network; None for unknown ones."""
    return _rename(key, causal=False)


def rename_stream(key: str) -> str | None:
    """Our name for a variable of a stream network; None for unknown ones."""
    return _rename(key, causal=True)


def is_of_training(key: str) -> bool:
    """Whether a variable belongs to training and not to the network."""
    return _OF_TRAINING.fullmatch(key) is not None
