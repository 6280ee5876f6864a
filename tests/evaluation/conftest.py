"""A miniature Kinetics, good files and bad, and what evaluates the bundled network on it."""

from collections.abc import Callable
from pathlib import Path

import pytest

import co3d
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.evaluation.jobs import Job, make_jobs
from co3d.evaluation.stream_mode import StreamEvaluator
from co3d.models import ClipModel
from co3d.models.camera_motion import CAMERA_MOTIONS
from co3d.stream import StepProgram
from support.miniature import Miniature, make_kinetics

CLASSES = ("pan left", "zoom in", "roll clockwise")


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    return make_kinetics(tmp_path_factory.mktemp("kinetics"), classes=CLASSES)


@pytest.fixture(scope="session")
def manifest(miniature: Miniature) -> Manifest:
    """All videos of the miniature, with its classes numbered otherwise than the model's."""
    entries = tuple(
        VideoEntry(
            video_id,
            f"val/{CAMERA_MOTIONS[label]}/{video_id}.mp4",
            (CLASSES.index(CAMERA_MOTIONS[label]),),
        )
        for video_id, (label,) in miniature.labels.items()
    )
    return Manifest(miniature.root, CLASSES, entries)


@pytest.fixture(scope="session")
def model() -> ClipModel:
    return co3d.create_model("camera_motion")


@pytest.fixture(scope="session")
def program(model: ClipModel) -> StepProgram:
    return co3d.convert(model, model.card.clip_shape, window=8)


@pytest.fixture(scope="session")
def jobs(manifest: Manifest) -> list[Job]:
    return make_jobs(manifest, CAMERA_MOTIONS, len(CAMERA_MOTIONS))


@pytest.fixture(scope="session")
def open_evaluator(
    manifest: Manifest, model: ClipModel, program: StepProgram
) -> Callable[..., StreamEvaluator]:
    """A stream evaluator of the bundled network; options as `StreamEvaluator` takes them."""

    def build(slots: int = 1, **options) -> StreamEvaluator:
        stream = co3d.open_stream(program, slots=slots, backend="torch")
        settings = {"fill": "zeros", "rate_hz": 8.0} | options
        return StreamEvaluator(settings.pop("manifest", manifest), model.card, stream, **settings)

    return build


@pytest.fixture(scope="session")
def manifest_file(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manifest") / "mini.jsonl"
    manifest.save(path)
    return path
