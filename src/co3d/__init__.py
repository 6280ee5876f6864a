"""co3d: any clip-trained 3D CNN, one frame at a time.

model = co3d.create_model("camera_motion")
program = co3d.convert(model, model.card.clip_shape, window=8)
stream = co3d.open_stream(program)
for frame in co3d.read_video("match.mp4", rate_hz=model.card.rate_hz):
    result = stream.step(model.card.preprocess(frame.image))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from co3d.spinning import bound_spinning

if TYPE_CHECKING:
    from co3d.compiler import StepProgram, convert
    from co3d.engine import Engine, Prediction, Track
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
    from co3d.video import VideoFrame, VideoWriter, read_video

bound_spinning()

__version__ = "0.1.0"

__all__ = [
    "Artefact",
    "Client",
    "CompiledProgram",
    "Engine",
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
    "export_program",
    "get_card",
    "list_models",
    "load_program",
    "open_stream",
    "read_in_sandbox",
    "read_video",
    "register_model",
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
    "co3d.engine": ("Engine", "Prediction", "Track"),
    "co3d.export": ("Artefact", "export_program", "load_program"),
    "co3d.models": ("ModelCard", "create_model", "get_card", "list_models", "register_model"),
    "co3d.parity": ("Verification", "verify"),
    "co3d.compiler": ("StepProgram", "convert"),
    "co3d.serving.client": ("Client",),
    "co3d.sandbox": ("SandboxLimits", "read_in_sandbox"),
    "co3d.video": ("VideoFrame", "VideoWriter", "read_video"),
}


def __getattr__(name: str) -> Any:
    # Names are handed on when first used: `co3d --help` must not wait for torch.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'co3d' has no attribute {name!r}")
