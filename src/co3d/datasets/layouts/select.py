"""`open_dataset`: a data set, whatever its layout."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from co3d.datasets.layouts.charades import (
    is_charades_annotation,
    list_charades_annotations,
    open_charades,
)
from co3d.datasets.layouts.class_names import ClassIndex, read_classes
from co3d.datasets.layouts.folders import open_folders
from co3d.datasets.layouts.kinetics import (
    is_kinetics_annotation,
    list_kinetics_annotations,
    open_kinetics,
)
from co3d.datasets.layouts.splits import LIST_FOLDERS
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.manifest_file import read_manifest
from co3d.environment import find_dataset
from co3d.errors import DataError, OptionError

Layout = Literal["auto", "kinetics", "charades", "folders", "manifest"]
LAYOUTS: tuple[Layout, ...] = ("auto", "kinetics", "charades", "folders", "manifest")


def open_dataset(
    path: Path,
    *,
    layout: Layout = "auto",
    split: str | None = None,
    classes: str | Sequence[str] | None = None,
) -> Manifest:
    """Find the videos of a data set and their labels.

    Args:
        path: folder of the set, its manifest, or one of its published lists; looked for under
            `DATASETS_PATH` when it is not where it says.
        layout: "kinetics", "charades", "folders" (class/video), "manifest", or "auto", which looks
            at what is there.
        split: "train", "val" or "test", where the set has several.
        classes: class names, index 0 first, or "kinetics400", "kinetics600" or "charades157". Pass
            those of the network that the labels are for; None takes the set's own.

    Raises:
        DataError: there is no such set, its lists are broken, or its classes are others.
        OptionError: no layout or set of classes has this name, or a manifest has no splits.
    """
    place = find_dataset(path)
    names = None if classes is None else read_classes(classes)
    if layout not in LAYOUTS:
        raise OptionError(f"cannot read the layout {layout!r}, expected {', '.join(LAYOUTS)}")
    chosen = _guess_layout(place) if layout == "auto" else layout
    annotation, root = (place, _find_root(place)) if place.is_file() else (None, place)
    if chosen == "kinetics":
        return open_kinetics(root, split, names, annotation)
    if chosen == "folders":
        return open_folders(root, split, names)
    if chosen == "charades":
        manifest = open_charades(root, split, annotation)
    elif split is None:
        manifest = read_manifest(place)
    else:
        raise OptionError(
            f"cannot take the split {split!r} of {place}: a manifest is one split; leave it out"
        )
    return manifest if names is None else relabel(manifest, names)


def _guess_layout(place: Path) -> Layout:
    if is_charades_annotation(place) or (place.is_dir() and list_charades_annotations(place)):
        return "charades"
    if is_kinetics_annotation(place) or (place.is_dir() and list_kinetics_annotations(place)):
        return "kinetics"
    return "manifest" if place.is_file() else "folders"


def _find_root(annotation: Path) -> Path:
    """The folder of a set, from one of its lists."""
    folder = annotation.parent
    while folder.name in LIST_FOLDERS:
        folder = folder.parent
    return folder


def relabel(manifest: Manifest, names: Sequence[str]) -> Manifest:
    """The same videos with labels that count another list of class names.

    Raises:
        DataError: a class of the manifest is not among the names.
    """
    if tuple(names) == manifest.class_names:
        return manifest
    index = ClassIndex(names)
    numbered = manifest.class_names == tuple(map(str, range(len(manifest.class_names))))
    if numbered and len(manifest.class_names) <= len(names):
        return Manifest(manifest.root, tuple(names), manifest.entries, manifest.multi_label)
    moved: list[int] = []
    for name in manifest.class_names:
        label = index.find(name)
        if label is None:
            raise DataError(
                f"cannot use the labels of {manifest.root}: got a class {name!r}, expected one of "
                f"{len(names)}, such as {names[0]!r}; choose a network with these classes"
            )
        moved.append(label)
    entries = tuple(_move_labels(entry, moved) for entry in manifest.entries)
    return Manifest(manifest.root, tuple(names), entries, manifest.multi_label)


def _move_labels(entry: VideoEntry, moved: Sequence[int]) -> VideoEntry:
    return replace(
        entry,
        labels=tuple(moved[label] for label in entry.labels),
        segments=tuple(replace(s, label=moved[s.label]) for s in entry.segments),
    )
