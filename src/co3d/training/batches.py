"""Batches that depend only on the recipe's seed, the epoch and their position.

So batches are the same for any number of worker processes, after resuming as in an uninterrupted
run, and from several training processes together as from a single one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


@dataclass(frozen=True)
class Key:
    """The index of an item, and the seed of everything random in it."""

    index: int
    seed: int


class KeyedItems(Protocol):
    """Items by key: dicts with at least `clip` and `label`."""

    def __len__(self) -> int:
        """Items in an epoch."""
        ...

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """Make one item."""
        ...


@dataclass(frozen=True)
class TrainingData:
    """The training and validation data of a run.

    Attributes:
        class_names: index 0 first.
        train: items of an epoch. validation: name of a score -> its fixed items; the last one
            decides which weights are best.
        batch: items per step; None if the items are batches already.
        counts: training videos of each class; None if all classes are balanced.
        multi_label: whether a label is (K,) rather than an index.
        workers: processes that make items ahead.
        collate: makes a batch of items; None stacks them.
        division: the split into training and validation videos in words; empty for generated
            clips.
    """

    class_names: tuple[str, ...]
    train: KeyedItems
    validation: Mapping[str, KeyedItems]
    batch: int | None
    counts: tuple[int, ...] | None = None
    multi_label: bool = False
    workers: int = 0
    collate: Callable[[Sequence[dict[str, Any]]], dict[str, Any]] | None = None
    division: str = ""


def mix_seeds(*numbers: int) -> int:
    """Combine several numbers into one seed of 63 bits."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


class EpochSampler(Sampler[Key]):
    """The keys of an epoch, distributed to the training processes.

    Batch b of all processes together equals batch b of a single process with the same number of
    items. Items that do not fill a batch of all processes are left out of that epoch.
    """

    def __init__(self, size: int, seed: int, *, shuffle: bool) -> None:
        self._size, self._seed, self._shuffle = size, seed, shuffle
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Change order and seeds; Lightning calls this before every epoch."""
        self._epoch = epoch if self._shuffle else 0

    def __len__(self) -> int:
        return self._size // _count_processes()

    def __iter__(self) -> Iterator[Key]:
        order = range(self._size)
        if self._shuffle:
            generator = torch.Generator().manual_seed(mix_seeds(self._seed, self._epoch))
            order = torch.randperm(self._size, generator=generator).tolist()
        processes = _count_processes()
        start = torch.distributed.get_rank() if processes > 1 else 0
        for position in range(start, len(self) * processes, processes):
            yield Key(order[position], mix_seeds(self._seed, self._epoch, position))


class _Items(Dataset[dict[str, Any]]):
    """Items made with torch's global generator seeded, since transforms may draw from it."""

    def __init__(self, items: KeyedItems) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key.seed)
            return self._items[key]


def make_loader(items: KeyedItems, data: TrainingData, seed: int, *, train: bool) -> DataLoader:
    """A loader of batches: dicts of stacked tensors and lists."""
    workers = data.workers if train else min(1, data.workers)
    sampler = EpochSampler(len(items), seed, shuffle=train)
    return DataLoader(
        _Items(items),  # type: ignore[arg-type]
        batch_size=data.batch,
        sampler=sampler,
        drop_last=train and data.batch is not None and len(sampler) >= data.batch,
        num_workers=workers,
        collate_fn=data.collate,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
    )


class ChunkLoader:
    """Cuts batches of long videos into consecutive chunks, each a batch of its own.

    A chunk is a dict of `clip` (N, C, chunk_frames, H, W); `label` (N, chunk_frames) or
    (N, chunk_frames, K), of the frames that its results describe; `scored` (chunk_frames,) bool,
    the steps whose results count; `is_first`.

    Args:
        videos: batches with `clip` (N, C, T, H, W) and `label` (N, T), or (N,) or (N, K) if all
            frames have the same labels.
        chunk_frames: a divisor of T.
        delay, first_valid_step: of the step program.
        per_frame: whether `label` has an index per frame.
        only_last: count only the last result of a chunk.
    """

    def __init__(
        self,
        videos: DataLoader,
        video_frames: int,
        chunk_frames: int,
        delay: int,
        first_valid_step: int,
        *,
        per_frame: bool,
        only_last: bool,
    ) -> None:
        # Lightning looks for these two attributes, to pass the epoch to the sampler.
        self.sampler, self.batch_sampler = videos.sampler, None
        self._videos = videos
        self._frames, self._chunk = video_frames, chunk_frames
        self._delay, self._first = delay, first_valid_step
        self._per_frame, self._only_last = per_frame, only_last

    def __len__(self) -> int:
        return len(self._videos) * (self._frames // self._chunk)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for video in self._videos:
            clip, label = video["clip"], self._describe(video["label"])
            for start in range(0, self._frames, self._chunk):
                steps = torch.arange(start, start + self._chunk)
                scored = steps >= self._first
                if self._only_last:
                    scored &= steps == steps[-1]
                yield {
                    **video,
                    "clip": clip[:, :, start : start + self._chunk],
                    "label": label[:, start : start + self._chunk],
                    "scored": scored,
                    "is_first": start == 0,
                }

    def _describe(self, label: Tensor) -> Tensor:
        """The label of the frame that each step describes; before the first, the first one's."""
        if not self._per_frame:
            return label[:, None].expand(-1, self._frames, *label.shape[1:])
        described = (torch.arange(self._frames) - self._delay).clamp(min=0)
        return label[:, described]


def _count_processes() -> int:
    is_running = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if is_running else 1
