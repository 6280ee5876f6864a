"""`open_dataset`: open a data set of any layout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from co3d.datasets.layouts.charades import (
    is_charades_annotation,
    list_charades_annotations,
    open_charades,
)
from co3d.datasets.layouts.class_names import read_classes
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
from co3d.datasets.layouts.renaming import keep_classes, name_classes, relabel
from co3d.datasets.layouts.something_something import is_something_list, open_something
from co3d.datasets.layouts.splits import (
    ALL,
    LIST_FOLDERS,
    take_evaluation_split,
    take_only_split,
    take_split,
)
from co3d.datasets.layouts.thumos14 import is_thumos_list, open_thumos
from co3d.datasets.layouts.tvseries import is_tvseries_list, open_tvseries
from co3d.datasets.layouts.ucf101 import is_ucf_list, open_ucf101
from co3d.datasets.layouts.unread import refuse_unread
from co3d.datasets.layouts.video_finder import VideoFinder
from co3d.datasets.manifest import Manifest
from co3d.datasets.manifest_file import is_manifest, read_manifest
from co3d.environment import find_dataset
from co3d.errors import DataError, OptionError


@dataclass(frozen=True)
class Request:
    """The data set to open.

    Attributes:
        place: folder of the set, or one of its files.
        finder: of the videos in the set's folder.
        split: the requested one; None for all.
        classes: names, index 0 first; None for the set's own.
    """

    place: Path
    finder: VideoFinder
    split: str | None
    classes: tuple[str, ...] | None

    @property
    def annotation(self) -> Path | None:
        """The annotation file that was named by its path."""
        return self.place if self.place.is_file() else None


@dataclass(frozen=True)
class Layout:
    """A layout of data sets on disk.

    Attributes:
        find_files: its annotation files under a folder.
        is_file: whether a file is one of them.
        open: the videos of all splits, or at least of the requested one, from the annotation
            files.
        evaluation_splits: the splits on which networks are evaluated, the preferred one first.
        needs_files: whether it cannot be opened without annotation files.
    """

    find_files: Callable[[VideoFinder], Sequence[Path]]
    is_file: Callable[[Path], bool]
    open: Callable[[Request, Sequence[Path]], Manifest]
    evaluation_splits: tuple[str, ...] = ("test", "val")
    needs_files: bool = True


def _listed(
    is_file: Callable[[Path], bool],
    open_files: Callable[[VideoFinder, Sequence[Path], str | None], Manifest],
) -> Layout:
    """A layout whose annotation files are recognised one by one."""
    return Layout(
        lambda finder: [path for path in finder.texts if is_file(path)],
        is_file,
        lambda request, paths: open_files(request.finder, paths, request.split),
    )


def _read_lists(request: Request, paths: Sequence[Path]) -> Manifest:
    if not request.annotation:
        refuse_unread(request.finder, paths)
    return open_lists(request.finder, paths)


def _read_manifest(finder: VideoFinder, paths: Sequence[Path], _split: str | None) -> Manifest:
    if len(paths) > 1:
        raise DataError(
            f"cannot tell which manifest is meant: got {', '.join(map(str, paths))}, expected one; "
            "give its path"
        )
    manifest = read_manifest(paths[0])
    return replace(manifest, root=finder.root) if finder.is_apart else manifest


_LAYOUTS = {
    "charades": Layout(
        lambda finder: list_charades_annotations(finder.lists_root),
        is_charades_annotation,
        lambda r, paths: open_charades(r.finder, r.split, paths),
        needs_files=False,
    ),
    "kinetics": Layout(
        lambda finder: list_kinetics_annotations(finder.lists_root),
        is_kinetics_annotation,
        lambda r, paths: open_kinetics(r.finder.root, r.split, r.classes, paths),
        evaluation_splits=("val", "test"),
        needs_files=False,
    ),
    "something": _listed(is_something_list, open_something),
    "diving48": _listed(is_diving_list, open_diving),
    "ucf101": _listed(is_ucf_list, open_ucf101),
    "hmdb51": _listed(is_hmdb_list, open_hmdb51),
    "thumos14": _listed(is_thumos_list, open_thumos),
    "tvseries": _listed(is_tvseries_list, open_tvseries),
    "epic-verbs": _listed(is_epic_list, partial(open_epic, "verb")),
    "epic-nouns": _listed(is_epic_list, partial(open_epic, "noun")),
    "manifest": _listed(is_manifest, _read_manifest),
    "lists": Layout(find_lists, Path.is_file, _read_lists),
    "folders": Layout(
        lambda _: [],
        lambda _: False,
        lambda r, _: open_folders(r.finder.root, r.classes),
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
    root: Path | None = None,
    labels: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
) -> Manifest:
    """Find the videos of a data set and their labels.

    Args:
        path: folder of the set, its manifest, or one of its published lists; searched under
            `DATASETS_PATH` if it does not exist.
        layout: one of `LAYOUTS`; "auto" detects it.
        split: "train", "val", "test" or another split of the set, or "all", which mixes them. None
            is for sets without splits.
        classes: class names, index 0 first, or "kinetics400", "kinetics600", "kinetics700" or
            "charades157". Pass those of the network that the labels are for; None takes the set's
            own.
        root: folder of the videos, if the lists are elsewhere: relative paths start there, and
            absolute paths of another machine are matched there by their ends.
        labels: class names for a set that only has indices, index 0 first.
        only: names of the classes to keep; None keeps all.
        only: names of the classes to keep; None keeps all.

    Raises:
        DataError: there is no such set, its lists are broken or not understood, it has other
            classes, or it has several splits and none is named.
        OptionError: no layout or set of classes has this name, the set has no splits, or its
            classes already have names.
    """
    source = Source(path, layout, root, labels, only)
    whole, _ = _open(source, None if split == ALL else split, classes)
    if split is None:
        return take_only_split(whole)
    return whole if split == ALL else take_split(whole, split)


def open_evaluation_split(
    path: Path,
    *,
    layout: str = "auto",
    classes: str | Sequence[str] | None = None,
    root: Path | None = None,
    labels: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
) -> tuple[Manifest, Manifest]:
    """Open the videos on which networks are evaluated: one split of a set with splits.

    It is "test", or "val" for Kinetics; or the other of the two if the labels of the first are
    unknown or none of its videos is on disk.

    Args:
        path, layout, classes, root, labels, only: as for `open_dataset`.

    Returns:
        The videos for evaluation, and those of the whole set.

    Raises:
        DataError, OptionError: as for `open_dataset`.
    """
    whole, order = _open(Source(path, layout, root, labels, only), None, classes)
    return take_evaluation_split(whole, order), whole


@dataclass(frozen=True)
class Source:
    """The path and options of a data set; see `open_dataset`."""

    path: Path
    layout: str
    root: Path | None
    labels: Sequence[str] | None
    only: Sequence[str] | None


def _open(
    source: Source, split: str | None, classes: str | Sequence[str] | None
) -> tuple[Manifest, tuple[str, ...]]:
    """The manifest of at least the requested split, and the order of evaluation splits."""
    place = find_dataset(source.path)
    names = None if classes is None else read_classes(classes)
    layout = source.layout
    if layout not in LAYOUTS:
        raise OptionError(f"cannot read the layout {layout!r}, expected {', '.join(LAYOUTS)}")
    # Classes are selected before relabelling, because the network may lack the others.
    given = names if source.only is None else None
    request = Request(place, _open_finder(source, place), split, given)
    chosen, paths = _choose_layout(request, layout)
    if not paths and (chosen.needs_files or source.root is not None):
        raise DataError(
            f"cannot read {place} in the layout {layout!r}: got no annotation file of it; check "
            "the path and the layout"
        )
    manifest = chosen.open(request, paths)
    if source.labels is not None:
        manifest = name_classes(manifest, source.labels)
    if source.only is not None:
        manifest = keep_classes(manifest, source.only)
    return manifest if names is None else relabel(manifest, names), chosen.evaluation_splits


def _open_finder(source: Source, place: Path) -> VideoFinder:
    """The videos beside the lists, or in another folder."""
    if source.root is None:
        return VideoFinder(_find_root(place))
    root = find_dataset(source.root)
    if not root.is_dir():
        raise OptionError(f"cannot look for videos in {root}: it is no folder; name their folder")
    return VideoFinder(root, _find_root(place))


def _choose_layout(request: Request, name: str) -> tuple[Layout, Sequence[Path]]:
    """The layout of that name, or the first that fits, with its annotation files.

    A layout fits if the path is one of its files, or if its files are in the folder.
    """
    named = [request.annotation] if request.annotation else None
    if name != "auto":
        layout = _LAYOUTS[name]
        return layout, named or layout.find_files(request.finder)
    if named:
        return next(one for one in _LAYOUTS.values() if one.is_file(request.place)), named
    for layout in _LAYOUTS.values():
        if paths := layout.find_files(request.finder):
            return layout, paths
    refuse_unread(request.finder)
    return _LAYOUTS["folders"], []


def _find_root(place: Path) -> Path:
    """The folder of a set, from the path of one of its lists."""
    if place.is_dir():
        return place
    folder = place.parent
    while folder.name in LIST_FOLDERS:
        folder = folder.parent
    return folder
