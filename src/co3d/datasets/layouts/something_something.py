"""Something-Something V2: published JSON lists, beside videos named by their numbers."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from co3d.datasets.layouts.json_files import has_head, read_json
from co3d.datasets.layouts.splits import choose_annotations
from co3d.datasets.layouts.video_finder import VideoFinder
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.text_lines import Line, check_relative, number_ids

ITEM = re.compile(rb'\s*\[\s*\{[^}]*"id"')
OTHER = re.compile(rb'\s*\[\s*\{[^}]*"(file_?name|path|video|video_?path|video_?id)"')
VIDEOS = "20bn-something-something-v2"


def is_something_list(path: Path) -> bool:
    """Whether a file begins like a published list: objects with "id", and no file paths."""
    return has_head(path, ITEM) and not has_head(path, OTHER)


def open_something(finder: VideoFinder, paths: Sequence[Path], split: str | None) -> Manifest:
    """The videos of the published lists; a class is a template without its brackets.

    Classes are numbered by the published `labels.json` if it is beside the lists, else by their
    names. Videos of the test list have no label.

    Args:
        finder: of the videos in the set's folder. paths: its lists. split: whose list is read; None
            reads all.

    Raises:
        DataError: a list is broken.
    """
    items: list[tuple[Line, str, str, str | None]] = []
    for path, named in choose_annotations(finder.root, paths, split):
        whole = Line(path, 1, "")
        for item in read_json(path, list):
            video_id, template = _read_item(whole, item)
            items.append((whole, video_id, template, named))
    names = _read_names(finder, paths) or tuple(sorted({name for _, _, name, _ in items if name}))
    index_of = {name: index for index, name in enumerate(names)}
    entries = []
    ids = number_ids(video_id for _, video_id, _, _ in items)
    for unique_id, (whole, video_id, name, named) in zip(ids, items, strict=True):
        if name and name not in index_of:
            whole.refuse(name, f"one of the {len(names)} templates of the labels")
        found = finder.find(video_id, whole.path.parent, named, whole)
        path = found or check_relative(whole, f"{VIDEOS}/{video_id}.webm")
        labels = (index_of[name],) if name else ()
        entries.append(VideoEntry(unique_id, path, labels, split=named))
    return Manifest(finder.root, names, tuple(entries))


def _read_item(whole: Line, item: Any) -> tuple[str, str]:
    video_id = item.get("id") if isinstance(item, dict) else None
    if not isinstance(video_id, (str, int)) or isinstance(video_id, bool) or "/" in str(video_id):
        whole.refuse(item, 'objects with an "id"')
    template = item.get("template", "")
    if not isinstance(template, str) or ("template" not in item and set(item) != {"id"}):
        whole.refuse(item, 'a string as "template"')
    return str(video_id), _name_class(template)


def _name_class(template: str) -> str:
    return re.sub(r"[\[\]]", "", template)


def _read_names(finder: VideoFinder, paths: Sequence[Path]) -> tuple[str, ...]:
    """Class names from the published label file; none if it is not beside the lists."""
    folders = {path.parent for path in paths}
    for path in finder.texts:
        if path.parent in folders and path.stem.endswith("labels") and path.suffix == ".json":
            values = read_json(path, dict)
            whole = Line(path, 1, "")
            numbers = [int(value) if str(value).isdecimal() else -1 for value in values.values()]
            if sorted(numbers) != list(range(len(numbers))):
                whole.refuse(numbers, f"every number from 0 to {len(numbers) - 1} once")
            return tuple(_name_class(name) for name in sorted(values, key=lambda n: int(values[n])))
    return ()
