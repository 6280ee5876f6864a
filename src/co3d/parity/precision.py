"""Backends and precisions side by side on real streams."""

from collections.abc import Callable, Sequence
from statistics import median

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from co3d.backends.threads import limit_threads
from co3d.compiler.program import StepProgram
from co3d.errors import DamagedVideoError, EmptyVideoError, OptionError
from co3d.parity.full_float32 import full_float32
from co3d.parity.precision_report import ErrorSpread, PrecisionReport, PrecisionRow
from co3d.parity.streams import FrameStream
from co3d.runtime import Stream, open_stream
from co3d.runtime.choice import choose_backend
from co3d.runtime.threads import choose_threads

Engine = tuple[str, str]
Seat = tuple[str, str, str]
"""Backend, precision and device."""

REFERENCE: Seat = ("torch", "float64", "cpu")  # errors are from this
LABELS: Seat = ("torch", "float32", "cpu")  # labels are compared with its labels
FULL_FLOAT32_NOTE = (
    "float32 is compared in full: without TensorFloat-32, which PyTorch by default lets cuDNN's "
    "convolutions use, and which keeps 10 of 23 bits"
)

Report = Callable[[str, int, int], None]


class PrecisionComparison:
    """Steps one program through the same frames on several backends, in step with each other.

    May be stopped at any time: `report` tells of the frames that were compared until then. What
    they are compared with is computed on the CPU.

    Attributes:
        compared_frames: so far.

    Args:
        program: from `convert_with_features`.
        has_features: whether its last output is what the classifier reads.
        engines: (backend, precision) pairs.
        random_weights: for the report.
        device: torch device of the engines.

    Raises:
        OptionError: the program's first output is no vector of scores, or an engine does not exist
            on the device, or this is not there.
        MissingPackageError: a backend's package is not installed.
    """

    def __init__(
        self,
        program: StepProgram,
        *,
        has_features: bool,
        engines: Sequence[Engine],
        random_weights: bool,
        device: str = "cpu",
    ) -> None:
        if len(program.output_shape) != 1 or program.output_shape[0] < 2:
            raise OptionError(
                f"cannot compare the labels of {program.name}: got a first output of shape "
                f"{program.output_shape}, expected one score per class; run `co3d check` without "
                "--backend, which compares all values"
            )
        self._program, self._has_features = program, has_features
        self._random_weights, self._device = random_weights, torch.device(device)
        seats: list[Seat] = [(*engine, device) for engine in engines]
        with limit_threads(choose_threads(program)), full_float32():
            self._streams = {
                (backend, precision, place): open_stream(
                    program, backend=backend, precision=precision, device=place
                )
                for backend, precision, place in dict.fromkeys((REFERENCE, LABELS, *seats))
            }
        self._tallies = {seat: _Tally() for seat in seats}
        self._names: list[str] = []
        self._notes = [FULL_FLOAT32_NOTE] if self._device.type == "cuda" else []
        self.compared_frames = 0

    def run(self, streams: Sequence[FrameStream], frames: int, report: Report) -> None:
        """Compare valid results, up to so many in all, of every stream about as many.

        Args:
            streams: in order; short ones leave their share to those after them.
            frames: with valid results, in all.
            report: called with what is being done, the frames compared and their number.

        Raises:
            EmptyVideoError: no stream is long enough to fill the network's window.
        """
        with limit_threads(choose_threads(self._program)), full_float32(), torch.inference_mode():
            for i, stream in enumerate(streams):
                share = -(-(frames - self.compared_frames) // (len(streams) - i))
                until = self.compared_frames + share
                try:
                    self._play(
                        stream, until, lambda: report("frames", self.compared_frames, frames)
                    )
                except DamagedVideoError as error:
                    self._notes.append(str(error))
        if not self.compared_frames:
            raise EmptyVideoError(
                f"cannot compare: none of {', '.join(self._names)} fills the network's window of "
                f"{self._program.first_valid_step + 1} sampled frames; give a longer --video or a "
                "smaller --window"
            )

    def report(self, notes: Sequence[str] = ()) -> PrecisionReport:
        """What was found so far, with further notes."""
        rows = [
            tally.summarise(seat, self._streams[seat])
            for seat, tally in self._tallies.items()
            if tally.logits
        ]
        choice = choose_backend(self._program, "float32", self._device)
        return PrecisionReport(
            rows=tuple(rows),
            streams=tuple(self._names),
            device=str(self._device),
            default=(choice.backend, choice.reason),
            random_weights=self._random_weights,
            notes=(*notes, *self._notes),
        )

    def _play(self, stream: FrameStream, until: int, advance: Callable[[], None]) -> None:
        self._names.append(stream.name)
        for opened in self._streams.values():
            opened.reset()
        for frame in stream.open():
            if self.compared_frames >= until:
                break
            self._step(frame)
            advance()

    def _step(self, frame: Tensor) -> None:
        results = {seat: opened.step(frame) for seat, opened in self._streams.items()}
        if not results[REFERENCE].valid[0]:
            return
        made = {
            seat: [leaf[0].cpu() for leaf in tree_leaves(result.output)]
            for seat, result in results.items()
        }
        label = made[LABELS][0].argmax()
        for seat, tally in self._tallies.items():
            tally.add(made[seat], made[REFERENCE], label, has_features=self._has_features)
        self.compared_frames += 1


class _Tally:
    """Gathers what one engine computes, frame by frame."""

    def __init__(self) -> None:
        self.logits: list[float] = []
        self._features: list[float] = []
        self._changed = 0

    def add(
        self, made: list[Tensor], exact: list[Tensor], label: Tensor, *, has_features: bool
    ) -> None:
        """One frame: outputs, without the batch, and the label to compare with."""
        self._changed += int(not torch.equal(made[0].argmax(), label))
        if has_features:
            self._features.append(relative_error(made[-1], exact[-1]))
        self.logits.append(relative_error(made[0], exact[0]))

    def summarise(self, seat: Seat, stream: Stream) -> PrecisionRow:
        """The row of the table."""
        backend, precision, _ = seat
        return PrecisionRow(
            backend=backend,
            precision=precision,
            description=stream.backend,
            frames=len(self.logits),
            logits=_spread(self.logits),
            features=_spread(self._features) if self._features else None,
            changed_labels=self._changed,
        )


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """L2 norm of the difference over that of the expected; infinite where one is not finite."""
    difference = float((actual.double() - expected.double()).norm())
    if difference == 0:
        return 0.0
    scale = float(expected.double().norm())
    return difference / scale if difference < float("inf") and scale > 0 else float("inf")


def _spread(errors: Sequence[float]) -> ErrorSpread:
    return ErrorSpread(max(errors), median(errors))
