"""Caches converted programs on disk, because converting takes seconds.

An entry is a file of `co3d export --format torch`, which is read without running code from it.
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

# 32 programs of the size of X3D-M take half a gigabyte.
_KEPT = KeptFiles("programs", ".safetensors", most_files=32, most_bytes=2 << 30)


def convert_or_read(
    model: nn.Module,
    clip_shape: Sequence[int] | Sequence[Sequence[int]],
    options: ConvertOptions,
) -> Program[Any]:
    """The step program of a network: from the cache, or converted now.

    The cache is the folder `programs` of the platform's cache folder, or of the one that
    `CO3D_CACHE` names. Its key is the network's classes, attributes and weights, the clips and
    options, and the versions of co3d, torch, Python and installed packages. Networks with the
    user's own code are not cached. It keeps the 32 programs that were used most recently, and at
    most 2 GB.

    Args:
        model, clip_shape: as for `co3d.convert`.
        options: the conversion's options.

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
    if program.dtype == torch.float32:  # files have no other dtype
        with contextlib.suppress(ExportError):
            description = describe(program, None, slots=None, precision="float32")
            _KEPT.write(key, pack_torch(program, description))
    return program


def _read(key: str) -> Program[Any] | None:
    """The cached program of a key; None if there is none, or it is damaged."""
    path = _KEPT.find(key)
    if path is None:
        return None
    try:
        return load_program(path, most_bytes=None).program
    except ExportedFileError as error:
        _KEPT.discard(path, str(error))
        return None
