"""Exports of networks by torch, made once per process for equal networks."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any, ClassVar
from weakref import ReferenceType, WeakKeyDictionary

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.overrides import _get_current_function_mode_stack

from co3d.export.object_digest import NoDigestError, ObjectDigest

_MOST_KEPT = 100


@contextmanager
def export_networks_once() -> Iterator[None]:
    """While the block runs, let torch export networks that differ in their weights alone once.

    Most tests convert a network several times: at both rates, or to verify it, or as another test
    did. What torch exports depends on the code, the attributes, and the shapes of the parameters.
    Networks that have what cannot be compared, hooks say, are exported each time.
    """
    export, made = torch.export.export, dict[str, ExportedProgram]()

    def find(model: nn.Module, inputs: tuple[Tensor, ...], **options: Any) -> ExportedProgram:
        try:
            if options.keys() != {"strict"}:
                raise NoDigestError("the exporter to ONNX, which asks for more")
            key = _describe(model, inputs, options["strict"])
        except NoDigestError:
            return export(model, inputs, **options)
        if key not in made:
            exported = export(model, inputs, **options)
            exported._state_dict = {}  # the tensors of the first network must not stay in memory
            made[key] = exported
            if len(made) > _MOST_KEPT:
                del made[next(iter(made))]
        return _with_tensors_of(model, made[key])

    decompose, decomposed = ExportedProgram.run_decompositions, WeakKeyDictionary[Any, Any]()

    def find_decomposed(exported: ExportedProgram, table: Any = None) -> ExportedProgram:
        if table != {}:
            return decompose(exported, table)
        shared = exported.graph_module
        if shared not in decomposed:
            decomposed[shared] = decompose(exported, table)
            decomposed[shared]._state_dict = {}
        return _with_tensors(decomposed[shared], exported.state_dict, exported.constants)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.export, "export", find)
        patch.setattr(ExportedProgram, "run_decompositions", find_decomposed)
        yield


def _with_tensors_of(model: nn.Module, exported: ExportedProgram) -> ExportedProgram:
    """The program with the parameters and buffers of a network that is equal but for them."""
    buffers = dict(model.named_buffers(remove_duplicate=False))
    return _with_tensors(exported, model.state_dict(keep_vars=True), buffers)


def _with_tensors(
    exported: ExportedProgram, state: dict[str, Any], constants: Mapping[str, Any]
) -> ExportedProgram:
    program = copy.copy(exported)
    program._state_dict = state
    program._constants = {n: constants.get(n, value) for n, value in exported.constants.items()}
    return program


def _describe(model: nn.Module, inputs: tuple[Tensor, ...], strict: bool) -> str:
    digest = _Description()
    digest.add(
        [
            strict,
            [(tuple(one.shape), one.dtype, one.device) for one in inputs],
            [module.training for module in model.modules()],
            [parameter.requires_grad for parameter in model.parameters()],
            [torch.is_grad_enabled(), torch.is_inference_mode_enabled()],
            [torch.get_default_dtype(), torch.is_autocast_enabled("cpu")],
            [type(mode) for mode in _get_current_function_mode_stack()],
            model,
        ]
    )
    return digest.hexdigest()


class _Description(ObjectDigest):
    """Digest of a network in this process: its code by identity, parameters by shape."""

    _kept: ClassVar[dict[int, Any]] = {}  # so that ids are not used again

    def _add_new(self, value: Any, kind: type) -> None:
        if isinstance(value, type):
            functions = [f for base in value.__mro__[:-1] for f in vars(base).values()]
            self._add_identity(value)
            for function in functions:
                if isinstance(function, FunctionType):
                    self._add_identity(function.__code__)
        elif isinstance(value, FunctionType):
            self._add_identity(value.__code__)
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            self._add_items("function", (cells, value.__defaults__, value.__kwdefaults__))
        elif isinstance(value, ReferenceType):  # of recurrent layers, to their parameters
            self._add_items("reference", [value()])
        else:
            super()._add_new(value, kind)

    def _add_identity(self, value: type | CodeType) -> None:
        self._kept[id(value)] = value
        self._write("identity", str(id(value)))

    def _add_tensor(self, tensor: Tensor) -> None:
        if isinstance(tensor, nn.Parameter):
            kind = f"{type(tensor)} {tensor.dtype} {tensor.device} {tuple(tensor.shape)}"
            self._write("parameter", f"{kind} {tensor.stride()}")
        else:
            super()._add_tensor(tensor)
