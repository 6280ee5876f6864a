"""`open_dataset`: a data set, whatever its layout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from co3d.datasets.layouts.charades import (
    is_charades_annotation,
    list_charades_annotations,
    open_charades,
)
from co3d.datasets.layouts.class_names import ClassIndex, read_classes
from co3d.datasets.layouts.diving48 import is_diving_list, open_diving
from co3d.datasets.layouts.epic_kitchens import is_epic_list, open_epic
from co3d.datasets.layouts.folders import open_folders
from co3d.datasets.layouts.hmdb51 import is_hmdb_list, open_hmdb51
from co3d.datasets.layouts.kinetics import (
    is_kinetics_annotation,
    list_kinetics_annotations,
    open_kinetics,
)
from co3d.datasets.layouts.lists import find_lists, open_lists
from co3d.datasets.layouts.shelf import Shelf
from co3d.datasets.layouts.something_something import is_something_list, open_something
from co3d.datasets.layouts.splits import (
    ALL,
    LIST_FOLDERS,
    take_judged_split,
    take_only_split,
    take_split,
)
from co3d.datasets.layouts.thumos14 import is_thumos_list, open_thumos
from co3d.datasets.layouts.ucf101 import is_ucf_list, open_ucf101
from co3d.datasets.layouts.unread import refuse_unread
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.manifest_file import is_manifest, read_manifest
from co3d.environment import find_dataset
from co3d.errors import DataError, OptionError


@dataclass(frozen=True)
class Request:
    """What is to be opened.

    Attributes:
        place: folder of the set, or one of its files.
        shelf: the folder of the set.
        split: that is asked for; None for all.
        classes: names, index 0 first; None for the set's own.
    """

    place: Path
    shelf: Shelf
    split: str | None
    classes: tuple[str, ...] | None

    @property
    def annotation(self) -> Path | None:
        """The annotation file that was named by its path."""
        return self.place if self.place.is_file() else None


@dataclass(frozen=True)
class Layout:
    """A way in which data sets lie on disk.

    Attributes:
        find_files: its annotation files under a folder.
        is_file: whether a file is one of them.
        open: the videos of all splits, or of the one that is asked for where others need not be
            read; given the annotation files.
        judged: the splits that networks are judged on, the preferred one first.
        needs_files: whether there is nothing to open without annotation files.
    """

    find_files: Callable[[Shelf], Sequence[Path]]
    is_file: Callable[[Path], bool]
    open: Callable[[Request, Sequence[Path]], Manifest]
    judged: tuple[str, ...] = ("test", "val")
    needs_files: bool = True


def _listed(
    is_file: Callable[[Path], bool],
    open_files: Callable[[Shelf, Sequence[Path], str | None], Manifest],
) -> Layout:
    """A layout of annotation files that are told one by one."""
    return Layout(
        lambda shelf: [path for path in shelf.texts if is_file(path)],
        is_file,
        lambda request, paths: open_files(request.shelf, paths, request.split),
    )


def _read_lists(request: Request, paths: Sequence[Path]) -> Manifest:
    if not request.annotation:
        refuse_unread(request.shelf, paths)
    return open_lists(request.shelf, paths)


def _read_manifest(_shelf: Shelf, paths: Sequence[Path], _split: str | None) -> Manifest:
    if len(paths) > 1:
        raise DataError(
            f"cannot tell which manifest is meant: got {', '.join(map(str, paths))}, expected one; "
            "give its path"
        )
    return read_manifest(paths[0])


_LAYOUTS = {
    "charades": Layout(
        lambda shelf: list_charades_annotations(shelf.root),
        is_charades_annotation,
        lambda r, _: open_charades(r.shelf.root, r.split, r.annotation),
        needs_files=False,
    ),
    "kinetics": Layout(
        lambda shelf: list_kinetics_annotations(shelf.root),
        is_kinetics_annotation,
        lambda r, _: open_kinetics(r.shelf.root, r.split, r.classes, r.annotation),
        judged=("val", "test"),
        needs_files=False,
    ),
    "something": _listed(is_something_list, open_something),
    "diving48": _listed(is_diving_list, open_diving),
    "ucf101": _listed(is_ucf_list, open_ucf101),
    "hmdb51": _listed(is_hmdb_list, open_hmdb51),
    "thumos14": _listed(is_thumos_list, open_thumos),
    "epic-verbs": _listed(is_epic_list, partial(open_epic, "verb")),
    "epic-nouns": _listed(is_epic_list, partial(open_epic, "noun")),
    "manifest": _listed(is_manifest, _read_manifest),
    "lists": Layout(find_lists, Path.is_file, _read_lists),
    "folders": Layout(
        lambda _: [],
        lambda _: False,
        lambda r, _: open_folders(r.shelf.root, r.classes),
        needs_files=False,
    ),
}
LAYOUTS = ("auto", *_LAYOUTS)


def open_dataset(
    path: Path,
    *,
    layout: str = "auto",
    split: str | None = None,
    classes: str | Sequence[str] | None = None,
) -> Manifest:
    """Find the videos of a data set and their labels.

    Args:
        path: folder of the set, its manifest, or one of its published lists; looked for under
            `DATASETS_PATH` when it is not where it says.
        layout: one of `LAYOUTS`; "auto" looks at what is there.
        split: "train", "val", "test" or another split of the set, or "all", which mixes them. None
            is for sets in one part.
        classes: class names, index 0 first, or "kinetics400", "kinetics600" or "charades157". Pass
            those of the network that the labels are for; None takes the set's own.

    Raises:
        DataError: there is no such set, its lists are broken or not understood, its classes are
            others, or it has several splits and none is named.
        OptionError: no layout or set of classes has this name, or the set has no splits.
    """
    whole, _ = _open(path, layout, None if split == ALL else split, classes)
    if split is None:
        return take_only_split(whole)
    return whole if split == ALL else take_split(whole, split)


def open_judged_split(
    path: Path, *, layout: str = "auto", classes: str | Sequence[str] | None = None
) -> tuple[Manifest, Manifest]:
    """Find the videos that networks are judged on: of sets with splits, those of one alone.

    That is "test", of Kinetics "val", or the other of the two where the labels of the first are
    unknown or none of its videos is there.

    Args:
        path, layout, classes: as for `open_dataset`.

    Returns:
        The videos to judge on, and those of the whole set.

    Raises:
        DataError, OptionError: as for `open_dataset`.
    """
    whole, order = _open(path, layout, None, classes)
    return take_judged_split(whole, order), whole


def _open(
    path: Path, layout: str, split: str | None, classes: str | Sequence[str] | None
) -> tuple[Manifest, tuple[str, ...]]:
    """The manifest of all splits, at least of the one asked for, and which are judged on."""
    place = find_dataset(path)
    names = None if classes is None else read_classes(classes)
    if layout not in LAYOUTS:
        raise OptionError(f"cannot read the layout {layout!r}, expected {', '.join(LAYOUTS)}")
    request = Request(place, Shelf(_find_root(place)), split, names)
    chosen, paths = _choose_layout(request, layout)
    if chosen.needs_files and not paths:
        raise DataError(
            f"cannot read {place} in the layout {layout!r}: got no annotation file of it; check "
            "the path and the layout"
        )
    manifest = chosen.open(request, paths)
    return manifest if names is None else relabel(manifest, names), chosen.judged


def _choose_layout(request: Request, name: str) -> tuple[Layout, Sequence[Path]]:
    """The layout of that name, or the first that fits, with its annotation files.

    That is the one whose file is named by its path, or lies in the folder.
    """
    named = [request.annotation] if request.annotation else None
    if name != "auto":
        layout = _LAYOUTS[name]
        return layout, named or layout.find_files(request.shelf)
    if named:
        return next(one for one in _LAYOUTS.values() if one.is_file(request.place)), named
    for layout in _LAYOUTS.values():
        if paths := layout.find_files(request.shelf):
            return layout, paths
    refuse_unread(request.shelf)
    return _LAYOUTS["folders"], []


def _find_root(place: Path) -> Path:
    """The folder of a set, from one of its lists."""
    if place.is_dir():
        return place
    folder = place.parent
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
