"""Exported step graphs, kept from one start to the next: exporting them takes seconds."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, fx

from co3d.backends.graphs import onnx_graph
from co3d.backends.graphs.onnx_graph import OPSET, write_onnx
from co3d.compiler.program import raw_bytes
from co3d.kept_files import KeptFiles
from co3d.packages import find_version

# Of the size of X3D-M these take half a gigabyte.
_KEPT = KeptFiles("onnx", ".onnx", most_files=32)


def read_or_write_onnx(graph: fx.GraphModule, examples: Sequence[Tensor]) -> bytes:
    """A step graph as ONNX, from the cache where the same one was exported before.

    The cache is the folder `onnx` of the platform's folder for caches, or of the one that
    `CO3D_CACHE` names. The same is: the same operators, weights, shapes and exporter. The files
    that were used least recently go when there are more than 32.

    Raises:
        MissingPackageError: as for `write_onnx`, where the cache does not have it.
    """
    key = _fingerprint(graph, examples)
    data = _KEPT.read(key)
    if data is None:
        data = write_onnx(graph, examples).SerializeToString()
        _KEPT.write(key, data)
    return data


def _fingerprint(graph: fx.GraphModule, examples: Sequence[Tensor]) -> str:
    digest = hashlib.sha256(f"{torch.__version__} {OPSET} {graph.code}".encode())
    digest.update(repr([find_version(name) for name in ("onnx", "onnxscript")]).encode())
    digest.update(Path(onnx_graph.__file__).read_bytes())
    kinds = ["float" if e.is_floating_point() else str(e.dtype) for e in examples]
    digest.update(
        repr([(tuple(e.shape), kind) for e, kind in zip(examples, kinds, strict=True)]).encode()
    )
    for name, tensor in graph.named_buffers():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(raw_bytes(tensor))
    return digest.hexdigest()
