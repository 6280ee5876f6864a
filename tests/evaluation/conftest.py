"""A miniature Kinetics, good files and bad, and what evaluates the bundled network on it."""

from collections.abc import Callable

import pytest

import co3d
from co3d.compiler import StepProgram
from co3d.datasets.layouts import open_dataset
from co3d.datasets.manifest import Manifest
from co3d.evaluation.jobs import Job, make_jobs
from co3d.evaluation.stream_mode import StreamEvaluator
from co3d.models import ClipModel
from co3d.models.camera_motion import CAMERA_MOTIONS
from support.miniature import Miniature, make_kinetics

CLASSES = ("pan left", "zoom in", "roll clockwise")


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    return make_kinetics(tmp_path_factory.mktemp("kinetics"), classes=CLASSES)


@pytest.fixture(scope="session")
def manifest(miniature: Miniature) -> Manifest:
    return open_dataset(miniature.root, classes=CAMERA_MOTIONS)


@pytest.fixture(scope="session")
def model() -> ClipModel:
    return co3d.create_model("camera_motion")


@pytest.fixture(scope="session")
def program(model: ClipModel) -> StepProgram:
    return co3d.convert(model, model.card.clip_shape, window=8)


@pytest.fixture(scope="session")
def jobs(manifest: Manifest) -> list[Job]:
    return make_jobs(manifest, len(CAMERA_MOTIONS))


@pytest.fixture(scope="session")
def open_evaluator(
    manifest: Manifest, model: ClipModel, program: StepProgram
) -> Callable[..., StreamEvaluator]:
    """A stream evaluator of the bundled network; options as `StreamEvaluator` takes them."""

    compiled = co3d.compile(program, backend="torch")

    def build(**options) -> StreamEvaluator:
        settings = {"fill": "zeros", "rate_hz": 8.0} | options
        return StreamEvaluator(settings.pop("manifest", manifest), model.card, compiled, **settings)

    return build
