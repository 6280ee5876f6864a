"""The network of an archive: converted here, or sent to other machines as a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from co3d.compiler import convert
from co3d.compiler.options import ConvertOptions
from co3d.compiler.program import Program
from co3d.engine.opening import open_exported
from co3d.errors import OptionError
from co3d.evaluation.layer import LayerFeatures
from co3d.evaluation.subject import Subject, find_subject
from co3d.export import export_program
from co3d.export.program_cache import convert_or_read
from co3d.models import ModelCard
from co3d.models.part_head import name_outputs

_EDGES = "both"  # recordings have an end, so the last frames are described too


@dataclass(frozen=True)
class ArchiveNetwork:
    """The network that labels an archive.

    Attributes:
        card: how it is fed; without labels if it gives features.
        identity: properties that distinguish it from other networks.
    """

    card: ModelCard
    identity: Mapping[str, Any]
    _source: nn.Module | Path
    _subject: Subject
    _window: int | None

    def convert(self) -> Program[Any]:
        """Its step program, from the cache if it was converted before."""
        if self._subject.program is not None:
            return self._subject.program
        assert isinstance(self._source, nn.Module)
        options = ConvertOptions(window=self._window, edges=_EDGES)
        return convert_or_read(self._source, self.card.clip_shape, options)

    def pack(self, folder: Path) -> dict[str, bytes]:
        """Name -> content of the files from which `unpack` opens it on another machine.

        Args:
            folder: an empty one, for temporary files.
        """
        if isinstance(self._source, Path):
            paths = [self._source, self._source.with_suffix(".bin")]
            is_pair = self._source.suffix == ".xml"  # OpenVINO stores the weights in a second file
            return {path.name: path.read_bytes() for path in (paths if is_pair else paths[:1])}
        program = convert(self._source, self.card.clip_shape, window=self._window, edges=_EDGES)
        path = folder / "network.safetensors"
        export_program(program, path, format="torch", card=self.card)
        return {path.name: path.read_bytes()}


def unpack(files: Mapping[str, bytes], folder: Path) -> tuple[Program[Any], ModelCard]:
    """The program and card from the files of `ArchiveNetwork.pack`.

    Args:
        folder: an empty one, not needed afterwards.
    """
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return open_exported(folder / next(iter(files)))


def open_network(
    model: str | nn.Module,
    weights: str | None,
    window: int | None,
    layer: str | None,
    labels: Sequence[str] | None = None,
) -> ArchiveNetwork:
    """Find a network with the requested window or layer.

    Args:
        model, weights: as for `find_subject`.
        window: feature frames that the last pooling averages; None takes the clip's own number.
        layer: path of a module whose features to return; None for labels.
        labels: names of the classes, index 0 first; None takes those of the network's card.

    Raises:
        OptionError: an exported file cannot be cut or given another window, or has no such layer,
            or the names are not as many as the outputs; and what `find_subject` raises.
    """
    subject = find_subject(model, weights, purpose="label with")
    if labels is not None:
        bare = replace(subject.card, labels=())
        subject = replace(subject, card=name_outputs(bare, labels, subject.classes))
    identity = {
        "model": model if isinstance(model, str) else type(model).__name__,
        "weights": weights or "its own",
        "layer": layer,
        "weights_sha256": subject.digest,
        "labels": list(subject.card.labels),
    }
    card = subject.card if layer is None else replace(subject.card, labels=())
    if subject.model is None:
        for name, value in {"window": window, "layer": layer}.items():
            if value is not None:
                raise OptionError(
                    f"cannot label with {model}: got --{name} {value} for an exported file, which "
                    "is settled; name the network that it was made of"
                )
        return ArchiveNetwork(card, identity, Path(str(model)), subject, None)
    network = subject.model if layer is None else LayerFeatures(subject.model, layer)
    return ArchiveNetwork(card, identity, network, subject, window)
