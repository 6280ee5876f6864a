"""Backends: what runs a step program."""

from co3d.backends.select import open_stream
from co3d.backends.snapshot import Snapshot
from co3d.backends.stream import StepResult, Stream

__all__ = ["Snapshot", "StepResult", "Stream", "open_stream"]
