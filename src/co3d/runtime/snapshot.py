"""A snapshot: a copy of one stream's state, which can be saved and restored elsewhere."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from co3d.arguments import check_arguments
from co3d.compiler.program import Program
from co3d.errors import StreamError
from co3d.files import output_file
from co3d.printable import short_repr
from co3d.runtime.clock import UNKNOWN_END, count_steps
from co3d.weights.safetensors_file import READ_ERRORS, pack_safetensors, read_safetensors

_FORMAT = "co3d snapshot 1"


@dataclass(frozen=True, repr=False)
class Snapshot:
    """A copy of one stream's state.

    Attributes:
        tensors: state name -> (depth, …), newest first.
        age: frames stepped.
        end: index of the video's last frame, or the clock's UNKNOWN_END.
        fingerprint: of the program that it belongs to.
        notes: further texts by name, which the caller of `save` added.
    """

    tensors: dict[str, Tensor]
    age: int
    end: int
    fingerprint: str
    notes: Mapping[str, str] = field(default_factory=dict)

    @check_arguments()
    def save(self, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
        """Write the snapshot as a safetensors file, atomically.

        Args:
            notes: texts to store with it; None for its own `notes`.

        Raises:
            OutputError: the file cannot be written.
        """
        header = {
            "format": _FORMAT,
            "clock": json.dumps({"age": self.age, "end": self.end}),
            "fingerprint": self.fingerprint,
            "notes": json.dumps(dict(self.notes if notes is None else notes)),
        }
        content = pack_safetensors(self.tensors, header)
        with output_file(Path(path)) as temporary:
            temporary.write_bytes(content)

    @classmethod
    @check_arguments()
    def load(cls, path: str | Path) -> "Snapshot":
        """Read a snapshot file.

        Raises:
            StreamError: the file is missing or is not a snapshot.
        """
        try:
            tensors, header = read_safetensors(Path(path))
            if header.get("format") != _FORMAT:
                raise StreamError(
                    f"cannot restore from {path}: got format {short_repr(header.get('format'))}, "
                    f"expected {_FORMAT!r}; pass a file written by Snapshot.save"
                )
            clock, notes = (json.loads(header.get(name, "{}")) for name in ("clock", "notes"))
            if not isinstance(notes, dict) or not all(isinstance(n, str) for n in notes.values()):
                raise ValueError("its notes are no texts")
            return cls(tensors, int(clock["age"]), int(clock["end"]), header["fingerprint"], notes)
        except (*READ_ERRORS, OverflowError, RecursionError) as error:
            raise StreamError(
                f"cannot restore from {path}: {error}; pass a file written by Snapshot.save"
            ) from error

    def __repr__(self) -> str:
        state_bytes = sum(tensor.nbytes for tensor in self.tensors.values())
        return (
            f"Snapshot(age={self.age}, {len(self.tensors)} states, {state_bytes} bytes, "
            f"of program {self.fingerprint[:12]})"
        )


def check_snapshot(snapshot: Snapshot, program: Program[Any]) -> None:
    """Check that a snapshot can belong to a stream of a program.

    Raises:
        StreamError: a state is missing or has another shape or dtype; or the clock is impossible.
    """
    for spec in program.states:
        found = snapshot.tensors.get(spec.name)
        expected = (spec.depth, *spec.shape)
        if found is None or tuple(found.shape) != expected:
            shape = "nothing" if found is None else tuple(found.shape)
            raise StreamError(
                f"cannot restore: the snapshot has {shape} for the state {spec.name}, expected "
                f"{expected}; take another snapshot"
            )
        is_alike = found.dtype == spec.dtype
        if not (is_alike or (found.is_floating_point() and spec.dtype.is_floating_point)):
            raise StreamError(
                f"cannot restore: the snapshot has {found.dtype} for the state {spec.name}, "
                f"expected {spec.dtype}; take another snapshot"
            )
    age, end = snapshot.age, snapshot.end
    is_running = end == UNKNOWN_END and 0 <= age <= UNKNOWN_END
    has_ended = program.edges == "both" and 0 <= end < age <= count_steps(program, end + 1)
    if not (is_running or has_ended):
        raise StreamError(
            f"cannot restore: the snapshot is of age {snapshot.age}, and its video ends with frame "
            f"{snapshot.end}; take another snapshot"
        )
