"""Caches step graphs that are exported to ONNX on disk, because exporting takes seconds."""

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

# 32 graphs of the size of X3D-M take half a gigabyte.
_KEPT = KeptFiles("onnx", ".onnx", most_files=32)


def read_or_write_onnx(graph: fx.GraphModule, examples: Sequence[Tensor]) -> bytes:
    """A step graph as ONNX: from the cache, or exported now.

    The cache is the folder `onnx` of the platform's cache folder, or of the one that `CO3D_CACHE`
    names. Its key is operators, weights, shapes and the exporter's version. It keeps the 32 files
    that were used most recently.

    Raises:
        MissingPackageError: as for `write_onnx`, if the graph is not in the cache.
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
