"""Converted programs, kept from one start to the next: converting takes seconds.

An entry is the file that `co3d export --format torch` writes, read without running code from it.
Its name holds the key (see `find_program_key`) and the SHA-256 of key and content, which is checked
whenever it is read.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from co3d.compiler.options import ConvertOptions, check_clip_shapes
from co3d.compiler.pipeline import compile_network
from co3d.compiler.program import Program, StepProgram
from co3d.environment import cache_path
from co3d.errors import ExportedFileError, ExportError
from co3d.export.artefact import load_program
from co3d.export.description import describe
from co3d.export.program_key import find_program_key
from co3d.export.torch_file import pack_torch
from co3d.files import forget_least_used, output_file

# Of the size of X3D-M these take half a gigabyte.
KEPT_FILES = 32
KEPT_BYTES = 2 << 30
_LOG = logging.getLogger("co3d")


def convert_or_read(
    model: nn.Module,
    clip_shape: Sequence[int] | Sequence[Sequence[int]],
    options: ConvertOptions,
) -> Program[Any]:
    """The step program of a network, from the cache where the same one was converted before.

    The cache is the folder `programs` of the platform's folder for caches, or of the one that
    `CO3D_CACHE` names. The same is: the same classes, attributes and weights, clips and options,
    co3d, torch, Python and installed packages. Networks with code of the user's own are converted
    anew each time. The programs that were used least recently go when there are more than
    `KEPT_FILES`, or than fit in `KEPT_BYTES`.

    Args:
        model, clip_shape: as for `co3d.convert`.
        options: of the conversion.

    Raises:
        ConversionError, OptionError: as for `co3d.convert`.
    """
    shapes = check_clip_shapes(clip_shape)
    key = find_program_key(model, shapes, options)
    if key is None:
        return compile_network(model, shapes, options)
    folder = cache_path() / "programs"
    # A cache that cannot be read or written costs time, and nothing else.
    with contextlib.suppress(OSError):
        kept = _read(folder, key)
        if kept is not None:
            return kept
    program = compile_network(model, shapes, options)
    with contextlib.suppress(OSError, ExportError):
        _write(folder, key, program)
    return program


def _read(folder: Path, key: str) -> Program[Any] | None:
    """The program kept under a key; None without one, or where it is damaged."""
    for path in folder.glob(f"{key}.*.safetensors"):
        try:
            data = path.read_bytes()
            if _name(key, data) == path.name:
                program = load_program(path).program
                with contextlib.suppress(OSError):  # one may read a cache without writing to it
                    os.utime(path)  # used just now
                return program
            reason = "its content is not what was written"
        except ExportedFileError as error:
            reason = str(error)
        _LOG.warning("the converted program %s is damaged (%s): converting again", path, reason)
        path.unlink(missing_ok=True)
    return None


def _write(folder: Path, key: str, program: StepProgram) -> None:
    if program.dtype != torch.float32:  # as for exported files
        return
    data = pack_torch(program, describe(program, None, slots=None, precision="float32"))
    folder.mkdir(parents=True, exist_ok=True)
    with output_file(folder / _name(key, data)) as temporary:
        temporary.write_bytes(data)
    forget_least_used(folder.glob("[!.]*.safetensors"), KEPT_FILES, KEPT_BYTES)


def _name(key: str, data: bytes) -> str:
    return f"{key}.{hashlib.sha256(key.encode() + data).hexdigest()}.safetensors"
