"""The published checkpoints that co3d knows by name."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from co3d.errors import UnknownModelError

_PYSLOWFAST = "https://dl.fbaipublicfiles.com/pyslowfast"
_PYTORCHVIDEO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo"
_TORCHVISION = "https://download.pytorch.org/models"
_CSN = "https://download.openmmlab.com/mmaction/recognition/csn/vmz"
_MMACTION_V1 = "https://download.openmmlab.com/mmaction/v1.0/recognition"
_TSM = "https://file.lzhu.me/projects/tsm/models"
_TSM_ONLINE = "https://hanlab.mit.edu/projects/tsm/models"
_MOVINET = "https://github.com/Atze00/MoViNet-pytorch/raw/main/weights"


def _licence(repository: str, licence: str) -> str:
    return (
        f"none stated for the weights; the repository that lists them ({repository}) is {licence}"
    )


_PYSLOWFAST_LICENCE = _licence("PySlowFast", "Apache-2.0")
_PYTORCHVIDEO_LICENCE = _licence("PyTorchVideo", "Apache-2.0")
_TORCHVISION_LICENCE = (
    _licence("torchvision", "BSD-3-Clause")
    + ", and says that the data set's terms may bind the weights"
)

_MMACTION_LICENCE = _licence("mmaction2", "Apache-2.0")
_TSM_LICENCE = _licence("temporal-shift-module", "MIT")
_MOVINET_LICENCE = (
    _licence("MoViNet-pytorch", "MIT")
    + "; they are those of TensorFlow's Model Garden, which is Apache-2.0, in PyTorch's names"
)


@dataclass(frozen=True)
class Figure:
    """An accuracy that a publisher states for a checkpoint.

    Attributes:
        name: of the measure, with its data set and views.
        percent: its value.
        views: temporal clips x spatial crops, whose predictions are averaged.
        rule: how the frames of a clip are chosen: "pyslowfast", another name, or None if unknown.
    """

    name: str
    percent: float
    views: str
    rule: str | None


@dataclass(frozen=True)
class PublishedWeights:
    """One published checkpoint.

    Attributes:
        model: registry name of the network that it fits.
        tag: the name for `create_model(model, weights=tag)`.
        url: where it is published; its last part is the file's name in the cache.
        labels: the data set whose class names index its outputs.
        licence: what the publisher states.
        figures: published accuracies.
        activation: what turns its logits into probabilities.
        size_bytes: of the file; None if the publisher states none, so that only the length that the
            server announces is checked.
        sha256: of the file, in hexadecimal, or its first digits, as the publisher states; None if
            it states none.
    """

    model: str
    tag: str
    url: str
    labels: str
    licence: str
    figures: tuple[Figure, ...]
    activation: Literal["softmax", "sigmoid"] = "softmax"
    size_bytes: int | None = None
    sha256: str | None = None

    @property
    def accuracy(self) -> dict[str, float]:
        """Name of a measure -> published value in percent."""
        return {figure.name: figure.percent for figure in self.figures}

    @property
    def full_tag(self) -> str:
        """Model and tag, as the command line names these weights."""
        return f"{self.model}/{self.tag}"

    @property
    def file_name(self) -> str:
        """Last part of the URL."""
        return self.url.rsplit("/", 1)[-1]


def _figure(measure: str, views: str, percent: float) -> Figure:
    """A figure measured by PySlowFast's protocol, which PyTorchVideo uses as well."""
    clips, squares = map(int, views.split("x"))
    return Figure(f"{measure}, {clips * squares} views", percent, views, "pyslowfast")


def _pyslowfast(model: str, path: str, accuracy: Mapping[str, float]) -> PublishedWeights:
    return PublishedWeights(
        model=model,
        tag="kinetics400",
        url=f"{_PYSLOWFAST}/{path}",
        labels="kinetics400",
        licence=_PYSLOWFAST_LICENCE,
        figures=tuple(_figure("Kinetics-400 top-1", *item) for item in accuracy.items()),
    )


def _x3d(model: str, ten_views: float, thirty_views: float) -> PublishedWeights:
    accuracy = {"10x1": ten_views, "10x3": thirty_views}
    return _pyslowfast(model, f"x3d_models/{model}.pyth", accuracy)


def _caffe2(model: str, file_name: str, thirty_views: float) -> PublishedWeights:
    return _pyslowfast(model, f"model_zoo/kinetics400/{file_name}", {"10x3": thirty_views})


def _pytorchvideo(
    model: str,
    path: str,
    figure: Figure,
    tag: str = "kinetics400",
    activation: Literal["softmax", "sigmoid"] = "softmax",
) -> PublishedWeights:
    return PublishedWeights(
        model=model,
        tag=tag,
        url=f"{_PYTORCHVIDEO}/{path}",
        labels=tag,
        licence=_PYTORCHVIDEO_LICENCE,
        figures=(figure,),
        activation=activation,
    )


