"""A rule: which labels make events, and when."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from co3d.engine.events.schedule import Schedule
from co3d.errors import OptionError
from co3d.video.framing import Crop, Framing

Smoothing = Literal["exponential", "moving"]
END_SHARE = 0.8


@dataclass(frozen=True)
class Rule:
    """Makes events of labels. Each of its labels and groups has events of its own.

    All times are times of the video, not of the machine's clock.

    Attributes:
        name: unique among rules that are used together.
        labels: names of the network's labels.
        groups: labels that count as one, by a name of your choice. Their probabilities are summed
            if the network uses softmax; otherwise the highest counts.
        threshold: an event begins when the probability reaches this, 0 to 1.
        end_threshold: an event ends when the probability falls below this; None for 0.8 ×
            `threshold`.
        min_seconds: how long the label must hold to become an event, which then begins at the start
            of that time.
        cooldown_seconds: the shortest time between two events of a label.
        hold_seconds: how long an event stays open without a reliable prediction: during a gap,
            while the window fills, while there are too few new pictures (`is_undersampled`), while
            the source is silent.
        smooth_seconds: the time over which probabilities are averaged first; 0 for none.
        smoothing: "exponential" (see `ExponentialAverage`) or "moving", the mean of the latest
            `smooth_seconds`. Averages are reset where there is no reliable prediction.
        schedule: when the rule is active; None for always. For files the time of labelling counts.
        cameras: the names of its cameras; None for all.
        region: (x, y, width, height) in pixels of the rotated and flipped picture; the network sees
            this crop in its own track. None for the camera's main track.
        update_seconds: how often an open event gets an "update" record; None for never.
        has_picture: whether events get a picture of their first moment.
        clip: how much video around an event to save; None for none.

    Raises:
        OptionError: a value is out of range.
    """

    name: str
    labels: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    threshold: float = 0.5
    end_threshold: float | None = None
    min_seconds: float = 0.0
    cooldown_seconds: float = 0.0
    hold_seconds: float = 5.0
    smooth_seconds: float = 0.0
    smoothing: Smoothing = "exponential"
    schedule: Schedule | None = None
    cameras: tuple[str, ...] | None = None
    region: Crop | None = None
    update_seconds: float | None = 30.0
    has_picture: bool = True
    clip: "ClipSpan | None" = None

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.labels and not self.groups:
            self._refuse("no labels", "one or more in `labels` or `groups`")
        subjects = [*self.labels, *self.groups]
        if len(set(subjects)) < len(subjects):
            self._refuse(f"labels and groups {subjects}", "each name once")
        if not all(self.groups.values()):
            self._refuse("a group without labels", "one or more")
        if not 0 < self.threshold <= 1:
            self._refuse(f"threshold={self.threshold:g}", "above 0 and at most 1")
        if not 0 <= self.end_level <= self.threshold:
            self._refuse(
                f"end_threshold={self.end_level:g}",
                f"0 to `threshold`, which is {self.threshold:g}",
            )
        for name in ("min_seconds", "cooldown_seconds", "hold_seconds", "smooth_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                self._refuse(f"{name}={getattr(self, name):g}", "0 or more")
        if self.update_seconds is not None and not self.update_seconds > 0:
            self._refuse(f"update_seconds={self.update_seconds:g}", "above 0")
        Framing(crop=self.region)

    @property
    def end_level(self) -> float:
        """The probability below which an event ends."""
        return END_SHARE * self.threshold if self.end_threshold is None else self.end_threshold

    def _refuse(self, got: str, expected: str) -> None:
        raise OptionError(f"cannot use the rule {self.name}: got {got}, expected {expected}")


@dataclass(frozen=True)
class ClipSpan:
    """How much video around an event a clip contains.

    Attributes:
        before_seconds, after_seconds: video before the event's start and after its end. The clip
            begins at the last key frame before that.
        most_seconds: the clip of a longer event contains only this much of its beginning.
    """

    before_seconds: float = 5.0
    after_seconds: float = 5.0
    most_seconds: float = 60.0
