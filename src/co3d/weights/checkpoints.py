"""`read_checkpoint`: in this process or a sandboxed one, as the user chose."""

from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import save_file

from co3d.errors import SandboxError, WeightError
from co3d.sandbox import Sandbox, find_sandbox
from co3d.weights.containers import Checkpoint, read_container
from co3d.weights.safetensors_file import READ_ERRORS, read_safetensors


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint of any container; see `read_container`.

    Inside `co3d.read_in_sandbox` a separate process reads the file, and passes the tensors on as a
    plain safetensors file in a private folder; this process reads only that.

    Raises:
        WeightError: the file is absent, damaged, of another kind, or holds more than plain data.
        SandboxError: reading killed that process, or exceeded its limits.
    """
    sandbox = find_sandbox()
    return read_container(path) if sandbox is None else _read_in(sandbox, Path(path))


def _read_in(sandbox: Sandbox, path: Path) -> Checkpoint:
    with TemporaryDirectory(prefix="co3d-") as folder:
        plain = Path(folder) / "plain.safetensors"
        try:
            sandbox.run(copy_plain, path, plain)
        except SandboxError as error:
            raise SandboxError(f"cannot read weights {path}: {error}") from error
        try:
            tensors, metadata = read_safetensors(plain)
        except READ_ERRORS as error:
            raise WeightError(
                f"cannot read weights {path}: a sandbox read it as what is no safetensors ({error})"
            ) from error
    return Checkpoint(str(path), tensors, metadata)


def copy_plain(path: Path, plain: Path) -> None:
    """Read a checkpoint, and write its tensors and text as safetensors; runs in the child."""
    checkpoint = read_container(path)
    tensors = {}
    taken: set[int] = set()
    for key, tensor in checkpoint.tensors.items():
        whole = tensor.contiguous()
        place = whole.untyped_storage().data_ptr()
        tensors[key] = whole.clone() if place in taken else whole  # each gets its own bytes
        taken.add(place)
    try:
        save_file(tensors, plain, dict(checkpoint.metadata))
    except (OSError, READ_ERRORS[0]) as error:
        raise WeightError(
            f"cannot read weights {path} in a sandbox: they cannot be handed over in "
            f"{plain.parent} ({error}); free some room, or name another folder in TMPDIR"
        ) from error
