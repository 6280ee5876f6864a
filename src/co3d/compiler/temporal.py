"""The temporal type of a value: stride, delay and extent of its elements in time.

A clip value holds elements j = 0, 1, … along its time axis. In the step program one element is
made per tick (a tick is one input frame). With stride s and delay d:

    tick      0    1    2    3    4    5        element j stands for frame j·s
    s=1 d=2   ·    ·   j=0  j=1  j=2  j=3       and is ready at tick j·s + d

`·` is a tick before the first element: its value belongs to a frame before the start of the video,
where the clip network has padding.
"""

import math
from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True)
class TemporalType:
    """The time axis of a clip value, and when its elements are made.

    Attributes:
        axis: the clip value's time axis; None if a pool has collapsed it; 0 if frames are folded
            into the batch, as (N·T, …).
        stride: input frames between neighbouring elements.
        delay: ticks after frame j·stride at which element j is ready.
        lookback: how many frames before frame j·stride element j depends on.
        extent: element j exists in a clip of N frames when 0 <= j·stride <= N - 1 + extent.
        block: where time was enlarged again (a transposed convolution after a stride), elements
            come in groups, each from one element of stride `block`; 1 otherwise.
        overhang: how far the last group reaches: element j exists when
            0 <= j·stride <= block·floor((N - 1 + extent) / block) + overhang, and
            0 <= overhang < block.
        pools: names of the global pools that collapsed this value; empty while it has one
            element per frame.
        recomputed: the value holds a whole clip, which every step recomputes (`fallback`).
        outer, inner: sizes of the other axes that are folded into the time axis, before and after
            time: (N, T·C, H, W) has axis 1 and inner C; (N·T·H·W, C) has axis 0 and inner H·W.
        rows: rows of the batch axis per stream if time is another axis: (N·H·W, C, T) has H·W.
        unbounded: an element depends on all past frames of the stream, through a recurrence.
            `lookback` then excludes the recurrence.
    """

    axis: int | None
    stride: int = 1
    delay: int = 0
    lookback: int = 0
    extent: int = 0
    pools: tuple[str, ...] = ()
    recomputed: bool = False
    block: int = 1
    overhang: int = 0
    outer: int = 1
    inner: int = 1
    rows: int = 1
    unbounded: bool = False

    @property
    def receptive_field(self) -> int | None:
        """Number of input frames that one element depends on; None for all past frames."""
        return None if self.unbounded else self.lookback + self.delay + 1

    @property
    def is_pooled(self) -> bool:
        """Whether a global pool has collapsed time."""
        return bool(self.pools)

    @property
    def is_folded(self) -> bool:
        """Whether frames are folded into the batch, so that a frame has as many axes as a clip."""
        return self.axis == 0

    @property
    def is_merged(self) -> bool:
        """Whether time shares an axis other than the batch with channels or space."""
        return bool(self.axis) and self.outer * self.inner > 1

    @property
    def step_rows(self) -> int:
        """Rows of the batch axis per stream in the step graph."""
        return self.outer * self.inner if self.is_folded else self.rows

    def drop_axis(self, dim: int) -> int:
        """Index in the step graph, which has no time axis, of an axis of the clip."""
        return dim - bool(self.axis and not self.is_merged and dim > self.axis)

    def frame_shape(self, clip_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one element of one stream, without batch and time; rows come first."""
        rows = (self.step_rows,) if self.step_rows > 1 else ()
        return (*rows, *self.row_shape(clip_shape))

    def row_shape(self, clip_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one row of one element: the axes of the step graph after the first."""
        shape = list(clip_shape[1:])
        if self.axis:
            shape[self.axis - 1 : self.axis] = [self.outer * self.inner] if self.is_merged else []
        return tuple(shape)

    def count_elements(self, clip_shape: tuple[int, ...], batch: int) -> int:
        """Number of elements in time of a clip value, given its shape and batch size."""
        if self.axis is None:
            return 1
        streams = batch if self.is_folded else 1
        return clip_shape[self.axis] // (streams * self.outer * self.inner)

    def is_due(self, tick: int) -> bool:
        """Whether an element is made at this tick."""
        return (tick - self.delay) % self.stride == 0

    def at_axis(self, axis: int | None) -> "TemporalType":
        """The same type with another time axis, and the same folding."""
        return replace(self, axis=axis)

    def laid_out(self, axis: int | None, outer: int, inner: int, rows: int) -> "TemporalType":
        """The same type with another time axis and another folding."""
        return replace(self, axis=axis, outer=outer, inner=inner, rows=rows)

    def horizon(self, clip_frames: int) -> int:
        """Upper bound of the frames that the elements of a clip stand for, given its length."""
        return (clip_frames - 1 + self.extent) // self.block * self.block + self.overhang

    def last_position(self, clip_frames: int) -> int:
        """The frame that the last element of a clip stands for, given the clip's length."""
        return self.horizon(clip_frames) // self.stride * self.stride

    def extent_at(self, position: int) -> int:
        """The extent for elements that stand for this frame, or for whole blocks after it.

        Such an element exists if its frame is at most N - 1 + extent_at(position).
        """
        within = position % self.block
        return self.extent + within - (self.block if within > self.overhang else 0)

    def slide(
        self,
        kernel: int,
        stride: int,
        dilation: int,
        pad_start: int,
        pad_end: int,
        *,
        ceil_mode: bool = False,
    ) -> "TemporalType":
        """The type of the output of a temporal window (convolution or pool) over this value.

        Output i reads the inputs i·stride - pad_start + m·dilation, m = 0 … kernel - 1; negative
        padding crops:

            pad_start=1, kernel=3      [pad] 0  1  2  3  4
            output 0                     x   x  x             newest input 1: one tick later
            output 1                         x  x  x

        With `ceil_mode` a last window that is only partly filled counts too, unless it starts in
        the padding at the end.
        """
        span = (kernel - 1) * dilation
        beyond = pad_start + pad_end - span
        if ceil_mode:
            beyond = min(beyond + stride - 1, pad_start)
        blocks, overhang = divmod(self.overhang + beyond * self.stride, self.block)
        made = replace(
            self,
            stride=self.stride * stride,
            delay=self.delay + max(0, span - pad_start) * self.stride,
            lookback=self.lookback + pad_start * self.stride,
            extent=self.extent + blocks * self.block,
            overhang=overhang,
        )
        # A crop at the end adds delay: at its tick it must be known whether an element exists.
        positions = range(0, made.block, math.gcd(made.stride, made.block))
        return replace(made, delay=max(made.delay, *(-made.extent_at(q) for q in positions)))

    def stretch(self, ratio: int) -> "TemporalType":
        """The type with ratio - 1 empty elements inserted between neighbouring ones.

        Operators that enlarge time are windows (`slide`) over these that skip the empty elements:

            stride 4, T elements           x0  .  .  .  x1  .  .  .  x2
            stretched by 2: 2·T - 1        x0  .  0  .  x1  .  0  .  x2

        Raises:
            ValueError: elements would stand for fractions of frames, or their number would depend
                on two strides of which neither is a multiple of the other.
        """
        if ratio == 1:
            return self
        if self.stride % ratio:
            raise ValueError(
                f"it makes {ratio} frames of every frame, more than a stream has"
                if self.stride == 1
                else f"it makes {ratio} elements of one that stands for {self.stride} frames"
            )
        if self.stride % self.block and self.block % self.stride:
            raise ValueError(
                f"it enlarges time that was divided by {self.stride}, and before that enlarged in "
                f"blocks of {self.block}, of which neither is a multiple of the other"
            )
        whole = self.stride % self.block == 0
        return replace(
            self,
            stride=self.stride // ratio,
            block=self.stride if whole else self.block,
            overhang=0 if whole else self.overhang // self.stride * self.stride,
        )

    def collapse(self, axis: int | None, reach: int, pool: str) -> "TemporalType":
        """The type after the global pool `pool`, a window that reaches back `reach` ticks."""
        return replace(
            self,
            axis=axis,
            lookback=self.lookback + reach,
            pools=(*self.pools, pool),
            outer=1,
            inner=1,
            rows=self.step_rows,
        )


def join(types: list[TemporalType]) -> TemporalType:
    """The type of an element-wise combination, with the largest delay of its operands.

    All operands must have the same stride and the same rows; the caller sets the axis. In clips
    whose length the network accepts they have equally many elements. In others the result has as
    many as the operand with the largest blocks, or among these the shortest.
    """
    shortest = max(types, key=lambda t: (t.block, -t.extent - t.overhang))
    return replace(
        types[0],
        axis=None,
        delay=max(t.delay for t in types),
        lookback=max(t.lookback for t in types),
        extent=shortest.extent,
        pools=_merge_pools(types),
        recomputed=any(t.recomputed for t in types),
        block=shortest.block,
        overhang=shortest.overhang,
        unbounded=any(t.unbounded for t in types),
    )


def join_pooled(types: list[TemporalType], clip_frames: int) -> TemporalType:
    """The type of a combination of pooled values, whose strides may differ.

    Elements j of two pathways stand for different frames, but each pool has one result per clip.
    These are combined at the tick when the last is ready for a clip of `clip_frames` frames:

        slow, stride 4, clip of 8:   frame 4 is its last element, ready at tick 4 + delay
        fast, stride 1               frame 7 is its last element, ready at tick 7 + delay
    """
    ready = [t.last_position(clip_frames) + t.delay for t in types]
    coarsest = max(types, key=lambda t: t.stride)
    joined = replace(coarsest, axis=None, stride=math.lcm(*(t.stride for t in types)))
    last = joined.last_position(clip_frames)
    return replace(
        joined,
        delay=max(ready) - last,
        lookback=max(t.lookback + last - t.last_position(clip_frames) for t in types),
        pools=_merge_pools(types),
        recomputed=any(t.recomputed for t in types),
        unbounded=any(t.unbounded for t in types),
    )


def join_results(types: list[TemporalType], clip_frames: int) -> tuple[TemporalType, list[int]]:
    """The temporal type of the result, and how many ticks after it is made each output is read.

    Per-frame outputs are read so that they describe the same frame. Pooled outputs have one result
    per clip, which is read with the others' last:

        frames, delay 1, no crop      frame 7 of 8 is described at tick 8
        pool of frames 0 … 5, ready at tick 6: read 2 ticks later
    """
    moving = [t for t in types if not t.is_pooled]
    if not moving:
        timing = join_pooled(types, clip_frames)
    else:
        # A flush ends with the longest output.
        longest = max(moving, key=lambda t: t.extent + t.overhang)
        if len({t.block for t in moving}) > 1:  # which one is, depends on the clip
            longest = replace(
                longest, extent=longest.extent + longest.overhang, block=1, overhang=0
            )
        timing = replace(
            join(moving),
            stride=math.lcm(*(t.stride for t in types)),
            extent=longest.extent,
            block=longest.block,
            overhang=longest.overhang,
            pools=_merge_pools(types),
            recomputed=any(t.recomputed for t in types),
            unbounded=any(t.unbounded for t in types),
        )
    end = timing.last_position(clip_frames)
    ready = [t.last_position(clip_frames) + t.delay for t in types if t.is_pooled]
    delay = max([timing.delay, *(tick - end for tick in ready)])
    backs = [
        end + delay - t.last_position(clip_frames) - t.delay if t.is_pooled else delay - t.delay
        for t in types
    ]
    lookback = max(
        t.lookback + t.delay + back - delay for t, back in zip(types, backs, strict=True)
    )
    return replace(timing, delay=delay, lookback=lookback), backs


def _merge_pools(types: list[TemporalType]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for t in types for name in t.pools))


@dataclass(frozen=True)
class StateSpec:
    """One state of a stream: the newest `depth` past elements of one value.

    Attributes:
        name: unique within the program, from the value's name.
        shape: shape of one element of one stream, without the batch.
        depth: number of past elements kept.
        fill: value of the elements before the first frame (the consumer's padding value).
        dtype: dtype of the elements.
    """

    name: str
    shape: tuple[int, ...]
    depth: int
    fill: float
    dtype: torch.dtype

    def dtype_in(self, precision: torch.dtype) -> torch.dtype:
        """The dtype of the elements in a program of this precision."""
        return precision if self.dtype.is_floating_point else self.dtype

    @property
    def elements(self) -> int:
        """Numbers held per stream."""
        count = self.depth
        for size in self.shape:
            count *= size
        return count
