"""The rows of a network's picture: which values have temporal operators, and what they read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from co3d.compiler.explain import ValueTiming
from co3d.compiler.rules.recompute import collect_clip


@dataclass(frozen=True)
class Reading:
    """How one level reads another.

    Attributes:
        level: index of the level that is read.
        offsets: frames of the elements that are read, relative to the reader's frame.
        backs: for each of them, how many frames before the reading it was computed.
    """

    level: int
    offsets: tuple[int, ...]
    backs: tuple[int, ...]

    @property
    def is_delay_line(self) -> bool:
        """Whether a single element of an earlier step is read."""
        return len(self.backs) == 1 and self.backs[0] > 0

    @property
    def is_immediate(self) -> bool:
        """Whether only elements of the same step are read."""
        return self.backs == (0,)


@dataclass(frozen=True)
class Level:
    """Values that are computed in the same step and stand for the same frame.

    Attributes:
        rows: the values that give the level its name: one with a temporal operator or a delay, and
            the one that joins it with a delayed value, if any.
        readings: of earlier levels.
        state_bytes: state of all its values, per stream.
        depth: age in frames of the oldest element in the state.
    """

    rows: tuple[ValueTiming, ...]
    readings: tuple[Reading, ...]
    state_bytes: int = 0
    depth: int = 0

    @property
    def row(self) -> ValueTiming:
        """The value that other levels read."""
        return self.rows[-1]

    @property
    def operators(self) -> str:
        """Short names of the operators drawn in this row."""
        if self.is_rerun:
            return "rerun"
        names = dict.fromkeys(row.operator.split(".")[0] for row in self.rows)
        return " + ".join(names)

    @property
    def is_rerun(self) -> bool:
        """Whether it is a fallback, which collects a whole clip."""
        return self.row.operator == collect_clip.__name__

    @property
    def window(self) -> Reading | None:
        """The reading of a pool over a window, or of a clip that is rerun."""
        several = (r for r in self.readings if len(r.offsets) > 1)
        return next(several, None) if self.row.is_pooled else None


def find_levels(rows: Sequence[ValueTiming]) -> list[Level]:
    """Group the values of a network into levels, inputs first.

    A value that only reads values of the same step and frame belongs to the level that it reads. A
    value that joins several levels (parallel branches) begins its own level; one that joins a level
    with a delayed value (a shortcut) is drawn with that level.
    """
    gathered = _Gathered()
    for row in rows:
        gathered.add(row)
    return _join_shortcuts(gathered.levels)


@dataclass
class _Gathered:
    levels: list[Level] = field(default_factory=list)
    # Per value: its level. Per level: the values that belong to it.
    _level_of: dict[str, int] = field(default_factory=dict)
    _timing_of: dict[str, ValueTiming] = field(default_factory=dict)
    _covered: list[set[int]] = field(default_factory=list)

    def add(self, row: ValueTiming) -> None:
        offsets: dict[int, set[int]] = {}
        for name, where in row.reads:
            offsets.setdefault(self._level_of[name], set()).update(where)
        readings = [self._reading(row, level, where) for level, where in offsets.items()]
        home = self._find_home(row, readings)
        self._timing_of[row.name] = row
        if home is None:
            home = len(self.levels)
            self.levels.append(Level((row,), tuple(readings)))
            at_once = [r.level for r in readings if r.is_immediate]
            self._covered.append({home}.union(*(self._covered[level] for level in at_once)))
        self._level_of[row.name] = home
        self._remember(home, readings, row.state_bytes)

    def _reading(self, row: ValueTiming, level: int, offsets: set[int]) -> Reading:
        ordered = tuple(sorted(offsets))
        made = self.levels[level].row.delay
        return Reading(level, ordered, tuple(row.delay - offset - made for offset in ordered))

    def _find_home(self, row: ValueTiming, readings: Iterable[Reading]) -> int | None:
        """The level that a value belongs to; None if it begins its own."""
        at_once = [r.level for r in readings if r.is_immediate and r.offsets == (0,)]
        if not row.reads or len(at_once) < len(list(readings)):
            return None
        deepest = max(at_once)
        alike = self.levels[deepest].row.stride == row.stride
        return deepest if alike and self._covered[deepest].issuperset(at_once) else None

    def _remember(self, home: int, readings: Iterable[Reading], state_bytes: int) -> None:
        own = self.levels[home]
        self.levels[home] = replace(own, state_bytes=own.state_bytes + state_bytes)
        for reading in readings:
            read = self.levels[reading.level]
            self.levels[reading.level] = replace(read, depth=max(read.depth, *reading.backs))


def _join_shortcuts(levels: list[Level]) -> list[Level]:
    """Draw a branch and its sum with the shortcut as one level.

    That is possible if nothing else reads the branch, so that it is never in the state.
    """
    readers: dict[int, int] = {}
    for level in levels:
        for reading in level.readings:
            readers[reading.level] = readers.get(reading.level, 0) + 1
    joined: list[Level] = []
    place: dict[int, int] = {}
    for index, level in enumerate(levels):
        branches = [r.level for r in level.readings if r.is_immediate]
        waiting = [r for r in level.readings if r.is_delay_line]
        is_shortcut = len(branches) == 1 and len(waiting) + 1 == len(level.readings) > 1
        # No level may lie between the two, because merging would change the order of levels.
        if is_shortcut and readers[branches[0]] == 1 and place[branches[0]] == len(joined) - 1:
            branch = joined.pop()
            rows, kernels, others = (*branch.rows, *level.rows), branch.readings, waiting
        else:
            rows, kernels, others = level.rows, (), level.readings
        moved = tuple(replace(r, level=place[r.level]) for r in others)
        place[index] = len(joined)
        joined.append(replace(level, rows=rows, readings=kernels + moved))
    return joined
