"""A rule: which label makes an event, and when."""

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

    All times are of the video, not of the machine's clock.

    Attributes:
        name: unique among rules that are used together.
        labels: names of the network's labels.
        groups: by a name of your own, labels that count as one: their probabilities are summed
            where the network's labels exclude each other, else the highest counts.
        threshold: an event begins when the probability reaches this, 0 to 1.
        end_threshold: and goes on as long as it is not below this; None for 0.8 × `threshold`.
        min_seconds: for how long, before there is an event; it begins at the start of that time.
        cooldown_seconds: after an event the next one of the same label begins no sooner.
        hold_seconds: for so long an event goes on while nothing reliable is known: over a gap,
            while the window fills, while there are too few new pictures (`is_undersampled`), while
            the source is away.
        smooth_seconds: over how long probabilities are averaged first; 0 for none.
        smoothing: "exponential" (see `ExponentialAverage`) or "moving", the mean of the latest
            `smooth_seconds`. Averages start anew where nothing reliable was known.
        schedule: when it looks; None for always. Of files it is judged when they are labelled.
        cameras: names of those it is for; None for all.
        region: (x, y, width, height) in pixels of the turned and mirrored picture; the network then
            sees just that, in a stream of its own. None for what the network sees anyway.
        update_seconds: how often an event that goes on is told of; None for never.
        has_picture: whether events get a picture of their first moment.
        clip: what events get of the video around them; None for nothing.

    Raises:
        OptionError: a value cannot work.
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
        """Refuse what cannot work."""
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
        """Below this an event is over."""
        return END_SHARE * self.threshold if self.end_threshold is None else self.end_threshold

    def _refuse(self, got: str, expected: str) -> None:
        raise OptionError(f"cannot use the rule {self.name}: got {got}, expected {expected}")


@dataclass(frozen=True)
class ClipSpan:
    """How much of the video a clip has around an event.

    Attributes:
        before_seconds, after_seconds: before its start and after its end; the clip begins at the
            last key frame before that.
        most_seconds: of an event that goes on for longer, the clip has its first so many.
    """

    before_seconds: float = 5.0
    after_seconds: float = 5.0
    most_seconds: float = 60.0
