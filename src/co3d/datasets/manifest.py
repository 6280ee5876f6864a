"""Manifests: the videos of a data set, and their labels.

On disk a manifest is JSONL: a header line, then a line a video, with paths relative to a root.

    {"format": "co3d manifest", "version": 1, "root": ".", "class_names": ["run", "swim"],
     "multi_label": false}
    {"video_id": "a", "path": "run/a.mp4", "labels": [0]}
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

from co3d.files import output_file

FORMAT, VERSION = "co3d manifest", 1


@dataclass(frozen=True)
class Segment:
    """When a class happens in a video of a multi-label set.

    Attributes:
        label: index of the class.
        start_seconds, end_seconds: from the first frame of the video.
    """

    label: int
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class VideoEntry:
    """One video of a data set.

    Attributes:
        video_id: unique in the manifest.
        path: video file or folder of frames, relative to the manifest's root.
        labels: class indices: one in single-label sets; empty when unknown or when nothing happens.
        start_seconds, end_seconds: the part of the file that belongs to the set, counted from its
            first frame; None for its own start or end.
        segments: when the classes of a multi-label set happen.
        rate_hz: frames per second of a folder of frames, which carries no time.
        split: "train", "val", "test" or another part of the set; None if it has no splits.
        source: name of the longer video that it was cut from; entries that share one must not be on
            both sides of a division. None where only file names may tell.
    """

    video_id: str
    path: str
    labels: tuple[int, ...]
    start_seconds: float | None = None
    end_seconds: float | None = None
    segments: tuple[Segment, ...] = ()
    rate_hz: float | None = None
    split: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The videos of a data set.

    Attributes:
        root: folder that the entries' paths start from.
        class_names: index 0 first.
        entries: the videos.
        multi_label: whether a video may show several classes, or none.
    """

    root: Path
    class_names: tuple[str, ...]
    entries: tuple[VideoEntry, ...]
    multi_label: bool = False

    @property
    def splits(self) -> dict[str | None, int]:
        """Splits in the order of their names -> how many videos each has; None: in no split."""
        counts = Counter(entry.split for entry in self.entries)
        return {split: counts[split] for split in sorted(counts, key=lambda name: name or "")}

    def take_split(self, split: str | None) -> "Manifest":
        """The same classes with the videos of one split."""
        return replace(self, entries=tuple(e for e in self.entries if e.split == split))

    def count_labels(self) -> dict[str, int]:
        """Class name -> number of videos with it, for classes that occur."""
        counts = Counter(label for entry in self.entries for label in entry.labels)
        return {self.class_names[label]: counts[label] for label in sorted(counts)}

    def resolve(self, entry: VideoEntry) -> Path:
        """The path of an entry's video."""
        return self.root / PurePosixPath(entry.path)

    def save(self, path: Path) -> None:
        """Write the manifest as JSONL, completely or not at all.

        The root is written relative to `path` if it is beside or below it.

        Raises:
            OutputError: the file cannot be written.
        """
        header = {
            "format": FORMAT,
            "version": VERSION,
            "root": _shorten(self.root, path.parent),
            "class_names": list(self.class_names),
            "multi_label": self.multi_label,
        }
        with (
            output_file(path) as temporary,
            temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
        ):
            file.write(json.dumps(header, ensure_ascii=False) + "\n")
            for entry in self.entries:
                file.write(json.dumps(_as_dict(entry), ensure_ascii=False) + "\n")


def _as_dict(entry: VideoEntry) -> dict[str, Any]:
    """The fields of an entry that differ from their defaults."""
    values = asdict(entry)
    return {
        field.name: values[field.name]
        for field in fields(VideoEntry)
        if field.name in ("video_id", "path", "labels") or values[field.name] != field.default
    }


def _shorten(root: Path, folder: Path) -> str:
    absolute, base = root.resolve(), folder.resolve()
    return (absolute.relative_to(base) if absolute.is_relative_to(base) else absolute).as_posix()
