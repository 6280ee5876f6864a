"""Output files and folders that appear whole or not at all, and caches of them that stay small."""

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

# No drive of Windows, whose names are letters. A path has one slash where an address has two.
_ADDRESS = re.compile(r"[a-zA-Z][\w+.-]+:[/\\]")
_ADVICE = "choose a folder that exists and has room"


@contextmanager
def output_file(
    path: Path, advice: str = _ADVICE, *, outlives_kill: bool = False
) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block ends well.

    The temporary file is made at once, so that a folder that cannot be written is found before
    the work and not after it. When the block raises, the file is removed; what a killed process has
    left is removed by the next one that writes into the folder. A file that is replaced
    keeps its permissions; where `path` is a link, what it leads to is replaced. What is no file (a
    folder, a pipe, a device such as /dev/null) is not replaced.

    Args:
        advice: what to do next where it cannot be written.
        outlives_kill: what a killed process has left is of use, and stays.

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
    """The file that is written under a name: where the name is a link, what it leads to.

    Raises:
        OutputError: something that is no file stands there, or the name is an address.
    """
    refuse_address(path)
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        mode = target.stat().st_mode
    except OSError:  # what is the matter, if anything, whoever writes there will hear
        return target
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise OutputError(f"cannot write {path}: it is {kind}; name a file")
    return target


def refuse_address(path: Path) -> None:
    """Refuse what would be written into folders that are named as the parts of an address.

    Raises:
        OutputError: the path is an address, whose secrets would be names of files.
    """
    if _ADDRESS.match(str(path)):
        raise OutputError(f"cannot write {path}: it is an address; name a place on this machine")


def hide_as(temporary: Path, target: Path) -> None:
    """Let nobody read what is being written who may not read the file that it will replace."""
    with suppress(FileNotFoundError):
        temporary.chmod(stat.S_IMODE(target.stat().st_mode) & 0o666 | stat.S_IRUSR | stat.S_IWUSR)


def replace(target: Path, temporary: Path) -> None:
    """Give a file that is whole its name, with the permissions of the one that had it."""
    with suppress(FileNotFoundError):
        temporary.chmod(stat.S_IMODE(target.stat().st_mode))
    temporary.replace(target)


@contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """The same for a folder, which is empty when the block begins; `path` must not be there.

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
    """The content of a file that somebody else may have written.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, whose reading may never end, or has more bytes.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no file, but a folder, a pipe or a device")
    if status.st_size > most_bytes:
        raise ValueError(f"it has {status.st_size} bytes, expected {most_bytes} at most")
    return path.read_bytes()


def make_folder(path: Path, *, choice: str = "folder") -> None:
    """Make a folder and those above it; one that is there is left as it is.

    Args:
        choice: what to choose another of, where it cannot be made: an option's name, say.

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
    """Make a folder where there is none, and let no other run work in it while the block runs.

    Raises:
        OutputError: another run does, or it cannot be made.
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
    """Raise what the system refuses in the block as an OutputError of `path`.

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
    """Remove the files of a cache that were used least recently, until the rest is small enough.

    The time of a file's last change says when it was used; the newest stays, however large it is.

    Args:
        entries: all files of the cache.
        most_files, most_bytes: that may stay.
    """
    by_use = sorted(
        ((path, path.stat()) for path in entries), key=lambda entry: entry[1].st_mtime, reverse=True
    )
    kept_bytes = 0
    for place, (path, status) in enumerate(by_use):
        kept_bytes += status.st_size
        if place and (place >= most_files or kept_bytes > most_bytes):
            path.unlink(missing_ok=True)
