"""Exports to ONNX without what the exporter does again and again."""

import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from co3d.compiler.program import raw_bytes


@contextmanager
def export_once() -> Iterator[None]:
    """While the block runs, export equal graphs once, and make the table of operators once.

    The exporter makes its table anew for each graph, which takes half the time of a small one, and
    writes nothing to it. A graph's export follows from its code, tensors and names.
    """
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    export, made = torch.onnx.export, {}
    make_table = functools.cache(ONNXRegistry.from_torchlib)

    def find(module: fx.GraphModule, inputs: tuple[Tensor, ...], **options: Any) -> Any:
        key = _describe(module, inputs, options)
        if key not in made:
            made[key] = export(module, inputs, **options)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(make_table))
        patch.setattr(torch.onnx, "export", find)
        yield


def _describe(module: fx.GraphModule, inputs: tuple[Tensor, ...], options: dict[str, Any]) -> str:
    kinds = [(tuple(one.shape), one.dtype) for one in inputs]
    digest = hashlib.sha256(repr((module.code, kinds, options)).encode())
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(raw_bytes(tensor.detach()))
    return digest.hexdigest()
