"""The runtime: one program on one device, for many streams."""

from co3d.runtime.choice import open_stream
from co3d.runtime.snapshot import Snapshot
from co3d.runtime.stream import StepResult, Stream

__all__ = ["Snapshot", "StepResult", "Stream", "open_stream"]
