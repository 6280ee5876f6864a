"""Converted programs, kept from one start to the next: converting takes seconds.

An entry is the file that `co3d export --format torch` writes, read without running code from it.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from co3d.compiler.options import ConvertOptions, check_clip_shapes
from co3d.compiler.pipeline import compile_network
from co3d.compiler.program import Program
from co3d.errors import ExportedFileError, ExportError
from co3d.export.artefact import load_program
from co3d.export.description import describe
from co3d.export.program_key import find_program_key
from co3d.export.torch_file import pack_torch
from co3d.kept_files import KeptFiles

# Of the size of X3D-M these take half a gigabyte.
_KEPT = KeptFiles("programs", ".safetensors", most_files=32, most_bytes=2 << 30)


def convert_or_read(
    model: nn.Module,
    clip_shape: Sequence[int] | Sequence[Sequence[int]],
    options: ConvertOptions,
) -> Program[Any]:
    """The step program of a network, from the cache where the same one was converted before.

    The cache is the folder `programs` of the platform's folder for caches, or of the one that
    `CO3D_CACHE` names. The same is: the same classes, attributes and weights, clips and options,
    co3d, torch, Python and installed packages. Networks with code of the user's own are converted
    anew each time. The programs that were used least recently go when there are more than 32, or
    than fit in 2 GB.

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
    kept = _read(key)
    if kept is not None:
        return kept
    program = compile_network(model, shapes, options)
    if program.dtype == torch.float32:  # as for exported files
        with contextlib.suppress(ExportError):
            description = describe(program, None, slots=None, precision="float32")
            _KEPT.write(key, pack_torch(program, description))
    return program


def _read(key: str) -> Program[Any] | None:
    """The program kept under a key; None without one, or where it is damaged."""
    path = _KEPT.find(key)
    if path is None:
        return None
    try:
        return load_program(path, most_bytes=None).program
    except ExportedFileError as error:
        _KEPT.discard(path, str(error))
        return None
