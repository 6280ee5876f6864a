"""A training run: from a recipe to a folder with all results."""

import logging
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.loggers import Logger

from co3d.errors import RecipeError
from co3d.files import own_folder
from co3d.packages import require_package
from co3d.training.batches import make_loader
from co3d.training.best_checkpoint import BestCheckpoint
from co3d.training.failures import explain_failures
from co3d.training.metrics_log import MetricsLog
from co3d.training.module import ClipTraining
from co3d.training.recipe import Recipe
from co3d.training.resuming import blame_checkpoint, find_resume_point
from co3d.training.run_folder import RunFolder, is_first_process, open_folder
from co3d.training.setup import Setup, set_up
from co3d.training.stream_module import StreamTraining
from co3d.training.throughput import Throughput
from co3d.training.whole_checkpoints import WholeCheckpoints

LOG_EVERY = 10
# Warnings of Lightning that a user of recipes cannot act on.
_IDLE_WARNINGS = (
    "The '.*_dataloader' does not have many workers",
    "Checkpoint directory .* exists and is not empty",
    "Found .* module\\(s\\) in eval mode",
    "You're resuming from a checkpoint that ended before the epoch ended",
    "Trying to infer the `batch_size`",
    "This process .* is multi-threaded, use of fork",
    "GPU available but not used",
    "You are using a CUDA device",
    "Detected KeyboardInterrupt",
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    "It is recommended to use `self.log",
    "The `srun` command is available",
    "You passed `Trainer\\(accelerator='cpu', precision='16-mixed'\\)`",
)


class Stopped(Exception):  # noqa: N818 - not an error: the user asked for it
    """Ctrl-C or SIGTERM ended the run between two batches."""


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        folder: of the run.
        scores: of the saved weights, by name; empty if none were made.
        epochs: number of finished epochs.
        was_stopped: whether a signal ended it.
        monitored: name of the score by which runs are compared.
    """

    folder: Path
    scores: dict[str, float]
    epochs: int
    was_stopped: bool
    monitored: str


def train(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Run a recipe, and write all results to a folder.

    Args:
        recipe: the settings.
        folder: new or empty; with `resume`, of an earlier run.
        resume: continue after the last finished epoch, with the same losses as an uninterrupted
            run; a run that ended before its first epoch starts anew.
        callbacks: Lightning's, to follow the run.
        say: called before the first batch with the split into training and validation videos.

    Raises:
        OutputError: the folder is not empty, another process trains in it, or the disk is full.
        TrainingError: the loss is not a finite number, memory is insufficient, or there is nothing
            to resume.
        RecipeError, DataError, WeightError: something that the recipe names does not exist or does
            not fit.
    """
    run = RunFolder(folder)
    with (
        open_folder(folder, recipe, run.newest, resume=resume),
        _lock_folder(folder),
        quiet_lightning(),
        explain_failures(recipe, run),
    ):
        setup = set_up(recipe)
        if setup.data.division:
            say(setup.data.division)
        loaders = make_loaders(setup, recipe)
        point = None
        if resume:
            run.remove_partial()
        if resume and not run.has_progress:
            say("no epoch was finished in that folder: starting anew")
        elif resume:
            point = find_resume_point(run)
            # Lightning fetches the first batches of a resumed run before it sets the epoch.
            loaders[0].sampler.set_epoch(point.epochs)
        steps = None if point is None else point.steps
        trainer = make_trainer(recipe, setup.module, run, len(loaders[0]), steps)
        trainer.callbacks.extend(callbacks)  # type: ignore[attr-defined]
        run.describe(recipe, setup.data)
        was_stopped = False
        try:
            with _stop_on_signals(trainer), blame_checkpoint(trainer, point):
                path = None if point is None else point.path
                trainer.fit(setup.module, *loaders, ckpt_path=path)
        except Stopped:
            was_stopped = True
        finally:
            _leave_group()
        scores: dict[str, float] = {}
        if trainer.is_global_zero and run.last.exists():
            run.draw_curves()
            scores = run.keep(recipe, setup, loaders[1])
        return Result(folder, scores, trainer.current_epoch, was_stopped, setup.module.monitored)


def _lock_folder(folder: Path) -> AbstractContextManager[None]:
    """Lock the folder in the first of the processes that train together."""
    return own_folder(folder) if is_first_process() else nullcontext()


def try_out(recipe: Recipe) -> None:
    """Run one batch of training and of each validation, and write nothing."""
    with quiet_lightning(), explain_failures(recipe, None):
        setup = set_up(recipe)
        trainer = open_trainer(recipe, fast_dev_run=True, enable_progress_bar=sys.stderr.isatty())
        trainer.fit(setup.module, *make_loaders(setup, recipe))


