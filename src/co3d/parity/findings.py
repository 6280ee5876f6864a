"""The result of a verification, and its interpretation."""

from dataclasses import dataclass

from co3d.compiler.program import StepProgram
from co3d.errors import ParityError


@dataclass(frozen=True)
class ValueCheck:
    """The comparison of one value of the network.

    Attributes:
        name, module_path, operator: identify the value.
        elements: how many of its elements were compared.
        difference: the largest absolute difference over all lengths, divided by the value's largest
            magnitude.
    """

    name: str
    module_path: str
    operator: str
    elements: int
    difference: float


@dataclass(frozen=True, repr=False)
class Verification:
    """The result of comparing steps with clips. All differences are relative.

    Attributes:
        program: the step program that was compared, with edges="both".
        precision: of weights, frames and state.
        tolerance: the largest difference that rounding explains.
        lengths: the lengths of the clips, in frames.
        values: every value that the steps make, in the order of the network.
        output_difference: between the final program's results and the clip network's, for streams
            of all lengths in one batch, flushed at their ends; None if all clips are longer than
            the window.
        edges_difference: between the graphs for `edges` "both", "start" and "none", on streams
            where they must agree.
        simplified_difference: between the given model and the clip network after the exact passes.
        model_difference: between the given model and the clip network after all rewrites, which
            includes the approximations that `program.approximations` lists.
        dependence: for each output, how much it differs between two random clips, in the network
            and in the steps.
        notes: what was not compared, or proves nothing, and why.
    """

    program: StepProgram
    precision: str
    tolerance: float
    lengths: tuple[int, ...]
    values: tuple[ValueCheck, ...]
    output_difference: float | None
    edges_difference: float
    simplified_difference: float
    model_difference: float
    dependence: tuple[tuple[float, float], ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        worst = max((value.difference for value in self.values), default=0.0)
        return (
            f"Verification({self.program.name}, passed={self.passed}, {len(self.values)} values, "
            f"largest difference {worst:.1e} in {self.precision})"
        )

    @property
    def first_mismatch(self) -> ValueCheck | None:
        """The first value, in the order of the network, that steps get wrong."""
        wrong = (v for v in self.values if not v.difference <= self.tolerance)
        return next(wrong, None)

    @property
    def passed(self) -> bool:
        """Whether steps equal clips in every comparison, and the verification is not void."""
        return not self._complaints() and not self.is_void

    @property
    def is_void(self) -> bool:
        """Whether no output of the network depends on the clip, so that equality proves nothing."""
        return not any(difference for difference, _ in self.dependence)

    def require(self) -> None:
        """Do nothing if steps equal clips.

        Raises:
            ParityError: they do not; the message names the first value that differs. Or the
                network's outputs do not depend on the clip.
        """
        complaints = self._complaints()
        if not complaints and self.is_void:
            raise ParityError(
                f"cannot verify {self.program.name}: its outputs are the same for two random "
                "clips, so that their equality proves nothing; give weights with which they differ"
            )
        if complaints:
            advice = "this is an error of co3d: report it with the network"
            if self.precision == "float32":
                advice = f"check in float64 whether that is rounding; if not, {advice}"
            raise ParityError(
                f"steps of {self.program.name} differ from its clips: {'; '.join(complaints)} "
                f"(expected at most {self.tolerance:g}); {advice}"
            )

    def _complaints(self) -> list[str]:
        complaints = []
        first = self.first_mismatch
        if first is not None:
            complaints.append(
                f"first at {first.name} ({first.operator} in {first.module_path or 'the model'}), "
                f"by {first.difference:.2g} of its largest magnitude"
            )
        others = {
            "the finished program's results": self.output_difference,
            "the graphs for other edges": self.edges_difference,
            "the simplified clip network from the model": self.simplified_difference,
        }
        complaints += [
            f"{what} by {difference:.2g}"
            for what, difference in others.items()
            if difference is not None and not difference <= self.tolerance
        ]
        complaints += [
            f"output {i} ignores the clip, by which the model's differs by {difference:.2g}"
            for i, (difference, of_steps) in enumerate(self.dependence)
            if of_steps <= self.tolerance < difference
        ]
        return complaints
