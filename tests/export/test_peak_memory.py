"""The peak memory of values that are alive at once."""

import pytest

from co3d.errors import ExportedFileError
from co3d.export.peak_memory import PeakMemory


def add_values(*steps: tuple[str, int, tuple[str, ...]]) -> PeakMemory:
    alive = PeakMemory()
    for step in steps:
        alive.step(*step)
    return alive


def test_values_are_freed_after_their_last_use() -> None:
    chain = [(f"v{i}", 10, (f"v{i - 1}",)) for i in range(100)]
    assert add_values(*chain).find_peak() == 20
    assert add_values(*chain, ("end", 1, ("v0",))).find_peak() == 30
    assert add_values(*chain, ("end", 1, tuple(f"v{i}" for i in range(100)))).find_peak() == 1001
    assert add_values(("unused", 7, ()), ("v", 5, ())).find_peak() == 7
    assert add_values().find_peak() == 0


def test_a_peak_above_the_limit_is_refused() -> None:
    alive = add_values(("a", 10, ()), ("b", 10, ("a", "frame")))
    alive.check("f.onnx", 20)
    with pytest.raises(
        ExportedFileError, match="values take 20 bytes at once, expected at most 19"
    ):
        alive.check("f.onnx", 19)
