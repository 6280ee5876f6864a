"""Multi-label sets whose published lists give the times of actions."""

from collections import defaultdict
from collections.abc import Sequence

from co3d.datasets.layouts.splits import name_split
from co3d.datasets.layouts.video_finder import VideoFinder
from co3d.datasets.manifest import Manifest, Segment, VideoEntry
from co3d.datasets.text_lines import Line


class TimedActions:
    """Collects the actions of a multi-label set from its lists.

    Args:
        finder: of the videos in the set's folder. names: of its classes, index 0 first.
    """

    def __init__(self, finder: VideoFinder, names: Sequence[str]) -> None:
        self._shelf, self.names = finder, tuple(names)
        self._segments: dict[str, list[Segment]] = defaultdict(list)
        self._splits: dict[str, str | None] = {}
        self._places: dict[str, str] = {}

    def add(
        self, line: Line, video: str, split: str | None, label: int, times: tuple[float, float]
    ) -> None:
        """Add an action of a list.

        Args:
            line: of the list. video: its name without suffix. split: as it is written.
            label: index of the class. times: start and end in seconds.

        Raises:
            DataError: it ends before it starts, or the video is of another split, too.
        """
        start_seconds, end_seconds = times
        if end_seconds < start_seconds:
            line.refuse(line.text, "an end after the start")
        split = None if split is None else name_split(split)
        if self._splits.setdefault(video, split) != split:
            line.refuse(video, f"a video of the split {split} alone: {self._splits[video]} has it")
        self._segments[video].append(Segment(label, start_seconds, end_seconds))
        if video not in self._places:
            found = self._shelf.find(video, line.path.parent, split, line)
            self._places[video] = found or f"{video}.mp4"

    def to_manifest(self, split: str | None) -> Manifest:
        """The videos of a split, or of all; videos without actions are in no list."""
        entries = tuple(
            VideoEntry(
                video_id=video,
                path=self._places[video],
                labels=tuple(sorted({segment.label for segment in segments})),
                segments=tuple(sorted(segments, key=lambda s: (s.start_seconds, s.label))),
                split=self._splits[video],
            )
            for video, segments in sorted(self._segments.items())
            if split is None or self._splits[video] == name_split(split)
        )
        return Manifest(self._shelf.root, self.names, entries, multi_label=True)
