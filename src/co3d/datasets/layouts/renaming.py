"""Class names of a data set: name numbered classes, keep a part of them, reorder them."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from co3d.datasets.layouts.class_names import ClassIndex
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.errors import DataError, OptionError
from co3d.printable import list_first

_LOG = logging.getLogger("co3d")


def is_numbered(manifest: Manifest) -> bool:
    """Whether the classes have no names, because a list gave only indices."""
    return manifest.class_names == tuple(map(str, range(len(manifest.class_names))))


def name_classes(manifest: Manifest, names: Sequence[str]) -> Manifest:
    """The same videos with names for their numbered classes.

    Args:
        manifest: of a list of indices.
        names: index 0 first; there may be more than the videos show.

    Raises:
        OptionError: the classes already have names. DataError: there are more classes than names.
    """
    if not is_numbered(manifest):
        raise OptionError(
            f"cannot name the classes of {manifest.root}: got a set whose classes have names "
            f"({list_first(manifest.class_names)}); leave the names out"
        )
    if len(manifest.class_names) > len(names):
        raise DataError(
            f"cannot name the classes of {manifest.root}: got {len(names)} names and an index "
            f"{len(manifest.class_names) - 1}, expected a name for each index from 0 on; give the "
            "names of this data set"
        )
    return replace(manifest, class_names=tuple(names))


def keep_classes(manifest: Manifest, names: Sequence[str]) -> Manifest:
    """The videos of some of the classes, which are renumbered in the order of these names.

    Videos of a multi-label set stay, without the removed labels.

    Raises:
        DataError: the set has no class of such a name, or no video of these classes.
    """
    index = ClassIndex(manifest.class_names)
    found = [index.find(name) for name in names]
    absent = [name for name, label in zip(names, found, strict=True) if label is None]
    if absent or len(set(found)) < len(found):
        what = f"no class {list_first(absent)}" if absent else "a class twice"
        raise DataError(
            f"cannot take a part of {manifest.root}: got {what}, expected different ones of its "
            f"{len(manifest.class_names)} classes, such as {manifest.class_names[0]!r}; check the "
            "names"
        )
    moved = {label: place for place, label in enumerate(found) if label is not None}
    entries = tuple(
        _move_labels(entry, moved)
        for entry in manifest.entries
        if manifest.multi_label or any(label in moved for label in entry.labels)
    )
    if not entries:
        raise DataError(
            f"cannot take a part of {manifest.root}: got no video of {list_first(names)}; check "
            "the names and the split"
        )
    kept = tuple(manifest.class_names[label] for label in moved)
    return Manifest(manifest.root, kept, entries, manifest.multi_label)


def relabel(manifest: Manifest, names: Sequence[str]) -> Manifest:
    """The same videos with labels that are indices into another list of class names.

    Indices of a set without class names are used unchanged; a warning says so if the set has fewer.

    Raises:
        DataError: a class of the manifest is not among the names.
    """
    if tuple(names) == manifest.class_names:
        return manifest
    count = len(manifest.class_names)
    if is_numbered(manifest) and count <= len(names):
        if count < len(names):
            _LOG.warning(
                "%s names no classes: its indices 0 to %d are taken as those of the network's %d; "
                "--labels FILE gives the set's own names",
                manifest.root,
                count - 1,
                len(names),
            )
        return replace(manifest, class_names=tuple(names))
    index = ClassIndex(names)
    moved: dict[int, int] = {}
    for own, name in enumerate(manifest.class_names):
        label = index.find(name)
        if label is None:
            raise DataError(
                f"cannot use the labels of {manifest.root}: got a class {name!r}, expected one of "
                f"{len(names)}, such as {names[0]!r}; choose a network with these classes, or "
                "leave the class out (--only)"
            )
        moved[own] = label
    entries = tuple(_move_labels(entry, moved) for entry in manifest.entries)
    return Manifest(manifest.root, tuple(names), entries, manifest.multi_label)


def _move_labels(entry: VideoEntry, moved: dict[int, int]) -> VideoEntry:
    """The entry with its labels mapped by `moved`; other labels are dropped."""
    return replace(
        entry,
        labels=tuple(moved[label] for label in entry.labels if label in moved),
        segments=tuple(
            replace(s, label=moved[s.label]) for s in entry.segments if s.label in moved
        ),
    )
