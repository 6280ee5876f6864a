"""Write the weights of a network as safetensors."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from co3d.files import output_file
from co3d.weights.safetensors_file import pack_safetensors


def save_weights(
    model: nn.Module, path: Path | str, metadata: Mapping[str, str] | None = None
) -> None:
    """Write all parameters and buffers of `model` to a safetensors file, completely or not at all.

    Args:
        model: the network.
        path: file to write; an existing file is replaced.
        metadata: text to store beside the tensors. `labels`, a JSON list of class names, is put on
            the card when `create_model` reads the file.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    tensors = {
        key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()
    }
    write_whole(path, pack_safetensors(tensors, metadata or {}))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of weights, or one beside them, completely or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with output_file(path) as temporary:
        temporary.write_bytes(content)
