"""A step program from an exported file, which runs without the model's Python code."""

from dataclasses import dataclass
from functools import cached_property

from co3d.backends.graphs.stored_graph import StepGraph
from co3d.compiler.program import Program


@dataclass(frozen=True, repr=False)
class StoredProgram(Program[StepGraph]):
    """A step program from a file; in the format of a runtime, slots and precision are fixed.

    Attributes:
        slots: videos that step together; None for any number.
        precision: of weights and state; None for any that the backend supports.
        own_fingerprint: of the program that was exported, equal for all precisions.
    """

    slots: int | None
    precision: str | None
    own_fingerprint: str

    @cached_property
    def fingerprint(self) -> str:
        """See `Program.fingerprint`."""
        return self.own_fingerprint
