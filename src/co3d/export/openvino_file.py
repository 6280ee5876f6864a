"""The format `openvino`: the ONNX graph with fixed layouts and precision, as .xml and .bin."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from co3d.backends.openvino_cpu import declare_layouts, open_core
from co3d.errors import ExportedFileError, OutputError
from co3d.export.description import KEY
from co3d.export.openvino_folding import fold_sizes
from co3d.export.openvino_layers import check_layers
from co3d.export.openvino_limits import check_model
from co3d.export.openvino_pair import DIGEST_KEY, NO_DIGEST, check_pair, name_weights
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
    """Write the model, with frames and state in NHWC and in `dtype`.

    Args:
        model: the step graph; its first `results` outputs are results.
        dtype: float32 or bfloat16.
        description: the file's description (JSON).
        paths: of the graph, which ends in .xml, and of the weights.

    Raises:
        OutputError: a file cannot be written.
    """
    openvino = require_package("openvino", extra="openvino")
    # Without metadata of other tools, such as quantisation, with which the file would be refused.
    plain = type(model)()
    plain.CopyFrom(model)
    plain.ClearField("metadata_props")
    read = open_core().read_model(plain.SerializeToString())
    declared = declare_layouts(openvino, read, results, dtype)
    fold_sizes(openvino, declared)
    declared.set_rt_info(description, [KEY])
    declared.set_rt_info(NO_DIGEST, [DIGEST_KEY])
    graph, weights = paths
    written = graph.with_suffix(".bin")  # where OpenVINO writes the weights
    try:
        openvino.save_model(declared, graph, compress_to_fp16=False)
        name_weights(graph, written)
        written.replace(weights)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise OutputError(
            f"cannot write {graph.parent}: OpenVINO failed ({reason}); choose a folder that has "
            "room"
        ) from error
    finally:
        written.unlink(missing_ok=True)


def read_openvino_file(path: Path, most_bytes: int | None) -> tuple[str, bytes, bytes]:
    """Read and check a file; returns its description, its bytes and its weights' bytes.

    Args:
        most_bytes: the most bytes that a value may take; None checks no operators and values.

    Raises:
        ExportedFileError: it is not such a model, its weights are missing or those of another
            export, or it needs too much memory.
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
    check_pair(data, numbers, path)
    core = open_core()
    try:
        model = core.read_model(data, numbers)
        if most_bytes is not None:
            check_model(model, str(path), most_bytes)
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
