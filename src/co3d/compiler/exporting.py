"""Calls `torch.export`, strict or not, and explains its failures."""

import io
import logging
import re
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import ExportedProgram
from torch.nn.functional import multi_head_attention_forward
from torch.overrides import TorchFunctionMode

from co3d.compiler.functional import FunctionalExport, write_functional
from co3d.compiler.multihead import attend_batch_first
from co3d.errors import ConversionError, InputShapeError

_GET_DATA: Any = torch.Tensor.data.__get__  # type: ignore[attr-defined]
_COMPILER = Path(__file__).parent

ClipShape = tuple[int, ...]


def export_network(
    model: nn.Module, clip_shapes: Sequence[ClipShape], batch: int
) -> FunctionalExport:
    """Export a network for a batch of clips, in evaluation mode; the network is not changed.

    Non-strict export (fake tensors through the network's Python) is tried first, then strict
    export (Dynamo), which takes longer and supports less Python.

    Raises:
        ConversionError: both fail; the message explains the first failure.
    """
    parameter = next(model.parameters(), None)
    dtype = torch.float32 if parameter is None else parameter.dtype
    device = torch.device("cpu") if parameter is None else parameter.device
    examples = tuple(torch.zeros((batch, *s), dtype=dtype, device=device) for s in clip_shapes)
    was_training = {module: module.training for module in model.modules()}
    try:
        model.eval()
        return _export(model, examples, clip_shapes)
    finally:
        for module, training in was_training.items():
            module.training = training


def _export(
    model: nn.Module, examples: tuple[Tensor, ...], clip_shapes: Sequence[ClipShape]
) -> FunctionalExport:
    first: Exception | None = None
    for is_strict in (False, True):
        try:
            with _quiet(), _ExportRewrites():
                exported = torch.export.export(model, examples, strict=is_strict)
                _require_content(exported)
                return write_functional(exported)
        except InputShapeError:
            raise
        except Exception as error:  # noqa: BLE001 - torch.export raises errors of many kinds
            first = first or error
            if _is_branch(error):
                break
    assert first is not None
    raise _explain_failure(first, model, clip_shapes) from first


class _ExportRewrites(TorchFunctionMode):
    """Replaces functions of torch during export by equivalents that the compiler can handle.

    `x.data` becomes `x.detach()`, which export can trace; attention keeps the batch in front.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function or its replacement."""
        del types
        if func == _GET_DATA:
            return args[0].detach()
        if func is multi_head_attention_forward:
            return attend_batch_first(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _require_content(exported: ExportedProgram) -> None:
    """Refuse a graph in which torch made a constant of a value that it could not trace."""
    lost = [name for name, value in exported.constants.items() if isinstance(value, FakeTensor)]
    if lost:
        raise RuntimeError(f"torch cannot follow what {', '.join(lost)} is computed from")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's logs and warnings during export."""
    names = (
        "torch.fx.experimental.symbolic_shapes",
        "torch._subclasses.fake_tensor",
        "torch._dynamo",
        "torch._export",
    )
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        # torch prints the whole graph of a failure; `_explain_failure` gives the cause.
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            # torch itself uses its deprecated pytree API.
            warnings.filterwarnings("ignore", category=FutureWarning)
            # Export warns that recurrent layers assign a list of their parameters during forward.
            warnings.filterwarnings(
                "ignore", "The tensor attributes .* were assigned during export"
            )
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _is_branch(error: Exception) -> bool:
    """Whether an export failed at a branch on the values of a tensor."""
    return "DataDependent" in type(error).__name__ or "data-dependent" in str(error).lower()


def _explain_failure(
    error: Exception, model: nn.Module, clip_shapes: Sequence[ClipShape]
) -> ConversionError:
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    shapes = ", ".join(map(str, clip_shapes))
    start = f"cannot capture {type(model).__name__} for clips of shape {shapes}: "
    path, kind, line = _locate_failure(error, model)
    unknown = re.search(r"<class '(.+?)'> in output, which is not a known type", str(error))
    if unknown:
        kind = unknown[1].rpartition(".")[2]
        return ConversionError(
            f"{start}it returns a {kind}, which torch cannot take apart, expected tensors, or "
            "tuples, lists or dicts of them; return one of those, or, where it is a dataclass, "
            f"say so once: torch.export.register_dataclass({kind})"
        )
    if _is_branch(error):
        return ConversionError(
            f"{start}a data-dependent branch in {path or 'the model'} ({kind}), {line}: what it "
            "does depends on the values of a tensor, and a graph must do the same for every clip; "
            "use torch.where, or move it out of the exported model"
        )
    return ConversionError(
        f"{start}torch.export failed in {path or 'the model'} ({kind}), {line}, with "
        f"{type(error).__name__}: {reason.strip()}; check that the model runs on a clip of this "
        "shape, and move Python that needs values out of forward"
    )


def _locate_failure(error: Exception, model: nn.Module) -> tuple[str, str, str]:
    """Module path, class and source line of the user's network in an exception's traceback."""
    names = {id(module): name for name, module in model.named_modules()}
    path, kind, place = "", type(model).__name__, "unknown line"
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = frame.f_locals.get("self")
        if id(module) in names:
            path, kind = names[id(module)], type(module).__name__
        file = frame.f_code.co_filename
        if not _is_library(file):
            place = f'File "{file}", line {line}, in {frame.f_code.co_name}'
    return path, kind, place


def _is_library(file: str) -> bool:
    """Whether a source file belongs to torch, Python or the compiler, or is generated."""
    if file.startswith("<"):
        return True
    standard = file.startswith(sysconfig.get_path("stdlib")) and "site-packages" not in file
    return standard or "/torch/" in file or Path(file).parent == _COMPILER
