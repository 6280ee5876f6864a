"""Find a video on disk that a list names by part of its path, or by its id alone."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from co3d.datasets.layouts.found_videos import FoundVideo, search
from co3d.datasets.layouts.list_rows import Row
from co3d.datasets.layouts.splits import find_folder_split, find_split
from co3d.datasets.text_lines import Line, is_too_long


class VideoFinder:
    """The videos under a folder, found by the ends of their paths.

    Attributes:
        list_rows: rows of the lists that were read, by path, so that each is read once.

    Args:
        root: the folder. lists_root: folder of the lists, if they are not in it.
    """

    def __init__(self, root: Path, lists_root: Path | None = None) -> None:
        self.root = root
        self.lists_root = lists_root or root
        self.is_apart = lists_root is not None
        self.list_rows: dict[Path, list[Row]] = {}

    @cached_property
    def _found(self) -> tuple[list[FoundVideo], list[Path]]:
        return search(self.root)

    @property
    def videos(self) -> list[FoundVideo]:
        """All videos, in order of their paths."""
        return self._found[0]

    @property
    def texts(self) -> list[Path]:
        """Text files beside the videos or in `lists_root` that may be lists, by path."""
        return self._texts if self.is_apart else self._found[1]

    @cached_property
    def _texts(self) -> list[Path]:
        return search(self.lists_root)[1]

    def find_list_split(self, path: Path) -> str | None:
        """The split that a list's name or folder contains."""
        root = self.lists_root
        folders = path.parent.relative_to(root).parts if path.is_relative_to(root) else ()
        return find_split(path.stem) or find_folder_split(folders)

    @cached_property
    def _by_name(self) -> dict[str, list[FoundVideo]]:
        finder: dict[str, list[FoundVideo]] = defaultdict(list)
        for video in self.videos:
            file_name = video.path.rpartition("/")[2]
            for name in {file_name, video.name, file_name.partition(".")[0]}:
                finder[name].append(video)
        return finder

    def find(
        self, path: str, beside: Path, split: str | None, line: Line, *, is_folder: bool = False
    ) -> str | None:
        """The path, relative to the root, of the video in a list; None if it is absent.

        Args:
            path: as written: relative to the list's folder or to another folder of the set, or a
                name without folders and suffix.
            beside: folder of the list. split: of the row.
            line: of the list; raises if several videos match equally well.
            is_folder: whether to find a folder of frames, not a file.
        """
        direct = (self.root if self.is_apart else beside) / PurePosixPath(path)
        if is_too_long(path):
            return None
        exists = direct.is_dir() if is_folder else direct.exists()
        if exists and direct.is_relative_to(self.root):
            return direct.relative_to(self.root).as_posix()
        parts = PurePosixPath(path).parts
        near = beside.relative_to(self.root).parts if beside.is_relative_to(self.root) else ()
        # A relative path must match the end of the video's path completely. Of a path from another
        # machine, at least the file's own folder must match, if the videos are in folders.
        is_absolute = PurePosixPath(path).is_absolute()
        needed = 1 if is_absolute else len(parts) - 1
        named = [v for v in self._by_name.get(parts[-1], []) if v.is_folder or not is_folder]
        found = [(self._rank(video, parts, near, split), video) for video in named]
        ranked = [
            (rank, video.path)
            for rank, video in found
            if rank[0] >= needed or (self.is_apart and is_absolute and not video.parents)
        ]
        best = [video for rank, video in ranked if rank == max(ranked)[0]]
        if len(best) > 1:
            line.refuse(path, f"a path that tells {best[0]} from {best[1]}")
        return best[0] if best else None

    @cached_property
    def _above(self) -> tuple[str, ...]:
        """Names of the folders above the videos, used if the user named the root."""
        return self.root.resolve().parts if self.is_apart else ()

    def _rank(
        self, video: FoundVideo, parts: Sequence[str], near: Sequence[str], split: str | None
    ) -> tuple[int, bool, int]:
        """How well a video fits: matching folders, its split, folders shared with the list."""
        folders = (*self._above, *video.parents)
        alike = _count_alike(folders[::-1], parts[-2::-1])
        is_of_split = split is not None and split in map(find_split, video.parents)
        return alike, is_of_split, _count_alike(video.parents, near)


def _count_alike(left: Sequence[str], right: Sequence[str]) -> int:
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count
