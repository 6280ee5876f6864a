"""Output files and folders that appear complete or not at all, and pruning of cache folders."""

import math
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from co3d.errors import OutputError
from co3d.partial_files import claim, hold, name_partial

# Windows drives have one letter, so they do not match. A path has one slash where an address has
# two.
_ADDRESS = re.compile(r"[a-zA-Z][\w+.-]+:[/\\]")
_ADVICE = "choose a folder that exists and has room"


@contextmanager
def output_file(
    path: Path, advice: str = _ADVICE, *, outlives_kill: bool = False
) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block succeeds.

    The temporary file is created at once, so that a folder that cannot be written is found before
    the work. When the block raises, the file is removed; what a killed process has left is removed
    by the next one that writes into the folder. A replaced file keeps its permissions; if `path` is
    a link, its target is replaced. Only files are replaced, not a folder, a pipe or a device such
    as /dev/null.

    Args:
        advice: what to do next if it cannot be written.
        outlives_kill: keep the temporary file of a killed process, because it is of use.

    Raises:
        OutputError: the file cannot be made, written or moved.
    """
    with report_refusal(path, advice):
        ending = ".part" if outlives_kill else ".partial"
        target = find_target(path)
        temporary = name_partial(target.with_suffix(""), ending + path.suffix)
        temporary.touch()
        try:
            with hold(temporary):
                hide_as(temporary, target)
                yield temporary
                replace(target, temporary)
        finally:
            temporary.unlink(missing_ok=True)


def find_target(path: Path) -> Path:
    """The file to write under a name; links are followed.

    Raises:
        OutputError: the path is something other than a file, or an address.
    """
    refuse_address(path)
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        mode = target.stat().st_mode
    except OSError:  # if there is a problem, writing will raise
        return target
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise OutputError(f"cannot write {path}: it is {kind}; name a file")
    return target


def refuse_address(path: Path) -> None:
    """Refuse a path that is an address, which would become folders named after its parts.

    Raises:
        OutputError: the path is an address, whose secrets would become file names.
    """
    if _ADDRESS.match(str(path)):
        raise OutputError(f"cannot write {path}: it is an address; name a place on this machine")


def require_folder(path: Path) -> None:
    """Find out before the work that there is a folder for an output; OutputError."""
    if not path.parent.is_dir():
        raise OutputError(
            f"cannot write {path}: there is no folder {path.parent}; choose a folder that exists"
        )


def hide_as(temporary: Path, target: Path) -> None:
    """Restrict the temporary file to those who may read the file that it will replace."""
    with suppress(FileNotFoundError):
        temporary.chmod(stat.S_IMODE(target.stat().st_mode) & 0o666 | stat.S_IRUSR | stat.S_IWUSR)


def replace(target: Path, temporary: Path) -> None:
    """Rename a complete file to its final name, keeping the permissions of the replaced one."""
    with suppress(FileNotFoundError):
        temporary.chmod(stat.S_IMODE(target.stat().st_mode))
    temporary.replace(target)


@contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """Like `output_file` for a folder, which starts empty; `path` must not exist.

    Raises:
        OutputError: the folder cannot be made, written or moved.
    """
    refuse_address(path)
    temporary = name_partial(path, ".partial")
    with report_refusal(path):
        temporary.mkdir()
        try:
            with hold(temporary):
                yield temporary
                temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def read_small(path: Path, most_bytes: int) -> bytes:
    """Read a file that somebody else may have written.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a regular file (reading may never end), or has more bytes.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no file, but a folder, a pipe or a device")
    if status.st_size > most_bytes:
        raise ValueError(f"it has {status.st_size} bytes, expected {most_bytes} at most")
    return path.read_bytes()


def make_folder(path: Path, *, choice: str = "folder") -> None:
    """Make a folder and its parents; existing ones are left as they are.

    Args:
        choice: what to change if it cannot be made, for instance an option's name.

    Raises:
        OutputError: it cannot be made.
    """
    refuse_address(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {path}: {error.strerror}; choose another {choice}"
        ) from error


@contextmanager
def own_folder(path: Path) -> Iterator[None]:
    """Make a folder if absent, and lock it against other runs while the block runs.

    Raises:
        OutputError: another run has locked it, or it cannot be made.
    """
    make_folder(path)
    with claim(path) as is_ours:
        if not is_ours:
            raise OutputError(
                f"cannot write into {path}: another run is at work in it; wait until it ends, or "
                "choose another folder"
            )
        yield


@contextmanager
def report_refusal(path: Path, advice: str = _ADVICE) -> Iterator[None]:
    """Raise an OSError in the block as an OutputError of `path`.

    Args:
        advice: what to do next.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, OutputError) or error.errno is None:
            raise
        raise OutputError(f"cannot write {path}: {error.strerror}; {advice}") from error


def forget_least_used(
    entries: Iterable[Path], most_files: int, most_bytes: float = math.inf
) -> None:
    """Remove the least recently used files of a cache until the rest is small enough.

    The modification time counts as the last use; the newest file stays, however large it is.

    Args:
        entries: all files of the cache.
        most_files, most_bytes: the limits.
    """
    by_use = sorted(
        ((path, path.stat()) for path in entries), key=lambda entry: entry[1].st_mtime, reverse=True
    )
    kept_bytes = 0
    for place, (path, status) in enumerate(by_use):
        kept_bytes += status.st_size
        if place and (place >= most_files or kept_bytes > most_bytes):
            path.unlink(missing_ok=True)
