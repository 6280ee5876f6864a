"""The compiler: any clip network becomes a step program."""

from co3d.compiler.convert import convert
from co3d.compiler.program import StepProgram
from co3d.compiler.temporal import StateSpec, TemporalType

__all__ = ["StateSpec", "StepProgram", "TemporalType", "convert"]
