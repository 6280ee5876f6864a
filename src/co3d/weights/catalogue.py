"""The published checkpoints that co3d knows by name."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from co3d.errors import UnknownModelError

_PYSLOWFAST = "https://dl.fbaipublicfiles.com/pyslowfast"
_PYTORCHVIDEO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo"
_TORCHVISION = "https://download.pytorch.org/models"


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


@dataclass(frozen=True)
class Figure:
    """What a publisher measured with a checkpoint.

    Attributes:
        name: of the measure, with its data set and views.
        percent: its value.
        views: clips in time x squares of each, whose predictions are averaged.
        rule: by which frames make a clip: "pyslowfast", another one's name, or None if unknown.
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
        tag: what `create_model(model, weights=tag)` calls it.
        url: where it is published; its last part is the name of the file in the cache.
        labels: the data set whose class names index its outputs.
        licence: what the publisher states.
        figures: what was measured with it.
        activation: what turns its logits into probabilities.
        size_bytes: of the file; None where the publisher states none, so that only the length that
            the server announces is checked.
        sha256: of the file, in hexadecimal, or as many of its first digits as the publisher
            states; None where that is none.
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
        """Last part of the address."""
        return self.url.rsplit("/", 1)[-1]


def _figure(measure: str, views: str, percent: float) -> Figure:
    """As PySlowFast tests, and PyTorchVideo after it."""
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


_PUBLISHED = (
    _x3d("x3d_xs", 68.7, 69.5),
    _x3d("x3d_s", 73.1, 73.5),
    _x3d("x3d_m", 75.1, 76.2),
    _x3d("x3d_l", 76.9, 77.5),
    _caffe2("i3d_r50", "I3D_8x8_R50.pkl", 73.5),
    _caffe2("slowfast_r50_4x16", "SLOWFAST_4x16_R50.pkl", 75.6),
    _caffe2("slowfast_r50_8x8", "SLOWFAST_8x8_R50.pkl", 77.0),
    PublishedWeights(
        model="slow_r50",
        tag="kinetics400",
        url=f"{_PYTORCHVIDEO}/kinetics/SLOW_8x8_R50.pyth",
        labels="kinetics400",
        licence=_PYTORCHVIDEO_LICENCE,
        figures=(_figure("Kinetics-400 top-1", "10x3", 74.58),),
    ),
    PublishedWeights(
        model="slow_r50",
        tag="charades157",
        url=f"{_PYTORCHVIDEO}/charades/SLOW_8x8_R50.pyth",
        labels="charades157",
        licence=_PYTORCHVIDEO_LICENCE,
        figures=(_figure("Charades mAP", "10x3", 34.72),),
        activation="sigmoid",
    ),
    PublishedWeights(
        model="r2plus1d_18",
        tag="kinetics400",
        url=f"{_TORCHVISION}/r2plus1d_18-91a641e6.pth",
        labels="kinetics400",
        licence=_TORCHVISION_LICENCE,
        figures=(Figure("Kinetics-400 top-1, 5 clips", 67.463, "5x1", "torchvision"),),
        sha256="91a641e6",  # torchvision's file names end in the first digits
    ),
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
