"""Native rate: schedules values to ticks, and spreads their work evenly."""

from dataclasses import dataclass, field

from co3d.compiler.analyse import Analysis
from co3d.compiler.rules import Lowering

# A phase may cost this many times the mean. High limits, which add the least delay, come first.
_LIMITS = (1.5, 1.4, 1.3, 1.2, 1.1, 1.05)


def count_phase_macs(analysis: Analysis) -> list[int]:
    """Multiply-accumulates of each phase of the period."""
    return [
        sum(low.at(phase).macs for low in analysis.lowerings.values() if low.type.is_due(phase))
        for phase in range(analysis.period)
    ]


def count_clip_macs(analysis: Analysis, batch: int) -> int:
    """Multiply-accumulates of the clip network for one clip.

    Args:
        analysis: the analysis of the network.
        batch: number of clips that it was captured for.
    """
    total = 0
    for node, lowering in analysis.lowerings.items():
        if lowering.macs and lowering.type.axis is not None:
            shape = tuple(node.meta["val"].shape)
            total += lowering.macs * lowering.type.count_elements(shape, batch)
        else:
            total += lowering.macs
    return total


def count_recomputed_macs(analysis: Analysis) -> int:
    """The multiply-accumulates of a step that a fallback spends on past frames again."""
    return sum(low.macs for low in analysis.lowerings.values() if low.type.recomputed)


@dataclass
class EvenSpread:
    """Postpones values with strides to ticks that have less to do.

    Values are scheduled in graph order. Each is postponed by the fewest ticks with which no phase
    costs more than `limit` times the mean, or, if there are none, to the tick with the least work:

        before  tick 0: layers 1 2 3 4   tick 1: 1       tick 2: 1 2     tick 3: 1
        after   tick 0: layers 1 2       tick 1: 1 3     tick 2: 1 2     tick 3: 1 4
    """

    plain: Analysis
    limit: float
    loads: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        period, lowerings = self.plain.period, self.plain.lowerings.values()
        mean = sum(low.macs / low.type.stride for low in lowerings)
        self._allowed = self.limit * mean
        # Postponing a value that is computed at every tick moves no work.
        fixed = [low for low in lowerings if low.type.stride == 1]
        self.loads = [sum(low.at(phase).macs for low in fixed) for phase in range(period)]

    def __call__(self, lowering: Lowering) -> int:
        """The ticks by which to postpone a value."""
        stride, macs = lowering.type.stride, lowering.macs
        if stride == 1 or not macs:
            return 0

        def worst(ticks: int) -> int:
            return max(
                max(self.loads[(part.type.delay + ticks) % part.type.stride :: part.type.stride])
                + part.macs
                for part in lowering.variants
            )

        fitting = (ticks for ticks in range(stride) if worst(ticks) <= self._allowed)
        chosen = next(fitting, None)
        if chosen is None:
            chosen = min(range(stride), key=worst)
        for part in lowering.variants:
            start = (part.type.delay + chosen) % part.type.stride
            for phase in range(start, len(self.loads), part.type.stride):
                self.loads[phase] += part.macs
        return chosen


def spreads(plain: Analysis) -> list[EvenSpread]:
    """The spreads to try, in order."""
    return [EvenSpread(plain, limit) for limit in _LIMITS]
