"""Computes the peak memory of a graph's values, if each is freed after its last use."""

from collections.abc import Iterable

from co3d.errors import ExportedFileError


class PeakMemory:
    """Collects the sizes and uses of a graph's values, in execution order."""

    def __init__(self) -> None:
        self._made: list[tuple[str, int]] = []
        self._last: dict[str, int] = {}

    def step(self, name: str, made_bytes: int, taken: Iterable[str]) -> None:
        """Add a value, its bytes and the values that it reads; graph inputs count 0 bytes."""
        place = len(self._made)
        self._made.append((name, made_bytes))
        self._last.update(dict.fromkeys((name, *taken), place))

    def check(self, origin: str, most_bytes: int) -> None:
        """Check that the peak is at most `most_bytes`.

        Raises:
            ExportedFileError: it is more; the message names the peak.
        """
        peak = self.find_peak()
        if peak > most_bytes:
            raise ExportedFileError(
                f"cannot run {origin}: its values take {peak} bytes at once, expected at most "
                f"{most_bytes}; if you trust it, load_program(path, most_bytes=…) allows more"
            )

    def find_peak(self) -> int:
        """The most bytes that are alive at the same time."""
        freed = [0] * len(self._made)
        for name, made_bytes in self._made:
            freed[self._last[name]] += made_bytes
        alive = peak = 0
        for (_name, made_bytes), freed_bytes in zip(self._made, freed, strict=True):
            alive += made_bytes
            peak = max(peak, alive)
            alive -= freed_bytes
        return peak
