"""An exported graph comes from the cache exactly if nothing that it depends on has changed."""

from pathlib import Path

import pytest
import torch
from torch import fx

from co3d.backends.graphs import graph_cache
from co3d.backends.graphs.graph_cache import read_or_write_onnx
from co3d.compiler import convert
from support.networks import small_network
from support.streaming import randomise_


def _graph(seed: int = 0) -> fx.GraphModule:
    torch.manual_seed(seed)
    return convert(randomise_(small_network()), (3, 4, 6, 6)).phases[0].steady


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records exports, with a fast stand-in for the exporter."""
    made: list[str] = []

    class Model:
        def SerializeToString(self) -> bytes:  # noqa: N802
            return made[-1].encode()

    def export(graph: fx.GraphModule, examples: list[torch.Tensor]) -> Model:
        made.append(f"model {len(made)}")
        return Model()

    monkeypatch.setenv("CO3D_CACHE", str(tmp_path))
    monkeypatch.setattr(graph_cache, "write_onnx", export)
    return made


def test_the_same_graph_is_exported_once(exports: list[str]) -> None:
    first = read_or_write_onnx(_graph(), [torch.zeros(1, 3)])
    assert read_or_write_onnx(_graph(), [torch.zeros(1, 3)]) == first == b"model 0"
    assert len(exports) == 1


def test_other_weights_or_shapes_are_exported_anew(exports: list[str]) -> None:
    graph = _graph()
    read_or_write_onnx(graph, [torch.zeros(1, 3)])
    read_or_write_onnx(graph, [torch.zeros(2, 3)])
    read_or_write_onnx(_graph(seed=1), [torch.zeros(1, 3)])
    graph.get_buffer("constant0").view(-1)[0] += 1
    read_or_write_onnx(graph, [torch.zeros(1, 3)])
    assert len(exports) == 4


def test_the_least_recently_used_are_deleted(
    exports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_cache._KEPT, "most_files", 2)
    graph = _graph()
    for batch in (1, 2, 3):
        read_or_write_onnx(graph, [torch.zeros(batch, 3)])
    assert read_or_write_onnx(graph, [torch.zeros(3, 3)]) == b"model 2"
    assert read_or_write_onnx(graph, [torch.zeros(1, 3)]) == b"model 3"


def test_a_cache_that_cannot_be_written_is_no_error(
    exports: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CO3D_CACHE", str(tmp_path / "file"))
    assert read_or_write_onnx(_graph(), [torch.zeros(1, 3)]) == b"model 0"
