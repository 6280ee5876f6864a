"""A slot: one stream's state in a compiled program."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from co3d.arguments import check_arguments
from co3d.backends.contract import Executable, State
from co3d.compiler.program import Program
from co3d.errors import StreamError
from co3d.runtime.clock import SlotClock
from co3d.runtime.snapshot import Snapshot, check_snapshot


class Slot:
    """One stream's state and clock. Made by `CompiledProgram.open`.

    Only one thread may use a slot at a time; a second one gets a StreamError. Different slots may
    be used by different threads.

    Attributes:
        owner: the compiled program that steps it.
        clock: age and end of its video.
        executable: the executable that steps it now. state: its ring buffers.
    """

    __slots__ = (
        *("_claim", "_is_closed", "_is_torn", "_program", "clock", "executable", "owner", "state"),
    )

    def __init__(
        self, owner: object, program: Program[Any], clock: SlotClock, executable: Executable
    ) -> None:
        self.owner, self._program = owner, program
        self.clock, self.executable = clock, executable
        self.state: State = executable.open()
        # Holds the token of the present user. `dict.setdefault` is atomic, so that an interrupt
        # cannot leave a claim that is never released.
        self._claim: dict[str, object] = {}
        self._is_closed = False
        # Whether a step failed in the middle, so that some states are a frame ahead of others.
        self._is_torn = False

    @property
    def age(self) -> int:
        """Frames stepped since the slot was opened or reset."""
        return self.clock.age

    @property
    def remaining(self) -> int | None:
        """How many steps a finished video still needs for its last result; None while it runs."""
        return self.clock.remaining if self.clock.has_ended else None

    def reset(self) -> None:
        """Reset the state, so that the next frame is a video's first."""
        with self._claimed():
            self._is_torn = True
            self.state.reset()
            self.clock.set()
            self._is_torn = False

    def finish(self) -> int:
        """Declare the newest frame the video's last one.

        Returns:
            How many further steps its results need. They take blank frames, and other slots may
            step in the same calls. It is 0, and nothing changes, before the first frame and for
            programs without edges="both".
        """
        with self._claimed():
            self._require_whole("finish")
            if self._program.edges != "both" or self.clock.age == 0:
                return 0
            if not self.clock.has_ended:
                self.clock.finish()
            return self.clock.remaining

    def snapshot(self) -> Snapshot:
        """Copy the state; `Snapshot.save` writes it to a file."""
        with self._claimed():
            self._require_whole("copy")
            tensors = {
                spec.name: torch.stack(elements).cpu()
                for spec, elements in zip(self._program.states, self.state.read(), strict=True)
            }
            return Snapshot(tensors, self.clock.age, self.clock.end, self._program.fingerprint)

    @check_arguments()
    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot; it may come from another backend or precision.

        Raises:
            StreamError: the snapshot was made by another program, or is damaged; the slot is then
                unchanged.
        """
        if snapshot.fingerprint != self._program.fingerprint:
            raise StreamError(
                "cannot restore: the snapshot belongs to another program "
                f"(got {snapshot.fingerprint[:12]}, expected {self._program.fingerprint[:12]}); "
                "convert the same model with the same options and weights"
            )
        check_snapshot(snapshot, self._program)
        elements: list[list[Tensor]] = [
            list(snapshot.tensors[spec.name].unbind(0)) for spec in self._program.states
        ]
        with self._claimed():
            self._is_torn = True
            self.state.write(elements)
            self.clock.set(snapshot.age, snapshot.end)
            self._is_torn = False

    def close(self) -> None:
        """Free the memory; further calls do nothing."""
        if not self._is_closed:
            with self._claimed():
                self._is_closed = True
                self.state.close()

    def take(self, token: object) -> None:
        """Claim the slot until `let_go` with the same token.

        Raises:
            StreamError: the slot is closed, or another thread is using it.
        """
        if self._claim.setdefault("token", token) is not token:
            raise StreamError(
                "cannot use this slot: another thread is using it; give every thread slots of its "
                "own, or wait for the other one"
            )
        if self._is_closed:
            raise StreamError("cannot use this slot: it is closed; open another one")

    def let_go(self, token: object) -> None:
        """Release a claim; does nothing if `take` failed."""
        if self._claim.get("token") is token:
            self._claim.clear()

    def check_step(self) -> None:
        """Check that the slot may step.

        Raises:
            StreamError: its video is over, or its last step failed in the middle.
        """
        self._require_whole("step")
        if self.clock.has_ended and not self.clock.remaining:
            raise StreamError("cannot step this slot: its video was flushed; reset it first")

    def move(self, executable: Executable) -> None:
        """Move the state to another executable of the program; the caller has claimed the slot."""
        self._require_whole("move")
        state = executable.open()
        state.write(self.state.read())
        self.state.close()
        self.state, self.executable = state, executable

    def begin_step(self) -> None:
        """Mark the slot as torn, because a step that fails leaves its state half updated."""
        self._is_torn = True

    def end_step(self) -> None:
        """Advance the clock after a successful step."""
        self.clock.age += 1
        self._is_torn = False

    def _require_whole(self, what: str) -> None:
        if self._is_torn:
            raise StreamError(
                f"cannot {what} this slot: its last step was interrupted, and its state is half a "
                "frame old; reset it, or restore a snapshot"
            )

    @contextmanager
    def _claimed(self) -> Iterator[None]:
        token = object()
        try:
            self.take(token)
            yield
        finally:
            self.let_go(token)

    def __enter__(self) -> "Slot":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"age={self.clock.age}"
        return f"Slot({self._program.name}, {state})"