def _from_kinetics(
    model: str,
    url: str,
    licence: str,
    figure: Figure,
    classes: int = 400,
    sha256: str | None = None,
) -> PublishedWeights:
    tag = f"kinetics{classes}"
    return PublishedWeights(model, tag, url, tag, licence, (figure,), sha256=sha256)


def _torchvision(model: str, file_name: str, views: str, percent: float) -> PublishedWeights:
    counted = "5 clips" if views == "5x1" else "1 clip"
    return _from_kinetics(
        model,
        f"{_TORCHVISION}/{file_name}",
        _TORCHVISION_LICENCE,
        Figure(f"Kinetics-400 top-1, {counted}", percent, views, "torchvision"),
        sha256=_read_digits(file_name),
    )


def _mmaction(model: str, url: str, percent: float) -> PublishedWeights:
    return _from_kinetics(
        model,
        url,
        _MMACTION_LICENCE,
        Figure("Kinetics-400 top-1, 30 views", percent, "10x3", "mmaction2"),
        sha256=_read_digits(url),
    )


def _mmaction_v1(model: str, config: str, stamp: str, percent: float) -> PublishedWeights:
    """A file of mmaction2 1.x, whose folders are named by the network and by the configuration."""
    folder = f"{_MMACTION_V1}/{model.split('_')[0]}/{config}"
    return _mmaction(model, f"{folder}/{config}_{stamp}.pth", percent)


def _tsm(model: str, file_name: str, percent: float) -> PublishedWeights:
    figure = Figure("Kinetics-400 top-1, 30 views", percent, "10x3", "tsm")
    return _from_kinetics(model, f"{_TSM}/{file_name}", _TSM_LICENCE, figure)


def _movinet(model: str, file_name: str, percent: float) -> PublishedWeights:
    figure = Figure("Kinetics-600 top-1, whole video", percent, "1x1", "movinet")
    return _from_kinetics(model, f"{_MOVINET}/{file_name}", _MOVINET_LICENCE, figure, 600)


def _read_digits(file_name: str) -> str:
    """The first digits of the SHA-256, with which torchvision's and mmaction2's names end."""
    return file_name.removesuffix(".pth").rsplit("-", 1)[1]


