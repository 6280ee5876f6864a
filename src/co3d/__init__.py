"""co3d: any clip-trained 3D CNN, one frame at a time.

for moment in co3d.label_video("match.mp4"):
    print(moment.pts_seconds, moment.label, moment.probability)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from co3d import errors
from co3d.spinning import bound_spinning

if TYPE_CHECKING:
    from co3d.compiler import StepProgram, convert
    from co3d.engine import Engine, Labeller, Prediction, Track, label_video, open_labeller
    from co3d.errors import Co3dError
    from co3d.export import Artefact, export_program, load_program
    from co3d.models import ModelCard, create_model, get_card, list_models, register_model
    from co3d.parity import Verification, verify
    from co3d.runtime import (
        CompiledProgram,
        Slot,
        Snapshot,
        StepResult,
        Stream,
        compile,  # noqa: A004
        open_stream,
    )
    from co3d.sandbox import SandboxLimits, read_in_sandbox
    from co3d.serving.client import Client
    from co3d.video import VideoFrame, VideoWriter, read_video, sample_video

bound_spinning()

__version__ = "0.1.0"

__all__ = [
    "Artefact",
    "Client",
    "Co3dError",
    "CompiledProgram",
    "Engine",
    "Labeller",
    "ModelCard",
    "Prediction",
    "SandboxLimits",
    "Slot",
    "Snapshot",
    "StepProgram",
    "StepResult",
    "Stream",
    "Track",
    "Verification",
    "VideoFrame",
    "VideoWriter",
    "compile",
    "convert",
    "create_model",
    "errors",
    "export_program",
    "get_card",
    "label_video",
    "list_models",
    "load_program",
    "open_labeller",
    "open_stream",
    "read_in_sandbox",
    "read_video",
    "register_model",
    "sample_video",
    "verify",
]

_HOMES = {
    "co3d.runtime": (
        "CompiledProgram",
        "Slot",
        "Snapshot",
        "StepResult",
        "Stream",
        "compile",
        "open_stream",
    ),
    "co3d.engine": ("Engine", "Labeller", "Prediction", "Track", "label_video", "open_labeller"),
    "co3d.errors": ("Co3dError",),
    "co3d.export": ("Artefact", "export_program", "load_program"),
    "co3d.models": ("ModelCard", "create_model", "get_card", "list_models", "register_model"),
    "co3d.parity": ("Verification", "verify"),
    "co3d.compiler": ("StepProgram", "convert"),
    "co3d.serving.client": ("Client",),
    "co3d.sandbox": ("SandboxLimits", "read_in_sandbox"),
    "co3d.video": ("VideoFrame", "VideoWriter", "read_video", "sample_video"),
}


def __getattr__(name: str) -> Any:
    # Names are imported when first used, so that `co3d --help` does not wait for torch.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'co3d' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
