"""Where on disk a video lies that a list names by part of its path, or by its id alone."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from co3d.datasets.layouts.found_videos import FoundVideo, search
from co3d.datasets.layouts.list_rows import Row
from co3d.datasets.layouts.splits import find_folder_split, find_split
from co3d.datasets.text_lines import Line, is_too_long


class Shelf:
    """The videos under a folder, found by the ends of their paths.

    Attributes:
        list_rows: rows of the lists that were read, by path: each is read once.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.list_rows: dict[Path, list[Row]] = {}

    @cached_property
    def _found(self) -> tuple[list[FoundVideo], list[Path]]:
        return search(self.root)

    @property
    def videos(self) -> list[FoundVideo]:
        """All of them, in order of their paths."""
        return self._found[0]

    @property
    def texts(self) -> list[Path]:
        """Text files beside them that may be lists, in order of their paths."""
        return self._found[1]

    def find_list_split(self, path: Path) -> str | None:
        """The split that a list's name speaks of, or the folder that it lies in."""
        folders = path.parent.relative_to(self.root).parts if path.is_relative_to(self.root) else ()
        return find_split(path.stem) or find_folder_split(folders)

    @cached_property
    def _by_name(self) -> dict[str, list[FoundVideo]]:
        shelf: dict[str, list[FoundVideo]] = defaultdict(list)
        for video in self.videos:
            file_name = video.path.rpartition("/")[2]
            for name in {file_name, video.name, file_name.partition(".")[0]}:
                shelf[name].append(video)
        return shelf

    def find(
        self, path: str, beside: Path, split: str | None, line: Line, *, is_folder: bool = False
    ) -> str | None:
        """The path, relative to the root, of the video that a list means; None where it is absent.

        Args:
            path: as the list has it: relative to the list's folder, to another folder of the set,
                or a name without folders and suffix.
            beside: folder of the list. split: that the row belongs to.
            line: of the list, which complains where several videos are meant alike.
            is_folder: whether a folder of frames is meant, and no file.
        """
        direct = beside / PurePosixPath(path)
        if is_too_long(path):
            return None
        exists = direct.is_dir() if is_folder else direct.exists()
        if exists and direct.is_relative_to(self.root):
            return direct.relative_to(self.root).as_posix()
        parts = PurePosixPath(path).parts
        near = beside.relative_to(self.root).parts if beside.is_relative_to(self.root) else ()
        # A relative path must be the whole end of the video's; of one from another machine, whose
        # folders are called otherwise, at least the file's own folder.
        needed = 1 if PurePosixPath(path).is_absolute() else len(parts) - 1
        named = [v for v in self._by_name.get(parts[-1], []) if v.is_folder or not is_folder]
        found = [(self._rank(video, parts, near, split), video.path) for video in named]
        ranked = [(rank, name) for rank, name in found if rank[0] >= needed]
        best = [video for rank, video in ranked if rank == max(ranked)[0]]
        if len(best) > 1:
            line.refuse(path, f"a path that tells {best[0]} from {best[1]}")
        return best[0] if best else None

    def _rank(
        self, video: FoundVideo, parts: Sequence[str], near: Sequence[str], split: str | None
    ) -> tuple[int, bool, int]:
        """How well a video fits: folders that agree, its split, folders shared with the list."""
        alike = _count_alike(video.parents[::-1], parts[-2::-1])
        is_of_split = split is not None and split in map(find_split, video.parents)
        return alike, is_of_split, _count_alike(video.parents, near)


def _count_alike(left: Sequence[str], right: Sequence[str]) -> int:
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count
