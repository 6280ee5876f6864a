"""Output files that appear whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid
from pathlib import Path

from co3d.errors import OutputError


@contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block ends well.

    The temporary file is made at once, so that a folder that cannot be written is found before
    the work and not after it. When the block raises, the file is removed.

    Raises:
        OutputError: the file cannot be made, written or moved.
    """
    temporary = path.with_name(f".{path.stem}.{getpid()}.partial{path.suffix}")
    try:
        temporary.touch()
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, OutputError) or error.errno is None:
            raise
        raise OutputError(
            f"cannot write {path}: {error.strerror}; choose a folder that exists and has room"
        ) from error
