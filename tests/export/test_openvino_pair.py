"""The two files of an OpenVINO export are read only if they belong together."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

import co3d
from co3d.errors import ExportedFileError
from co3d.export import artefact
from co3d.export.openvino_pair import DIGEST_KEY, check_pair, name_weights
from support.networks import stem


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """The graph and the weights of a small network."""
    path = tmp_path_factory.mktemp("files") / "a.xml"
    co3d.export_program(co3d.convert(stem(), (3, 4, 6, 6)), path, format="openvino")
    return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def test_a_graph_has_the_digest_of_its_weights(pair: tuple[bytes, bytes]) -> None:
    graph, weights = pair
    assert f'<{DIGEST_KEY} value="{sha256(weights).hexdigest()}"'.encode() in graph


@pytest.mark.parametrize("most_bytes", [1 << 30, None])
def test_weights_of_another_export_are_refused_before_openvino_reads_them(
    pair: tuple[bytes, bytes], most_bytes: int | None, tmp_path: Path, monkeypatch
) -> None:
    graph, weights = pair
    path = tmp_path / "b.xml"
    path.write_bytes(graph)
    path.with_suffix(".bin").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    monkeypatch.setattr("co3d.export.openvino_file.open_core", lambda: pytest.fail("it was read"))
    with pytest.raises(ExportedFileError, match=r"names weights of SHA-256 \w{12}…, and .*b\.bin"):
        co3d.load_program(path, most_bytes=most_bytes)


def test_older_graphs_without_a_weights_digest_are_read(
    pair: tuple[bytes, bytes], tmp_path: Path
) -> None:
    graph, weights = pair
    lines = [line for line in graph.splitlines() if DIGEST_KEY.encode() not in line]
    (tmp_path / "b.xml").write_bytes(b"\n".join(lines))
    (tmp_path / "b.bin").write_bytes(weights)
    program = co3d.load_program(tmp_path / "b.xml").program
    with co3d.open_stream(program, backend="openvino") as stream:
        assert stream.step(torch.zeros(1, 3, 6, 6)).output.shape == (1, 4, 6, 6)


def test_a_graph_with_two_weights_digests_is_refused(tmp_path: Path) -> None:
    other = f'<{DIGEST_KEY} value="{"1" * 64}"/>'
    named = f'<{DIGEST_KEY} value="{sha256(b"w").hexdigest()}"/>'
    check_pair(f"<net>{named}</net>".encode(), b"w", tmp_path / "b.xml")
    with pytest.raises(ExportedFileError, match="1" * 12):
        check_pair(f"<net>{named}{other}</net>".encode(), b"w", tmp_path / "b.xml")
    with pytest.raises(ExportedFileError, match="it is no XML"):
        check_pair(b"<net>", b"w", tmp_path / "b.xml")


def test_names_within_a_graph_are_not_changed(tmp_path: Path) -> None:
    graph, weights = tmp_path / "b.xml", tmp_path / "b.bin"
    zeros = "0" * 64
    graph.write_text(f'<net name="{zeros}"><{DIGEST_KEY} value="{zeros}" /></net>')
    weights.write_bytes(b"w")
    name_weights(graph, weights)
    digest = sha256(b"w").hexdigest()
    assert graph.read_text() == f'<net name="{zeros}"><{DIGEST_KEY} value="{digest}" /></net>'


def test_notes_of_tools_in_the_model_do_not_reach_the_file(tmp_path: Path, monkeypatch) -> None:
    write = artefact.write_openvino_file

    def note_and_write(model: Any, *others: Any) -> None:
        model.metadata_props.add(key="onnx.quant.pre_process", value="a tool")
        write(model, *others)

    monkeypatch.setattr(artefact, "write_openvino_file", note_and_write)
    path = tmp_path / "a.xml"
    co3d.export_program(co3d.convert(stem(), (3, 4, 6, 6)), path, format="openvino")
    assert co3d.load_program(path).program.delay == 1
