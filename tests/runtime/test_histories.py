"""Many slots of one compiled program: each equals a stream of its own, in any order of events.

A random history opens, steps, pauses, resets, flushes, copies and closes slots. Then each video is
played again in a compiled program with one slot.
"""

import itertools
import random
from dataclasses import dataclass, field
from functools import cache

import pytest
import torch
from torch import Tensor

import co3d
from co3d.backends.table import BACKENDS
from co3d.compiler import StepProgram, convert
from co3d.runtime import CompiledProgram, Slot, Snapshot
from support.gpu import compile_anywhere, is_interpreted
from support.networks import small_network
from support.rule_networks import two_pathways
from support.streaming import randomise_, relative_error

SLOTS, STEPS = 200, 60
SLOW = ("inductor", "triton")


@cache
def make_program(kind: str) -> StepProgram:
    torch.manual_seed(0)
    if kind == "native rate":
        model = randomise_(two_pathways())
        return convert(model, (3, 8, 6, 6), rate="native", spread=True, edges="both", window=2)
    return convert(randomise_(small_network()), (3, 4, 6, 6), edges="both")


@dataclass
class Video:
    """The frames of a slot since its video began, and its results."""

    start: Snapshot | None = None
    frames: list[Tensor | None] = field(default_factory=list)  # None: a blank one of a flush
    outputs: list[Tensor] = field(default_factory=list)
    marks: list[tuple[bool, bool]] = field(default_factory=list)
    frames_until_end: int | None = None


class History:
    """Plays random events on the slots of a compiled program, and records all videos."""

    def __init__(self, compiled: CompiledProgram, slots: int, seed: int) -> None:
        self._compiled, self._random = compiled, random.Random(seed)
        self._generator = torch.Generator().manual_seed(seed)
        self.slots: list[Slot] = [compiled.open() for _ in range(slots)]
        self._videos = [Video() for _ in range(slots)]
        self.finished: list[Video] = []

    def step(self) -> None:
        """Change a few slots, and step some."""
        for _ in range(self._random.randint(0, 6)):
            self._change(self._random.randrange(len(self.slots)))
        able = [i for i, slot in enumerate(self.slots) if slot.remaining != 0]
        chosen = self._random.sample(
            able, self._random.choice([1, 2, 3, len(able) // 2, len(able)])
        )
        shape = self._compiled.program.frame_shape
        frames = torch.randn(len(chosen), *shape, generator=self._generator)
        ended = [self.slots[i].remaining is not None for i in chosen]
        result = self._compiled.step([self.slots[i] for i in chosen], frames)
        for row, i in enumerate(chosen):
            video = self._videos[i]
            video.frames.append(None if ended[row] else frames[row])
            video.outputs.append(result.output[row].cpu())
            video.marks.append((bool(result.valid[row]), bool(result.fresh[row])))

    def _change(self, i: int) -> None:
        what = self._random.choice(["reset", "finish", "copy", "reopen"])
        slot, video = self.slots[i], self._videos[i]
        if what == "finish":
            if slot.finish() and video.frames_until_end is None:
                video.frames_until_end = len(video.frames)
            return
        self.finished.append(video)
        self._videos[i] = Video()
        if what == "reset":
            slot.reset()
        elif what == "reopen":
            slot.close()
            self.slots[i] = self._compiled.open()
        else:
            other = self.slots[self._random.randrange(len(self.slots))]
            snapshot = other.snapshot()
            slot.restore(snapshot)
            self._videos[i] = Video(start=snapshot)

    def end(self) -> list[Video]:
        """Close all slots, and return the videos, longest first."""
        for slot in self.slots:
            slot.close()
        videos = [video for video in (*self.finished, *self._videos) if video.frames]
        return sorted(videos, key=lambda video: -len(video.frames))


def play_alone(compiled: CompiledProgram, video: Video) -> list[tuple[Tensor, tuple[bool, bool]]]:
    """Play a video in a compiled program with one slot."""
    made = []
    with compiled.open() as slot:
        if video.start is not None:
            slot.restore(video.start)
        for number, frame in enumerate(video.frames):
            if number == video.frames_until_end:
                slot.finish()
            shown = torch.full(compiled.program.frame_shape, 7.0) if frame is None else frame
            result = compiled.step([slot], shown[None])
            made.append((result.output[0].cpu(), (bool(result.valid[0]), bool(result.fresh[0]))))
    return made


# In native rate only kernels of our own run in every `make test`.
PAIRS = [
    *((backend, "dense") for backend in BACKENDS if backend not in SLOW),
    ("native", "native rate"),
]


@pytest.mark.parametrize(
    ("backend", "kind"),
    [
        pytest.param(*pair, marks=[] if pair in PAIRS else [pytest.mark.slow])
        for pair in itertools.product(BACKENDS, ("dense", "native rate"))
    ],
)
def test_a_random_history_equals_each_stream_alone(backend: str, kind: str) -> None:
    # The slots of other backends are tensors in a list; the native ones share blocks of memory.
    sizes = (SLOTS, STEPS, 60) if backend == "native" else (SLOTS // 2, STEPS // 2, 30)
    slots, steps, compared = (6, 10, 4) if is_interpreted(backend) else sizes
    compiled = compile_anywhere(make_program(kind), backend=backend)
    alone = compile_anywhere(make_program(kind), backend=backend)
    history = History(compiled, slots, seed=1)
    for _ in range(steps):
        history.step()
    videos = history.end()
    assert len(videos) > compared
    rest = random.Random(0).sample(videos[compared // 2 :], compared - compared // 2)
    for video in (*videos[: compared // 2], *rest):
        for (actual, marks), (expected, wanted) in zip(
            zip(video.outputs, video.marks, strict=True), play_alone(alone, video), strict=True
        ):
            assert marks == wanted
            if backend == "triton":  # whose tiles depend on how many slots step together
                assert relative_error(actual, expected) <= 1e-5 if expected.any() else True
            else:
                assert torch.equal(actual, expected)


def test_a_history_frees_all_memory_blocks() -> None:
    compiled = co3d.compile(make_program("dense"), backend="native")
    pool = compiled._executable._pool  # type: ignore[attr-defined]
    known = 0
    for seed in range(3):
        history = History(compiled, 20, seed)
        for _ in range(20):
            history.step()
        history.end()
        assert known in (0, len(pool._memory))
        known = len(pool._memory)
