"""Find the problems of each entry from its examination, and make a manifest without them."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from co3d.datasets.examination import Examination
from co3d.datasets.layouts.class_names import ClassIndex
from co3d.datasets.manifest import Manifest, VideoEntry

Kind = Literal[
    "missing",
    "unreadable",
    "zero-frame",
    "truncated",
    "mislabelled",
    "duplicate",
    "wrong-duration",
]
KINDS: tuple[Kind, ...] = (
    "missing",
    "unreadable",
    "zero-frame",
    "truncated",
    "mislabelled",
    "duplicate",
    "wrong-duration",
)
HARMLESS: frozenset[Kind] = frozenset({"wrong-duration"})
"""Problems whose entries stay in the clean manifest: they can be read, and their labels are
right."""

TIMES_IN_NAME = re.compile(r"_(\d{6})_(\d{6})$")
SLACK_SECONDS, SLACK_SHARE = 0.5, 0.1


@dataclass(frozen=True)
class Problem:
    """Something wrong with an entry.

    Attributes:
        video_id, path: of the entry.
        kind: one of `KINDS`.
        detail: got versus expected.
    """

    video_id: str
    path: str
    kind: Kind
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """The problems of a data set.

    Attributes:
        problems: in the order of the manifest; an entry may have several.
        clean: the manifest without harmful entries.
        lost_by_class: class name -> share of its entries that the clean manifest lacks.
    """

    problems: tuple[Problem, ...]
    clean: Manifest
    lost_by_class: dict[str, float]


def diagnose(manifest: Manifest, found: Mapping[str, Examination]) -> Diagnosis:
    """Find problems of a manifest's entries from the examinations of their files.

    Entries with the same content but different labels are all mislabelled, and so are entries in a
    folder named after another class. Further entries with the same content, labels and times are
    duplicates; the first one is kept.
    """
    index = ClassIndex(manifest.class_names)
    copies_of: dict[tuple[object, ...], list[VideoEntry]] = defaultdict(list)
    for entry in manifest.entries:
        if content := found[entry.path].content:
            copies_of[content, entry.start_seconds, entry.end_seconds].append(entry)
    problems: list[Problem] = []
    for entry in manifest.entries:
        seen = found[entry.path]
        copies = copies_of.get((seen.content, entry.start_seconds, entry.end_seconds), [])
        problems += (
            Problem(entry.video_id, entry.path, kind, detail)
            for kind, detail in (
                *_judge_file(entry, seen),
                *_judge_label(entry, manifest, index, copies),
            )
        )
    harmed = {problem.video_id for problem in problems if problem.kind not in HARMLESS}
    kept = tuple(entry for entry in manifest.entries if entry.video_id not in harmed)
    return Diagnosis(
        tuple(problems), replace(manifest, entries=kept), _share_losses(manifest, harmed)
    )


def _judge_file(entry: VideoEntry, seen: Examination) -> Iterator[tuple[Kind, str]]:
    if seen.state != "whole":
        yield seen.state, seen.reason
        return
    if seen.seconds is None:
        return
    for source, expected in (
        ("the container states", seen.stated_seconds),
        ("its name says", _seconds_in_name(entry)),
    ):
        if expected is not None and _differs(seen.seconds, expected):
            yield "wrong-duration", f"got {seen.seconds:.2f} s, {source} {expected:.2f} s"
    if entry.end_seconds is not None and entry.end_seconds > seen.seconds + SLACK_SECONDS:
        yield (
            "wrong-duration",
            f"got {seen.seconds:.2f} s, expected a part up to {entry.end_seconds:.2f} s",
        )


def _judge_label(
    entry: VideoEntry, manifest: Manifest, index: ClassIndex, copies: Sequence[VideoEntry]
) -> Iterator[tuple[Kind, str]]:
    others = [copy for copy in copies if copy.labels != entry.labels]
    names = _name_labels(entry, manifest)
    if others:
        yield (
            "mislabelled",
            f"labelled {names}, but {others[0].path} has the same content and is labelled "
            f"{_name_labels(others[0], manifest)}",
        )
    elif copies and copies[0] is not entry:
        yield "duplicate", f"the same content as {copies[0].path}"
    folders = entry.path.split("/")[:-1]
    folder = index.find(folders[-1]) if folders else None
    if folder is not None and entry.labels and folder not in entry.labels:
        yield "mislabelled", f"labelled {names}, but lies in the folder {folders[-1]!r}"


def _name_labels(entry: VideoEntry, manifest: Manifest) -> str:
    return ", ".join(repr(manifest.class_names[label]) for label in entry.labels) or "nothing"


def _seconds_in_name(entry: VideoEntry) -> float | None:
    """The length of a trimmed Kinetics clip, from the times at the end of its name."""
    match = TIMES_IN_NAME.search(entry.video_id)
    if match is None or entry.end_seconds is not None:
        return None
    return float(match[2]) - float(match[1])


def _differs(got_seconds: float, expected_seconds: float) -> bool:
    slack = max(SLACK_SECONDS, SLACK_SHARE * expected_seconds)
    return abs(got_seconds - expected_seconds) > slack


def _share_losses(manifest: Manifest, harmed: set[str]) -> dict[str, float]:
    listed: dict[int, int] = defaultdict(int)
    lost: dict[int, int] = defaultdict(int)
    for entry in manifest.entries:
        for label in entry.labels:
            listed[label] += 1
            lost[label] += entry.video_id in harmed
    return {
        manifest.class_names[label]: lost[label] / count for label, count in sorted(listed.items())
    }
