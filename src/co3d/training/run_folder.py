"""The folder of a run: recipe, versions, metrics, pictures, checkpoints, and a model to stream."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only

import co3d
from co3d.errors import OutputError, TrainingError
from co3d.files import make_folder, output_file, report_refusal
from co3d.models import save_model
from co3d.training.batches import TrainingData
from co3d.training.metrics_log import read_metrics
from co3d.training.pictures import draw_confusion, draw_curves
from co3d.training.recipe import Recipe
from co3d.training.recipe_file import read_recipe, write_recipe
from co3d.training.setup import Setup
from co3d.weights.containers import read_training_checkpoint

RECIPE, LAST, RESULTS = "recipe.yaml", "last.ckpt", "results.json"


def is_first_process() -> bool:
    """Whether this process, of those that train together, is the one that writes and prints."""
    return getattr(rank_zero_only, "rank", 0) == 0 and os.environ.get("NODE_RANK", "0") == "0"


@contextmanager
def open_folder(path: Path, recipe: Recipe, progress: str, *, resume: bool) -> Iterator[None]:
    """Make a folder, or check that an earlier run of this recipe began in it.

    A new folder is removed if the block fails before it writes anything there, such as for want of
    videos.

    Args:
        path: the folder.
        recipe: of the run.
        progress: name of the file with the run's progress, which resuming needs.
        resume: whether a run was begun in it; it may have ended before any progress.

    Raises:
        OutputError: the folder is not empty, or cannot be made.
        TrainingError: there is nothing to resume, or it has another recipe.
    """
    if resume:
        _check_resumable(path, recipe, progress)
    is_new = is_first_process() and not resume and not path.exists()
    if is_first_process() and not resume:
        _make_empty(path)
    try:
        yield
    except BaseException:
        if is_new:
            with suppress(OSError):  # it is not empty
                path.rmdir()
        raise


def _make_empty(path: Path) -> None:
    make_folder(path)
    with report_refusal(path):
        taken = any(path.iterdir())
    if taken:
        raise OutputError(
            f"cannot train into {path}: it is not empty; choose another folder, or add "
            "--resume to go on with the run in it"
        )


def _check_resumable(path: Path, recipe: Recipe, progress: str) -> None:
    if not any((path / name).is_file() for name in (progress, RECIPE)):
        raise TrainingError(
            f"cannot resume {path}: it has neither {RECIPE} nor {progress}, which a run writes; "
            "start anew in an empty folder"
        )
    before, now = (r.model_dump() for r in (read_recipe(path / RECIPE), recipe))
    changed = [key for key in before if before[key] != now[key]]
    if changed:
        raise TrainingError(
            f"cannot resume {path}: its recipe has other values for {', '.join(changed)}; resume "
            f"with {path / RECIPE}"
        )


class RunFolder:
    """The files of a run.

    `recipe.yaml`, `versions.json`, `metrics.csv`, `curves.png`, `confusion.png`, `results.json`,
    `last.ckpt`, `best.ckpt`, and `model.safetensors` with `card.json`, which `co3d stream --model
    FOLDER` plays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = path / "metrics.csv"
        self.last, self.best = path / LAST, path / "best.ckpt"

    @property
    def has_progress(self) -> bool:
        """Whether an epoch was finished."""
        return any(path.exists() for path in (self.last, self.best, self.path / RESULTS))

    @property
    def newest(self) -> str:
        """Name of the checkpoint to continue from."""
        return self.best.name if self.best.exists() and not self.last.exists() else LAST

    def remove_partial(self) -> None:
        """Remove partial files that a kill left."""
        if is_first_process():
            for path in self.path.glob(".*.partial*"):
                path.unlink(missing_ok=True)

    def describe(self, recipe: Recipe, data: TrainingData) -> None:
        """Write the recipe, and everything else that determines the run."""
        if is_first_process():
            write_recipe(recipe, self.path / RECIPE)
        versions = {
            "co3d": co3d.__version__,
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processor_threads": torch.get_num_threads(),
            "division": data.division,
            "training_items": len(data.train),
            "training_videos_per_class": data.counts
            and dict(zip(data.class_names, data.counts, strict=True)),
        }
        self._write_json("versions.json", versions)

    def draw_curves(self) -> None:
        """Draw the contents of the metrics file."""
        draw_curves(read_metrics(self.metrics), self.path / "curves.png")

    def keep(self, recipe: Recipe, setup: Setup, loaders: list[Any]) -> dict[str, float]:
        """Evaluate the weights that the recipe keeps, and write them as a model to stream."""
        path = self.best if recipe.keep == "best" and self.best.exists() else self.last
        checkpoint = read_training_checkpoint(path)
        module = setup.module
        module.load_state_dict(checkpoint["state_dict"])
        module.to("cpu")
        compute_outputs = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        parts = compute_outputs.validate(module, loaders, verbose=False)
        scores = {key: float(value) for part in parts for key, value in part.items()}
        confusion = module.confusion()
        if confusion is not None:
            names = module.net.card.labels
            draw_confusion(confusion.cpu().numpy(), names, self.path / "confusion.png")
        save_model(module.net.eval(), self.path)
        results = {
            "weights": path.name,
            "epoch": int(checkpoint["epoch"]) + 1,
            "scores": scores,
            "classes": list(module.net.card.labels),
            "videos_left_out": module.broken,
            "confusion": None if confusion is None else confusion.tolist(),
        }
        self._write_json(RESULTS, results)
        return scores

    def _write_json(self, name: str, values: dict[str, Any]) -> None:
        if is_first_process():
            with output_file(self.path / name) as temporary:
                temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