def make_loaders(setup: Setup, recipe: Recipe) -> tuple[Any, list[Any]]:
    """The training loader, and one per validation set."""
    module, data = setup.module, setup.data
    if isinstance(module, StreamTraining):
        return module.make_chunks(data, train=True)[0], module.make_chunks(data, train=False)
    sets = data.validation.values()
    validation = [make_loader(items, data, recipe.seed, train=False) for items in sets]
    return make_loader(data.train, data, recipe.seed, train=True), validation


def make_trainer(
    recipe: Recipe,
    module: ClipTraining,
    run: RunFolder,
    batches: int,
    resumed_step: int | None = None,
) -> Trainer:
    """A trainer with the recipe's loggers, checkpoints and limits, and this number of batches.

    A resumed run keeps the metrics of the steps before `resumed_step`.
    """
    checkpoint: dict[str, Any] = {"dirpath": run.path, "enable_version_counter": False}
    callbacks: list[Callback] = [
        BestCheckpoint(
            module.monitored, module.monitored_loss, filename=run.best.stem, **checkpoint
        ),
        # Added after the other callback, because it copies that one's state.
        ModelCheckpoint(filename=run.last.stem, save_top_k=1, **checkpoint),
        Throughput(),
    ]
    if recipe.ema_decay is not None:
        callbacks.append(EMAWeightAveraging(decay=recipe.ema_decay))
    if recipe.early_stopping is not None:
        callbacks.append(
            EarlyStopping(module.monitored, patience=recipe.early_stopping, mode="max")
        )
    if sys.stderr.isatty():
        callbacks.append(RichProgressBar())
    return open_trainer(
        recipe,
        max_epochs=recipe.epochs,
        logger=_make_loggers(recipe, run, resumed_step),
        callbacks=callbacks,
        enable_progress_bar=sys.stderr.isatty(),
        log_every_n_steps=max(1, min(LOG_EVERY, batches)),
        default_root_dir=run.path,
    )


def open_trainer(recipe: Recipe, **options: Any) -> Trainer:
    """Lightning's Trainer with these options, and with arithmetic and seed as a recipe says.

    Raises:
        RecipeError: this machine does not support these settings.
    """
    compute, optimiser = recipe.compute, recipe.optimiser
    seed_everything(recipe.seed, verbose=False)
    try:
        trainer = Trainer(
            accelerator=compute.accelerator,
            devices=compute.devices,
            num_nodes=compute.nodes,
            strategy=compute.strategy,
            precision=compute.precision,
            gradient_clip_val=optimiser.clip_norm,
            accumulate_grad_batches=optimiser.accumulate,
            plugins=[WholeCheckpoints()],
            use_distributed_sampler=False,  # our sampler distributes the batches itself
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **options,
        )
    except (MisconfigurationException, ValueError) as error:
        reason = str(error).split(". ")[0].rstrip(".")
        raise RecipeError(
            f"cannot train with compute.accelerator {compute.accelerator}, compute.devices "
            f"{compute.devices} and compute.strategy {compute.strategy}: {reason}; such as "
            "compute.accelerator=cpu, compute.devices=1 and compute.strategy=auto run anywhere"
        ) from error
    if trainer.precision != compute.precision:
        raise RecipeError(
            f"cannot train with compute.precision {compute.precision} on this accelerator; set "
            f"compute.precision={trainer.precision}"
        )
    return trainer


def _make_loggers(recipe: Recipe, run: RunFolder, resumed_step: int | None) -> list[Logger]:
    loggers: list[Logger] = [MetricsLog(run.metrics, resumed_step)]
    if recipe.logging.tensorboard:
        require_package("tensorboard", extra="training")
        from lightning.pytorch.loggers import TensorBoardLogger

        loggers.append(TensorBoardLogger(run.path, name="tensorboard", version=""))
    if recipe.logging.wandb_project is not None:
        require_package("wandb", extra="wandb")
        from lightning.pytorch.loggers import WandbLogger

        name, project = recipe.name, recipe.logging.wandb_project
        loggers.append(WandbLogger(name=name, project=project, save_dir=run.path))
    return loggers


def _leave_group() -> None:
    """Leave the process group, so that one process can evaluate the network alone."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


class _StopBetweenBatches(Callback):
    """Ends the run before the next batch after a signal."""

    def __init__(self) -> None:
        self.requested = False

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """See `Callback`."""
        del trainer, pl_module, batch, batch_idx
        if self.requested:
            raise Stopped


@contextmanager
def _stop_on_signals(trainer: Trainer) -> Iterator[None]:
    """SIGINT and SIGTERM end the run after the current batch; a second one interrupts it."""
    stop = _StopBetweenBatches()
    trainer.callbacks.insert(0, stop)  # type: ignore[attr-defined]

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        previous = {number: signal.signal(number, handle) for number in numbers}
    except ValueError:  # only the main thread may handle signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's advice to authors of trainers."""
    names = ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric")
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _IDLE_WARNINGS:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
