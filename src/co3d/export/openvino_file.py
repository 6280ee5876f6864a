"""The format `openvino`: the ONNX graph with layouts and precision settled, as .xml and .bin."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from co3d.backends.openvino_cpu import declare_layouts, open_core
from co3d.errors import ExportedFileError
from co3d.export.description import KEY
from co3d.packages import require_package

if TYPE_CHECKING:
    import onnx


def write_openvino_file(
    model: "onnx.ModelProto", results: int, dtype: torch.dtype, description: str, path: Path
) -> None:
    """Write the model with channels last for frames and state, both in `dtype`.

    Args:
        model: the step graph; its first `results` outputs are results.
        dtype: float32 or bfloat16.
        path: ends in .xml; the weights go beside it, as .bin.
    """
    openvino = require_package("openvino", extra="openvino")
    read = open_core().read_model(model.SerializeToString())
    declared = declare_layouts(openvino, read, results, dtype)
    declared.set_rt_info(description, [KEY])
    openvino.save_model(declared, path, compress_to_fp16=False)


def read_openvino_file(path: Path) -> tuple[str, bytes, bytes]:
    """The description in a file, the file and its weights.

    Raises:
        ExportedFileError: it is no such model, or its weights are not there.
        MissingPackageError: openvino is not installed.
    """
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise ExportedFileError(
            f"cannot run {path}: its weights {weights} are not there; keep both files together"
        )
    data, numbers = path.read_bytes(), weights.read_bytes()
    core = open_core()
    try:
        model = core.read_model(data, numbers)
        if not model.has_rt_info([KEY]):
            raise ExportedFileError(
                f"cannot run {path}: it has no description of its state; pass a file that "
                "`co3d export` wrote"
            )
        return model.get_rt_info([KEY]).astype(str), data, numbers
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ExportedFileError(
            f"cannot read {path} as an OpenVINO model ({reason}); pass a file that `co3d export` "
            "wrote"
        ) from error
