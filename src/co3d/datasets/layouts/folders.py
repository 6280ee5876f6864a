"""A generic layout: folder/class/video, or folder/split/class/video."""

from collections.abc import Sequence
from pathlib import Path

from co3d.datasets.layouts.class_names import ClassIndex, merge_spellings
from co3d.datasets.layouts.found_videos import FoundVideo, find_videos
from co3d.datasets.layouts.splits import find_folder_split
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.text_lines import number_ids
from co3d.errors import DataError


def open_folders(root: Path, classes: Sequence[str] | None) -> Manifest:
    """Videos whose class is the name of their folder.

    Args:
        root: folder with a folder per class, or per split and class.
        classes: class names, index 0 first; None takes the folders' names in order.

    Raises:
        DataError: no such video is found, or a folder's name is not a class.
    """
    videos = [video for video in find_videos(root) if video.parents]
    if not videos:
        raise DataError(
            f"cannot find a data set in {root}: got no video in a folder of its own, expected "
            "folder/class/video; check the path and the layout"
        )
    found = sorted({video.parents[-1] for video in videos})
    names = classes or merge_spellings(found)
    index = ClassIndex(names)
    if classes is None and all(find_folder_split([name]) for name in found):
        raise DataError(
            f"cannot label the videos of {root}: got folders of splits ({', '.join(found)}) with "
            "videos directly in them, expected split/class/video or a list of labels; move them, "
            "or write a list of path,label"
        )
    entries = tuple(
        VideoEntry(
            video_id,
            video.path,
            (_label(root, video, index),),
            split=find_folder_split(video.parents[:-1]),
        )
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
