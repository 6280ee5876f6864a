"""The runtime: compiles a program once for a device, and steps any number of streams with it."""

from co3d.runtime.compiled import CompiledProgram
from co3d.runtime.opening import compile, open_stream  # noqa: A004
from co3d.runtime.result import StepResult
from co3d.runtime.slot import Slot
from co3d.runtime.snapshot import Snapshot
from co3d.runtime.stream import Stream

__all__ = [
    "CompiledProgram",
    "Slot",
    "Snapshot",
    "StepResult",
    "Stream",
    "compile",
    "open_stream",
]
