"""Compares backends and precisions on real streams."""

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
Configuration = tuple[str, str, str]
"""Backend, precision and device."""

REFERENCE: Configuration = ("torch", "float64", "cpu")  # the reference for errors
LABELS: Configuration = ("torch", "float32", "cpu")  # the reference for labels
FULL_FLOAT32_NOTE = (
    "float32 is compared in full: without TensorFloat-32, which PyTorch by default lets cuDNN's "
    "convolutions use, and which keeps 10 of 23 bits"
)

ProgressCallback = Callable[[str, int, int], None]


class PrecisionComparison:
    """Steps one program through the same frames on several backends, frame by frame.

    It may be interrupted at any time; `report` then covers the frames compared so far. The
    reference is computed on the CPU.

    Attributes:
        compared_frames: frames compared so far.

    Args:
        program: from `convert_with_features`.
        has_features: whether its last output is the classifier's input.
        engines: (backend, precision) pairs.
        random_weights: whether the weights are random, which the report states.
        device: torch device of the pairs.

    Raises:
        OptionError: the program's first output is not a vector of scores, a pair is not supported
            on the device, or the device is missing.
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
        configurations: list[Configuration] = [(*engine, device) for engine in engines]
        with limit_threads(choose_threads(program)), full_float32():
            self._streams = {
                (backend, precision, place): open_stream(
                    program, backend=backend, precision=precision, device=place
                )
                for backend, precision, place in dict.fromkeys((REFERENCE, LABELS, *configurations))
            }
        self._tallies = {configuration: _Tally() for configuration in configurations}
        self._names: list[str] = []
        self._notes = [FULL_FLOAT32_NOTE] if self._device.type == "cuda" else []
        self.compared_frames = 0

    def run(self, streams: Sequence[FrameStream], frames: int, report: ProgressCallback) -> None:
        """Compare valid results, about equally many of every stream.

        Args:
            streams: in order; what a short stream lacks is added to those after it.
            frames: how many valid results to compare in all.
            report: called with the name of the stage, the frames compared and their total.

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
        """ProgressCallback the comparison so far, with further notes."""
        rows = [
            tally.summarise(configuration, self._streams[configuration])
            for configuration, tally in self._tallies.items()
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
        results = {
            configuration: opened.step(frame) for configuration, opened in self._streams.items()
        }
        if not results[REFERENCE].valid[0]:
            return
        made = {
            configuration: [leaf[0].cpu() for leaf in tree_leaves(result.output)]
            for configuration, result in results.items()
        }
        label = made[LABELS][0].argmax()
        for configuration, tally in self._tallies.items():
            tally.add(made[configuration], made[REFERENCE], label, has_features=self._has_features)
        self.compared_frames += 1


class _Tally:
    """Collects the errors of one backend and precision, frame by frame."""

    def __init__(self) -> None:
        self.logits: list[float] = []
        self._features: list[float] = []
        self._changed = 0

    def add(
        self, made: list[Tensor], exact: list[Tensor], label: Tensor, *, has_features: bool
    ) -> None:
        """Add a frame: its outputs without the batch axis, and the reference label."""
        self._changed += int(not torch.equal(made[0].argmax(), label))
        if has_features:
            self._features.append(relative_error(made[-1], exact[-1]))
        self.logits.append(relative_error(made[0], exact[0]))

    def summarise(self, configuration: Configuration, stream: Stream) -> PrecisionRow:
        """The row of the table."""
        backend, precision, _ = configuration
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
    """L2 norm of the difference divided by that of `expected`; infinite if not finite."""
    difference = float((actual.double() - expected.double()).norm())
    if difference == 0:
        return 0.0
    scale = float(expected.double().norm())
    return difference / scale if difference < float("inf") and scale > 0 else float("inf")


def _spread(errors: Sequence[float]) -> ErrorSpread:
    return ErrorSpread(max(errors), median(errors))