_PUBLISHED = (
    _x3d("x3d_xs", 68.7, 69.5),
    _x3d("x3d_s", 73.1, 73.5),
    _x3d("x3d_m", 75.1, 76.2),
    _x3d("x3d_l", 76.9, 77.5),
    _caffe2("i3d_r50", "I3D_8x8_R50.pkl", 73.5),
    _mmaction_v1(
        "i3d_r50_32x2",
        "i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb",
        "20220812-e213c223",
        73.47,
    ),
    _caffe2("slowfast_r50_4x16", "SLOWFAST_4x16_R50.pkl", 75.6),
    _caffe2("slowfast_r50_8x8", "SLOWFAST_8x8_R50.pkl", 77.0),
    _mmaction_v1(
        "slowfast_r50_4x16_mmaction",
        "slowfast_r50_8xb8-4x16x1-256e_kinetics400-rgb",
        "20220901-701b0f6f",
        75.55,
    ),
    _mmaction_v1(
        "slowfast_r50_8x8_mmaction",
        "slowfast_r50_8xb8-8x8x1-256e_kinetics400-rgb",
        "20220818-1cb6dfc8",
        76.8,
    ),
    _mmaction_v1(
        "slowfast_r50_8x8_steplr_mmaction",
        "slowfast_r50_8xb8-8x8x1-steplr-256e_kinetics400-rgb",
        "20220818-b62a501f",
        76.65,
    ),
    _mmaction_v1(
        "slowfast_r101_8x8_mmaction",
        "slowfast_r101_8xb8-8x8x1-256e_kinetics400-rgb",
        "20220901-9c0e09bd",
        78.65,
    ),
    _mmaction_v1(
        "slowfast_r101_r50_4x16_mmaction",
        "slowfast_r101-r50_32xb8-4x16x1-256e_kinetics400-rgb",
        "20220901-a77ac3ee",
        77.03,
    ),
    _pytorchvideo(
        "slow_r50", "kinetics/SLOW_8x8_R50.pyth", _figure("Kinetics-400 top-1", "10x3", 74.58)
    ),
    _pytorchvideo(
        "slow_r50",
        "charades/SLOW_8x8_R50.pyth",
        _figure("Charades mAP", "10x3", 34.72),
        tag="charades157",
        activation="sigmoid",
    ),
    _pytorchvideo(
        "c2d_r50", "kinetics/C2D_8x8_R50.pyth", _figure("Kinetics-400 top-1", "10x3", 71.46)
    ),
    _pytorchvideo(
        "ir_csn_101", "kinetics/CSN_32x2_R101.pyth", _figure("Kinetics-400 top-1", "10x3", 77.0)
    ),
    _torchvision("r2plus1d_18", "r2plus1d_18-91a641e6.pth", "5x1", 67.463),
    _pytorchvideo(
        "r2plus1d_r50",
        "kinetics/R2PLUS1D_16x4_R50.pyth",
        _figure("Kinetics-400 top-1", "10x3", 76.01),
    ),
    _mmaction_v1(
        "r2plus1d_r34_8x8",
        "r2plus1d_r34_8xb8-8x8x1-180e_kinetics400-rgb",
        "20220812-47cfe041",
        69.76,
    ),
    _mmaction_v1(
        "r2plus1d_r34_32x2",
        "r2plus1d_r34_8xb8-32x2x1-180e_kinetics400-rgb",
        "20220812-4270588c",
        75.46,
    ),
    _torchvision("r3d_18", "r3d_18-b3b3357e.pth", "5x1", 63.2),
    _torchvision("mc3_18", "mc3_18-a90a0ba3.pth", "5x1", 63.96),
    _torchvision("s3d", "s3d-d76dad2f.pth", "1x1", 68.368),
    _mmaction(
        "ir_csn_152",
        f"{_CSN}/vmz_ircsn_from_scratch_r152_32x2x1_180e_kinetics400_rgb_20210617-5c933ae1.pth",
        76.53,
    ),
    _mmaction(
        "ip_csn_152",
        f"{_CSN}/vmz_ipcsn_from_scratch_r152_32x2x1_180e_kinetics400_rgb_20210617-d565828d.pth",
        77.8,
    ),
    _tsm("tsm_r50", "TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e100_dense.pth", 74.1),
    _tsm(
        "tsm_mobilenet_v2",
        "TSM_kinetics_RGB_mobilenetv2_shift8_blockres_avg_segment8_e100_dense.pth",
        69.5,
    ),
    PublishedWeights(
        model="tsm_mobilenet_v2_online",
        tag="jester27",
        url=f"{_TSM_ONLINE}/mobilenetv2_jester_online.pth.tar",
        labels="jester27",
        licence=_TSM_LICENCE,
        figures=(),
    ),
    _movinet("movinet_a0", "modelA0_statedict_v3", 72.28),
    _movinet("movinet_a1", "modelA1_statedict_v3", 76.69),
    _movinet("movinet_a2", "modelA2_statedict_v3", 78.62),
    _movinet("movinet_a3", "modelA3_statedict_v3", 81.79),
    _movinet("movinet_a4", "modelA4_statedict_v3", 83.48),
    _movinet("movinet_a5", "modelA5_statedict_v3", 84.27),
    _movinet("movinet_a0_stream", "modelA0_stream_statedict_v3", 72.05),
    _movinet("movinet_a1_stream", "modelA1_stream_statedict_v3", 76.45),
    _movinet("movinet_a2_stream", "modelA2_stream_statedict_v3", 78.4),
)


def list_weights(model: str | None = None) -> list[PublishedWeights]:
    """The published checkpoints, all of them or those of one model."""
    return [entry for entry in _PUBLISHED if model in (None, entry.model)]


def parse_full_tag(text: str) -> PublishedWeights:
    """The published checkpoint that the command line calls "MODEL/TAG".

    Raises:
        UnknownModelError: there is none; the message names the nearest.
    """
    entries = {entry.full_tag: entry for entry in _PUBLISHED}
    if text not in entries:
        related = [name for name in entries if text in name.split("/")]
        nearest = related or difflib.get_close_matches(text, entries, n=3, cutoff=0.4)
        raise UnknownModelError(
            f"no published weights {text!r}: expected MODEL/TAG, "
            f"such as {' or '.join(nearest or list(entries)[:1])}"
        )
    return entries[text]


def find_weights(model: str, tag: str) -> PublishedWeights:
    """The published checkpoint `tag` of `model`.

    Raises:
        UnknownModelError: there is none; the message lists the tags that there are.
    """
    tags = {entry.tag: entry for entry in list_weights(model)}
    if tag not in tags:
        raise UnknownModelError(
            f"no weights {tag!r} for {model}: it is neither a file nor one of the published tags "
            f"({', '.join(sorted(tags)) or 'none'}); give one of these or the path of a checkpoint"
        )
    return tags[tag]
