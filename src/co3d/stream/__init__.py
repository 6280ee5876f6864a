"""The compiler: any clip network becomes a step program."""

from co3d.stream.convert import convert
from co3d.stream.program import StepProgram
from co3d.stream.temporal import StateSpec, TemporalType

__all__ = ["StateSpec", "StepProgram", "TemporalType", "convert"]
