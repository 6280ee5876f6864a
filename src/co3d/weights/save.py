"""Write the weights of a network as safetensors."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import nn

from co3d.files import output_file


def save_weights(
    model: nn.Module, path: Path | str, metadata: Mapping[str, str] | None = None
) -> None:
    """Write all parameters and buffers of `model` to one safetensors file, whole or not at all.

    Args:
        model: the network.
        path: file to write; a file that is there is replaced.
        metadata: text to keep beside the tensors. `labels`, a JSON list of class names, is what
            `create_model` puts on the card when it reads the file.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    tensors = {
        key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()
    }
    write_whole(path, save(tensors, dict(metadata or {})))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of weights, or what stands beside them, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with output_file(path) as temporary:
        temporary.write_bytes(content)
