"""A snapshot: one stream's state, apart from the process that made it."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from co3d.errors import OutputError, StreamError

_FORMAT = "co3d snapshot 1"


@dataclass(frozen=True)
class Snapshot:
    """Everything that one stream carries from step to step.

    Attributes:
        tensors: state name -> (depth, …), newest first.
        age: frames seen.
        end: index of the video's last frame, or the clock's UNKNOWN_END.
        fingerprint: of the program that it belongs to.
    """

    tensors: dict[str, Tensor]
    age: int
    end: int
    fingerprint: str

    def save(self, path: str | Path) -> None:
        """Write the snapshot as a safetensors file, atomically.

        Raises:
            OutputError: the file cannot be written.
        """
        path = Path(path)
        header = {
            "format": _FORMAT,
            "clock": json.dumps({"age": self.age, "end": self.end}),
            "fingerprint": self.fingerprint,
        }
        temporary = None
        try:
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                temporary = Path(file.name)
            save_file(self.tensors, temporary, metadata=header)
            temporary.replace(path)
        except (OSError, SafetensorError) as error:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            raise OutputError(
                f"cannot write the snapshot {path}: {error}; choose a writable folder with space"
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> "Snapshot":
        """Read a snapshot file.

        Raises:
            StreamError: the file is missing or is not a snapshot.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("format") != _FORMAT:
                    raise StreamError(
                        f"cannot restore from {path}: got format {header.get('format')!r}, "
                        f"expected {_FORMAT!r}; pass a file written by Snapshot.save"
                    )
                clock = json.loads(header["clock"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return cls(tensors, int(clock["age"]), int(clock["end"]), header["fingerprint"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise StreamError(
                f"cannot restore from {path}: {error}; pass a file written by Snapshot.save"
            ) from error
