"""The options that determine an archive's rows, and the engine that makes them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from co3d.compiler.program import Program
from co3d.engine import Engine
from co3d.errors import OptionError
from co3d.evaluation.header import Header
from co3d.evaluation.subject import describe_backend
from co3d.models import ModelCard
from co3d.runtime import CompiledProgram
from co3d.runtime import compile as compile_program

Columns = Literal["label", "probabilities", "features"]

FORMAT, VERSION = "co3d archive of labels", 1


@dataclass(frozen=True)
class ArchivePlan:
    """How the videos of an archive are labelled, on whichever machine.

    Attributes:
        rate_hz: frames per second that the network sees.
        columns: what a row has besides its time: the likeliest label and its probability, the
            probabilities of all labels, or the features of a layer.
        backend, precision, device: as for `co3d.compile`.
        at_once: videos that one engine has open; None for the number of cores (on a GPU for one)
            plus one, so that no worker waits while a video is opened.
    """

    rate_hz: float
    columns: Columns
    backend: str = "auto"
    precision: str | None = None
    device: str = "cpu"
    at_once: int | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            OptionError: a rate or a number of videos out of range.
        """
        if not 0 < self.rate_hz < math.inf:
            raise OptionError(
                f"cannot label at rate_hz={self.rate_hz}: expected a rate above 0, such as 6"
            )
        if self.at_once is not None and self.at_once < 1:
            raise OptionError(f"cannot label {self.at_once} videos at once: expected at least 1")

    def start_engine(self, program: Program[Any], card: ModelCard) -> Engine:
        """Compile a program and start an engine for it."""
        compiled = compile_program(
            program, backend=self.backend, precision=self.precision, device=self.device
        )
        cores = torch.get_num_threads() if compiled.device.type == "cpu" else 1
        return Engine(
            compiled,
            card,
            workers=min(cores, self.count_videos(compiled.device)),
            batch=self._count_together(compiled.device),
            load_limit=None,
        )

    def count_videos(self, device: torch.device) -> int:
        """How many videos one engine has open."""
        return self.at_once or (torch.get_num_threads() + 1 if device.type == "cpu" else 1)

    def make_header(self, compiled: CompiledProgram, identity: Mapping[str, Any]) -> Header:
        """The archive's header, by which a later run recognises it.

        Args:
            compiled: the program that steps. identity: properties of the network that `compiled`
                does not have.
        """
        settings = {
            **identity,
            "window": compiled.program.window,
            "rate_hz": self.rate_hz,
            "columns": self.columns,
            "backend": describe_backend(compiled),
            # On a GPU, rounding of outputs may depend on how many videos step together.
            "together": self._count_together(compiled.device),
        }
        return Header(FORMAT, VERSION, settings)

    def _count_together(self, device: torch.device) -> int:
        return 1 if device.type == "cpu" else self.count_videos(device)
