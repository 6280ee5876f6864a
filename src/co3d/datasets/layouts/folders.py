"""A generic set: folder/class/video, or folder/split/class/video."""

from collections.abc import Sequence
from pathlib import Path

from co3d.datasets.layouts.class_names import ClassIndex
from co3d.datasets.layouts.found_videos import FoundVideo, find_videos
from co3d.datasets.layouts.splits import is_split
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.manifest_file import number_ids
from co3d.errors import DataError


def open_folders(root: Path, split: str | None, classes: Sequence[str] | None) -> Manifest:
    """Videos whose class is the name of the folder that they lie in.

    Args:
        root: folder with a folder per class, or per split and class.
        split: the folder to take; None takes all.
        classes: class names, index 0 first; None takes the folders' names in order.

    Raises:
        DataError: there is no video in such a place, or a folder is named after no class.
    """
    videos = [video for video in find_videos(root) if video.parents]
    if split is not None:
        videos = [video for video in videos if any(is_split(name, split) for name in video.parents)]
    if not videos:
        inside = f" in a split {split!r}" if split else ""
        raise DataError(
            f"cannot find a data set in {root}: got no video{inside}, expected folder/class/video; "
            "check the path and the layout"
        )
    names = classes or sorted({video.parents[-1] for video in videos})
    index = ClassIndex(names)
    entries = tuple(
        VideoEntry(video_id, video.path, (_label(root, video, index),))
        for video_id, video in zip(
            number_ids(video.path.rsplit(".", 1)[0] for video in videos), videos, strict=True
        )
    )
    return Manifest(root, tuple(names), entries)


def _label(root: Path, video: FoundVideo, index: ClassIndex) -> int:
    label = index.find(video.parents[-1])
    if label is None:
        raise DataError(
            f"cannot label {root / video.path}: got a folder {video.parents[-1]!r}, expected the "
            f"name of one of {len(index.names)} classes, such as {index.names[0]!r}; move it, or "
            "name other classes"
        )
    return label
