"""The step loop: videos wait, slots play them, and what a slot says belongs to its video."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from co3d.runtime.compiled import CompiledProgram
from co3d.runtime.slot import Slot

K = TypeVar("K")  # names a video
T = TypeVar("T")  # comes with each of its frames

# Frames (1, C, H, W), or one such tensor per input of the model, each with what comes with it.
Frames = Iterator[tuple[Tensor | Sequence[Tensor], T]]


@dataclass(frozen=True)
class Played(Generic[K, T]):
    """What a video's newest frame gave.

    Attributes:
        video: which one.
        tag: what came with the frame; None for the blank ones of a flush.
        output: of this video alone, packed as the model packs it: (…), without the slots.
        valid: a new result, whose window holds real frames only.
        fresh: a new result.
    """

    video: K
    tag: T | None
    output: Any
    valid: bool
    fresh: bool


@dataclass(frozen=True)
class Ended(Generic[K]):
    """A video is over.

    Attributes:
        video: which one.
        error: what its frames raised; None where they came to their end.
    """

    video: K
    error: Exception | None = None


@dataclass
class _Place(Generic[K, T]):
    """A slot, and the video that it plays."""

    slot: Slot
    video: K
    open: Callable[[], Frames[T]]
    frames: Frames[T] | None = None
    is_over: bool = False
    error: Exception | None = None


def play_videos(
    compiled: CompiledProgram,
    slots: Sequence[Slot],
    videos: Iterable[tuple[K, Callable[[], Frames[T]]]],
    *,
    flush: bool = False,
) -> Generator[Played[K, T] | Ended[K], None, None]:
    """Play videos in some slots, as many at a time as there are slots; each starts anew.

    Args:
        compiled: steps the slots.
        slots: of it, which nobody else uses meanwhile.
        videos: names of videos, and what opens their frames. An exception of either ends that
            video alone, as its last frame would.
        flush: whether a video's last `delay` results are waited for, with blank frames.

    Yields:
        For each step what it gave of each video, and the end of each video; videos end in the order
        in which their slots come.
    """
    waiting, places = iter(videos), dict[int, _Place[K, T]]()
    blank = tuple(torch.zeros(1, *shape) for shape in compiled.program.frame_shapes)
    try:
        while True:
            shown: dict[int, tuple[tuple[Tensor, ...], T | None]] = {}
            for number, slot in enumerate(slots):
                while number not in shown:
                    if number not in places:
                        following = next(waiting, None)
                        if following is None:
                            break
                        slot.reset()
                        places[number] = _Place(slot, *following)
                    place = places[number]
                    frame = _find_frame(compiled, place, blank, flush=flush)
                    if frame is not None:
                        shown[number] = frame
                    else:
                        del places[number]
                        yield Ended(place.video, place.error)
            if not shown:
                return
            yield from _step(compiled, places, shown)
    finally:
        for place in places.values():
            if isinstance(place.frames, Generator):
                place.frames.close()


def _find_frame(
    compiled: CompiledProgram, place: _Place[K, T], blank: tuple[Tensor, ...], *, flush: bool
) -> tuple[tuple[Tensor, ...], T | None] | None:
    """The next frame of a video, a blank one while it is flushed; None when all is said."""
    if not place.is_over:
        try:
            if place.frames is None:
                place.frames = place.open()
            for frames, tag in place.frames:
                return compiled.check_frames(frames, 1), tag
        except Exception as error:  # noqa: BLE001 (handed on with the video's end)
            place.error = error
        place.is_over = True
        if flush:
            place.slot.finish()
    return (blank, None) if place.slot.remaining else None


def _step(
    compiled: CompiledProgram,
    places: dict[int, _Place[K, T]],
    shown: dict[int, tuple[tuple[Tensor, ...], T | None]],
) -> Iterator[Played[K, T]]:
    inputs = [
        torch.cat(rows) for rows in zip(*(frames for frames, _ in shown.values()), strict=True)
    ]
    result = compiled.step([places[number].slot for number in shown], inputs)
    fresh, valid = result.fresh.tolist(), result.valid.tolist()
    for row, (number, (_, tag)) in enumerate(shown.items()):
        output = tree_map_only(Tensor, lambda tensor, row=row: tensor[row], result.output)
        yield Played(places[number].video, tag, output, valid[row], fresh[row])
