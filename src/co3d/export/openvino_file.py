"""The format `openvino`: the ONNX graph with layouts and precision settled, as .xml and .bin."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from co3d.backends.openvino_cpu import declare_layouts, open_core
from co3d.errors import ExportedFileError, OutputError
from co3d.export.description import KEY
from co3d.export.openvino_limits import check_layers, check_sizes
from co3d.packages import require_package

if TYPE_CHECKING:
    import onnx


def write_openvino_file(
    model: "onnx.ModelProto",
    results: int,
    dtype: torch.dtype,
    description: str,
    paths: tuple[Path, Path],
) -> None:
    """Write the model with channels last for frames and state, both in `dtype`.

    Args:
        model: the step graph; its first `results` outputs are results.
        dtype: float32 or bfloat16.
        description: what the file says of itself.
        paths: of the graph, which ends in .xml, and of the weights.

    Raises:
        OutputError: a file cannot be written.
    """
    openvino = require_package("openvino", extra="openvino")
    read = open_core().read_model(model.SerializeToString())
    declared = declare_layouts(openvino, read, results, dtype)
    declared.set_rt_info(description, [KEY])
    graph, weights = paths
    beside = graph.with_suffix(".bin")  # where OpenVINO writes the weights
    try:
        openvino.save_model(declared, graph, compress_to_fp16=False)
        beside.replace(weights)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise OutputError(
            f"cannot write {graph.parent}: OpenVINO failed ({reason}); choose a folder that has "
            "room"
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def read_openvino_file(path: Path, most_bytes: int | None) -> tuple[str, bytes, bytes]:
    """The description in a file, the file and its weights.

    Args:
        most_bytes: that a value may take; None does not look at operators and values.

    Raises:
        ExportedFileError: it is no such model, its weights are not there, or it asks for too much.
        MissingPackageError: openvino is not installed.
    """
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise ExportedFileError(
            f"cannot run {path}: its weights {weights} are not there; keep both files together"
        )
    data, numbers = path.read_bytes(), weights.read_bytes()
    if most_bytes is not None:
        check_layers(data, str(path))
    core = open_core()
    try:
        model = core.read_model(data, numbers)
        if most_bytes is not None:
            check_sizes(model, str(path), most_bytes)
        if not model.has_rt_info([KEY]):
            raise ExportedFileError(
                f"cannot run {path}: it has no description of its state; pass a file that "
                "`co3d export` wrote"
            )
        return model.get_rt_info([KEY]).astype(str), data, numbers
    except (RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ExportedFileError(
            f"cannot read {path} as an OpenVINO model ({reason}); pass a file that `co3d export` "
            "wrote"
        ) from error
