"""Applies rules to the predictions of many cameras."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Literal

import numpy as np

from co3d.engine.events.detector import Change, Detector, Observation
from co3d.engine.events.event import EndCause
from co3d.engine.events.rule import Rule
from co3d.engine.prediction import Prediction
from co3d.engine.regions import name_region
from co3d.engine.results import ResultItem, SourceChanged
from co3d.errors import OptionError
from co3d.printable import list_first
from co3d.video.framing import Crop

Activation = Literal["softmax", "sigmoid"]


class RuleBook:
    """Makes events of the predictions of any number of tracks. Thread-safe.

        rules = RuleBook([Rule("falls", labels=("falling",), threshold=0.7)], engine.labels)
        for prediction in track:
            for kind, event in rules.add(prediction):
                print(kind, event.label, event.start_pts_seconds)

    Args:
        rules: the rules, with unique names.
        labels: the network's labels, index 0 first (`Engine.labels`).
        activation: the network's activation (`Engine.card.activation`), which decides how the
            labels of a group are combined.
        clock: gives Unix time.

    Attributes:
        is_stopping: set when the program stops, so that tracks that end without an error end their
            events as "stopped".

    Raises:
        OptionError: a rule names an unknown label, or two rules have the same name.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        labels: Sequence[str],
        activation: Activation = "softmax",
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._labels = {label: index for index, label in enumerate(labels)}
        self._activation, self._clock = activation, clock
        self._lock = threading.Lock()
        self.is_stopping = self._is_stopped = False
        self._rules: list[Rule] = []
        self._indices: dict[tuple[str, str], list[int]] = {}
        self._detectors: dict[str, list[_PlacedDetector]] = {}
        self._regions: set[Crop] = set()  # including former rules, whose tracks may still run
        self.replace_rules(rules)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The present rules."""
        return tuple(self._rules)

    def add(self, item: ResultItem) -> list[Change]:
        """Process a prediction, a change of a source or the end of a track; returns changes.

        Each track's items must come in order.
        """
        with self._lock:
            if self._is_stopped:
                return []
            if isinstance(item, Prediction):
                return list(self._observe(item))
            if isinstance(item, SourceChanged):
                if item.state.phase != "live":
                    for placed in self._list_of_camera(item.track):
                        placed.detector.note_silence(item.state.since_seconds)
                return []
            cause: EndCause = "stopped" if self.is_stopping else "over"
            cause = cause if item.error is None else "failed"
            return [
                change
                for placed in self._detectors.pop(item.track, [])
                for change in placed.detector.end(cause)
            ]

    def tick(self) -> list[Change]:
        """End events of silent sources; to be called about once a second."""
        with self._lock:
            return [
                change
                for placed in self._list_all()
                for change in placed.detector.tick(self._clock())
            ]

    def replace_rules(self, rules: Iterable[Rule]) -> list[Change]:
        """Use these rules from now on; unchanged rules keep their state.

        Returns:
            The ends of events whose rules were removed or changed.

        Raises:
            OptionError: as for the constructor; the present rules then stay.
        """
        rules = list(rules)
        names = [rule.name for rule in rules]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise OptionError(f"cannot use two rules named {name}: name each once")
        indices = {
            (rule.name, subject): self._find_indices(rule.name, members)
            for rule in rules
            for subject, members in list_subjects(rule)
        }
        with self._lock:
            ended = [
                change
                for placed in self._list_all()
                if placed.rule not in rules
                for change in placed.detector.end("removed")
            ]
            self._rules, self._indices = rules, indices
            self._regions |= {rule.region for rule in rules if rule.region is not None}
            for track, detectors in self._detectors.items():
                kept = [placed for placed in detectors if placed.rule in rules]
                held = [placed.rule for placed in kept]
                added = [rule for rule in self._list_rules(track) if rule not in held]
                self._detectors[track] = kept + self._place(track, added)
            return ended

    def end_all(self, cause: EndCause) -> list[Change]:
        """End all events, and make no more."""
        with self._lock:
            self._is_stopped = True
            return [change for placed in self._list_all() for change in placed.detector.end(cause)]

    def _observe(self, prediction: Prediction) -> Iterator[Change]:
        track, frame = prediction.track, prediction.frame
        if track not in self._detectors:
            self._detectors[track] = self._place(track, self._list_rules(track))
        for placed in self._detectors[track]:
            observation = Observation(
                frame.pts_seconds,
                frame.received_seconds,
                self._combine(prediction.probabilities[placed.indices]),
                is_known=prediction.valid and not prediction.is_undersampled,
                has_gap=prediction.gap_seconds > 0,
            )
            yield from placed.detector.update(observation)

    def _combine(self, probabilities: np.ndarray) -> float:
        """Combine a group's probabilities: their sum for softmax, else the highest."""
        if self._activation == "softmax":
            return min(1.0, float(probabilities.sum()))
        return float(probabilities.max())

    def _list_rules(self, track: str) -> list[Rule]:
        camera, region = self._split(track)
        return [
            rule
            for rule in self._rules
            if rule.region == region and (rule.cameras is None or camera in rule.cameras)
        ]

    def _place(self, track: str, rules: Iterable[Rule]) -> list["_PlacedDetector"]:
        camera, _ = self._split(track)
        return [
            _PlacedDetector(rule, camera, subject, self._indices[rule.name, subject], self._clock)
            for rule in rules
            for subject, _ in list_subjects(rule)
        ]

    def _split(self, track: str) -> tuple[str, Crop | None]:
        """Split a track's name into camera and region."""
        for region in self._regions:
            if track.endswith(name_region("", region)):
                return track.removesuffix(name_region("", region)), region
        return track, None

    def _list_all(self) -> Iterator["_PlacedDetector"]:
        for detectors in self._detectors.values():
            yield from detectors

    def _list_of_camera(self, camera: str) -> list["_PlacedDetector"]:
        return [placed for placed in self._list_all() if placed.camera == camera]

    def _find_indices(self, rule: str, members: Sequence[str]) -> list[int]:
        for label in members:
            if label not in self._labels:
                raise OptionError(
                    f"cannot use the rule {rule}: {explain_unknown_label(label, self._labels)}"
                )
        return [self._labels[label] for label in members]


class _PlacedDetector:
    """A detector with its rule, its camera, and the indices of its labels."""

    def __init__(
        self,
        rule: Rule,
        camera: str,
        subject: str,
        indices: list[int],
        clock: Callable[[], float],
    ) -> None:
        self.rule, self.camera, self.indices = rule, camera, indices
        self.detector = Detector(rule, camera, subject, clock)


def list_subjects(rule: Rule) -> list[tuple[str, tuple[str, ...]]]:
    """The labels and groups of a rule, by name, with the labels in them."""
    return [*((label, (label,)) for label in rule.labels), *rule.groups.items()]


def explain_unknown_label(label: str, labels: Iterable[str]) -> str:
    """Explain that the network lacks a label, and suggest the nearest one."""
    known = list(labels)
    nearest = get_close_matches(label, known, n=1, cutoff=0.5)
    meant = f"did you mean {nearest[0]}?" if nearest else f"known are {list_first(known)}"
    return f"the network has no label {label!r}: {meant}"
