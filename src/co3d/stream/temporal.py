"""The temporal type of a value: how its elements lie in time, as plain integers.

A clip value holds elements j = 0, 1, … along its time axis. In the step program one element is
made per tick (a tick is one input frame). With stride s and delay d:

    tick      0    1    2    3    4    5        element j stands for frame j·s
    s=1 d=2   ·    ·   j=0  j=1  j=2  j=3       and is ready at tick j·s + d

`·` is a tick before the first element: what is computed there stands for a frame before the
start of the video, where the clip network would have seen padding.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TemporalType:
    """Where time is in a clip value, and when its elements become known.

    Attributes:
        axis: the clip value's time axis; None when it has none any more (collapsed by a pool).
        stride: input frames between neighbouring elements.
        delay: ticks after frame j·stride at which element j is ready.
        lookback: how many frames before frame j·stride element j can see.
        extent: element j exists in a clip of N frames when 0 <= j·stride <= N - 1 + extent.
        pools: names of the global pools that collapsed this value; empty while it has one
            element per frame.
    """

    axis: int | None
    stride: int = 1
    delay: int = 0
    lookback: int = 0
    extent: int = 0
    pools: tuple[str, ...] = ()

    @property
    def receptive_field(self) -> int:
        """Number of input frames that one element depends on."""
        return self.lookback + self.delay + 1

    @property
    def is_pooled(self) -> bool:
        """Whether a global pool has collapsed time."""
        return bool(self.pools)

    def at_axis(self, axis: int | None) -> "TemporalType":
        """The same timing with the time axis elsewhere."""
        return replace(self, axis=axis)

    def slide(
        self, kernel: int, stride: int, dilation: int, pad_start: int, pad_end: int
    ) -> "TemporalType":
        """The type of the output of a temporal window (convolution or pool) over this value.

        Output i reads the inputs i·stride - pad_start + m·dilation, m = 0 … kernel - 1:

            pad_start=1, kernel=3      [pad] 0  1  2  3  4
            output 0                     x   x  x             newest input 1: one tick later
            output 1                         x  x  x
        """
        span = (kernel - 1) * dilation
        return replace(
            self,
            stride=self.stride * stride,
            delay=self.delay + max(0, span - pad_start) * self.stride,
            lookback=self.lookback + pad_start * self.stride,
            extent=self.extent + (pad_start + pad_end - span) * self.stride,
        )

    def collapse(self, axis: int | None, reach: int, pool: str) -> "TemporalType":
        """The type after the global pool `pool`, a window that reaches back `reach` ticks."""
        return replace(self, axis=axis, lookback=self.lookback + reach, pools=(*self.pools, pool))


def join(types: list[TemporalType]) -> TemporalType:
    """The type of an element-wise combination: element j of all operands meets at the latest delay.

    All operands must have the same stride; the axis is left to the caller.
    """
    delay = max(t.delay for t in types)
    return TemporalType(
        axis=None,
        stride=types[0].stride,
        delay=delay,
        lookback=max(t.lookback for t in types),
        extent=min(t.extent for t in types),
        pools=tuple(dict.fromkeys(name for t in types for name in t.pools)),
    )


@dataclass(frozen=True)
class StateSpec:
    """One history that a stream carries: the newest `depth` past elements of one value.

    Attributes:
        name: unique within the program, from the value's name.
        shape: of one element of one stream, without the batch.
        depth: number of past elements kept.
        fill: what the elements before the first frame are (the consumer's padding value).
    """

    name: str
    shape: tuple[int, ...]
    depth: int
    fill: float

    @property
    def elements(self) -> int:
        """Numbers held per stream."""
        count = self.depth
        for size in self.shape:
            count *= size
        return count
