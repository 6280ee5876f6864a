"""The inductor backend: `torch.compile` on the CPU, which compiles step graphs to fused C++."""

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx
from torch._dynamo.exc import BackendCompilerFailed

from co3d.backends.contract import detach_results, make_map
from co3d.backends.graph_executable import BindGraph, GraphExecutor
from co3d.backends.graphs.placement import Placement
from co3d.backends.graphs.stored_graph import StepGraph, StoredGraph
from co3d.backends.threads import limit_threads
from co3d.environment import cache_path
from co3d.errors import MissingPackageError, OutputError
from co3d.kept_files import make_own_folder

_LOG = logging.getLogger("co3d")


class InductorExecutor(GraphExecutor):
    """Compiles step graphs with `torch.compile`, once, for fixed shapes and layouts.

    A step's newest elements are inputs of later steps. The compiled graph makes them in the layout
    of the initial state, because `torch.compile` recompiles for each new layout.
    """

    map_layout = torch.channels_last
    device = torch.device("cpu")

    def __init__(self, precision: str, dtype: torch.dtype, threads: int) -> None:
        self.dtype, self._threads = dtype, threads
        self.output_dtype = torch.promote_types(dtype, torch.float32)
        version = torch.__version__.split("+")[0]
        self.description = f"inductor (torch {version}), {precision} on cpu, {threads} threads"
        self._place = Placement(dtype, self.device)

    def prepare(self, graph: StepGraph, examples: Sequence[Tensor], results: int) -> BindGraph:
        """See `GraphExecutor.prepare`; this takes seconds for small networks and minutes for large.

        Raises:
            MissingPackageError: there is no C++ compiler.
        """
        assert not isinstance(graph, StoredGraph)
        _choose_cache()
        placed, dtype, threads = self._place(graph), self.output_dtype, self._threads
        compiled: Any = torch.compile(_lay_out(placed, results), dynamic=False, fullgraph=True)
        fixed = [_copy(example) for example in examples]

        def run(inputs: Sequence[Tensor]) -> list[Tensor | None]:
            # `torch.compile` would recompile for tensors that are made in inference mode.
            with torch.inference_mode(False), torch.no_grad(), limit_threads(threads):
                pairs = zip(inputs, fixed, strict=True)
                made = compiled(*[x if _is_alike(x, f) else _copy(x) for x, f in pairs])
                newest = made[results:]
                outputs = detach_results(made[:results], (*inputs, *newest), dtype)
            return [*outputs, *newest]

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own code causes warnings
            try:
                try:
                    run(fixed)
                except BackendCompilerFailed as error:
                    if not _forget_compiled(_explain(error)):
                        raise
                    run(fixed)
            except BackendCompilerFailed as error:
                raise MissingPackageError(
                    f"cannot compile for backend 'inductor': {_explain(error)}; install a C++ "
                    "compiler (g++ or clang++), or use another backend"
                ) from error
        return lambda _: run


def _lay_out(graph: fx.GraphModule, results: int) -> fx.GraphModule:
    """Copy newest elements to tensors of their own, with channels last for maps."""
    copied = fx.Graph()
    copied.output(copied.graph_copy(graph.graph, {}))
    output = next(n for n in copied.nodes if n.op == "output")
    made: list[Any] = list(output.args[0])  # type: ignore[arg-type]
    with copied.inserting_before(output):
        for i in range(results, len(made)):
            made[i] = copied.call_function(_lay_out_map, (made[i],))
    output.args = (tuple(made),)
    return fx.GraphModule(graph, copied)


def _lay_out_map(value: Tensor) -> Tensor:
    if value.dim() == 4:
        return value.clone(memory_format=torch.channels_last)
    return value.clone(memory_format=torch.contiguous_format)


def _is_alike(tensor: Tensor, fixed: Tensor) -> bool:
    return tensor.stride() == fixed.stride() and not tensor.is_inference()


def _choose_cache() -> None:
    """Put compiled code in a folder that only this user can write, unless the user named a folder.

    PyTorch's default is a predictable name in the folder for temporary files, which another user
    could create first. PyTorch writes its default to the environment when it is imported.
    """
    own_choice = str(Path(tempfile.gettempdir()) / "torchinductor_")
    if os.environ.get("TORCHINDUCTOR_CACHE_DIR", own_choice).startswith(own_choice):
        try:
            folder = str(make_own_folder("inductor"))
        except OutputError:
            folder = tempfile.mkdtemp(prefix="co3d-inductor-")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder


def _explain(error: BackendCompilerFailed) -> str:
    cause = error.inner_exception
    return f"{type(cause).__name__}: {cause}".splitlines()[0]


def _forget_compiled(reason: str) -> bool:
    """Delete cached code, which may be damaged; returns whether there was any."""
    folder = cache_path() / "inductor"
    if os.environ["TORCHINDUCTOR_CACHE_DIR"] != str(folder) or not any(folder.rglob("*.so")):
        return False
    _LOG.warning("%s may be damaged (%s): making it again", folder, reason)
    shutil.rmtree(folder, ignore_errors=True)
    make_own_folder("inductor")
    return True


def _copy(tensor: Tensor) -> Tensor:
    """Copy to the layout in which steps make their newest elements."""
    made = make_map(tensor.shape, tensor.dtype, tensor.device, torch.channels_last)
    return made.copy_(tensor)
