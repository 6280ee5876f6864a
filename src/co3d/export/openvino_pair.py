"""Ties the two files of an OpenVINO export: the graph contains the SHA-256 of its weights."""

from hashlib import sha256
from pathlib import Path
from xml.parsers import expat

from co3d.errors import ExportedFileError

DIGEST_KEY = "co3d_weights_sha256"
NO_DIGEST = "0" * 64
"""The placeholder under `DIGEST_KEY` until the weights are written."""


def name_weights(graph: Path, weights: Path) -> None:
    """Replace the placeholder in the graph by the SHA-256 of the weights."""
    digest = sha256(weights.read_bytes()).hexdigest()
    empty, full = (f'<{DIGEST_KEY} value="{value}"'.encode() for value in (NO_DIGEST, digest))
    graph.write_bytes(graph.read_bytes().replace(empty, full))


def check_pair(data: bytes, weights: bytes, path: Path) -> None:
    """Check that the weights are those that the graph names, before OpenVINO reads them.

    Graphs of earlier versions name no weights, and pass.

    Args:
        data: the graph. weights: the content of the .bin file. path: the graph's, for messages.

    Raises:
        ExportedFileError: the files do not belong together, or the graph is not XML.
    """
    named: set[str] = set()

    def begin(name: str, attributes: dict[str, str]) -> None:
        if name == DIGEST_KEY:
            named.add(attributes.get("value", ""))

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = begin
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        raise ExportedFileError(
            f"cannot read {path}: it is no XML ({error}); pass a file that `co3d export` wrote"
        ) from error
    digest = sha256(weights).hexdigest() if named else ""
    if named - {digest}:
        raise ExportedFileError(
            f"cannot run {path}: it names weights of SHA-256 {min(named)[:12]}…, and "
            f"{path.with_suffix('.bin')} has {digest[:12]}…; copy both files of one export, or "
            "export the network again"
        )
