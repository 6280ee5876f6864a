"""Read from a PySlowFast checkpoint's `cfg` how to feed its network."""

import dataclasses
import logging
import re

from co3d.models.card import ModelCard
from co3d.weights.containers import Checkpoint

MAX_LETTERS = 1 << 17
_LOG = logging.getLogger("co3d")
# The text is YAML as `cfg.dump()` writes it: a section's keys are indented by two spaces, and a
# list is in brackets or has an item a line.
_SECTION = re.compile(r"^DATA:\n((?:  .*\n?)+)", re.MULTILINE)
_NUMBER = r"-?\d+(?:\.\d+)?"
_TARGET_FPS = 30  # PySlowFast's default


def read_pyslowfast_cfg(checkpoint: Checkpoint, card: ModelCard) -> ModelCard:
    """The card with the frames, rate, crops, mean and deviation of a file's `cfg`.

    Differences from the card are logged as a warning. A `cfg` of another library, or one without
    any of these values, leaves the card unchanged.
    """
    text = checkpoint.metadata.get("cfg", "")
    section = _SECTION.search(text) if len(text) <= MAX_LETTERS else None
    fed = card if section is None else _feed(section[1], card)
    names = ("clip_frames", "rate_hz", "crop_px", "short_side_px", "mean", "std")
    changed = [
        f"{name} {getattr(fed, name)}"
        for name in names
        if getattr(fed, name) != getattr(card, name)
    ]
    if changed:
        _LOG.warning("weights %s: fed as their cfg says: %s", checkpoint.origin, ", ".join(changed))
    return fed


def _feed(section: str, card: ModelCard) -> ModelCard:
    frames, interval = _count(section, "NUM_FRAMES"), _count(section, "SAMPLING_RATE")
    crop_px, side_px = _count(section, "TRAIN_CROP_SIZE"), _count(section, "TEST_CROP_SIZE")
    mean, std = _triple(section, "MEAN"), _triple(section, "STD")
    if None in (frames, interval, crop_px, side_px, mean, std) or min(std or (0,)) <= 0:
        return card
    rate_hz = (_count(section, "TARGET_FPS") or _TARGET_FPS) / (interval or 1)
    return dataclasses.replace(
        card,
        clip_frames=frames,
        rate_hz=rate_hz,
        crop_px=crop_px,
        short_side_px=max(side_px or 0, crop_px or 0),
        mean=mean,
        std=std,
    )


def _count(section: str, key: str) -> int | None:
    """An integer from 1 on, of at most five digits."""
    found = re.search(rf"^  {key}: ([1-9]\d{{0,4}})$", section, re.MULTILINE)
    return int(found[1]) if found else None


def _triple(section: str, key: str) -> tuple[float, float, float] | None:
    comma, item = rf", *{_NUMBER}", rf"\n  - {_NUMBER}"
    found = re.search(
        rf"^  {key}:(?: &\w+)?(?: *\[{_NUMBER}(?:{comma}){{2}}\]|(?:{item}){{3}})$",
        section,
        re.MULTILINE,
    )
    if found is None:
        return None
    first, second, third = map(float, re.findall(rf"(?<![\w.]){_NUMBER}", found[0])[-3:])
    return first, second, third
