"""Find the checkpoint to resume from: the last, or the best if that is absent or damaged."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from co3d.errors import Co3dError, TrainingError, WeightError
from co3d.training.failures import is_disk_full, is_out_of_memory
from co3d.training.run_folder import RunFolder
from co3d.weights.containers import read_training_checkpoint

_PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks")
_LOG = logging.getLogger("co3d")


@dataclass(frozen=True)
class ResumePoint:
    """A checkpoint to continue from.

    Attributes:
        path: of the checkpoint.
        epochs: finished epochs. steps: of the optimiser so far.
    """

    path: Path
    epochs: int
    steps: int


def find_resume_point(run: RunFolder) -> ResumePoint:
    """The last checkpoint of a run, or with a warning the best if that cannot be read.

    Raises:
        TrainingError: neither can be read.
    """
    reasons = []
    for path in (run.last, run.best):
        try:
            point = _read_point(path)
        except WeightError as error:
            reasons.append(str(error))
            continue
        if reasons:
            _LOG.warning(
                "%s; going on from %s, after epoch %d", reasons[0], path.name, point.epochs
            )
        return point
    raise TrainingError(
        f"cannot resume {run.path}: {' and '.join(reasons)}; start anew in an empty folder"
    )


def _read_point(path: Path) -> ResumePoint:
    checkpoint = read_training_checkpoint(path)
    epoch, steps = checkpoint.get("epoch"), checkpoint.get("global_step")
    if not all(type(number) is int and 0 <= number < 1 << 48 for number in (epoch, steps)):
        raise WeightError(f"cannot read {path}: it does not say after which epoch it was written")
    if missing := [name for name in _PARTS if not isinstance(checkpoint.get(name), dict | list)]:
        raise WeightError(f"cannot read {path}: it has no {' and no '.join(missing)}")
    return ResumePoint(path, epoch + 1, steps)  # type: ignore[operator]


@contextmanager
def blame_checkpoint(trainer: Trainer, point: ResumePoint | None) -> Iterator[None]:
    """Raise an error in the first batch of a resumed run as an error of its checkpoint.

    A checkpoint of another program may hold anything under the names that Lightning reads.

    Raises:
        TrainingError: naming the checkpoint.
    """
    first = _FirstBatch(point)
    trainer.callbacks.append(first)  # type: ignore[attr-defined]
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        is_ours = isinstance(e, Co3dError) or is_out_of_memory(e) or is_disk_full(e)
        if point is None or first.is_over or is_ours:
            raise
        reason = next(iter(str(e).splitlines()), "")[:200]
        raise TrainingError(
            f"cannot resume from {point.path}: it does not fit the network, the optimiser or the "
            f"loops of this run ({type(e).__name__}: {reason}); start anew in an empty folder"
        ) from e


class _FirstBatch(Callback):
    """Records that a batch was trained on, and checks that Lightning's loops resumed correctly."""

    def __init__(self, point: ResumePoint | None) -> None:
        self._point = point
        self.is_over = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See `Callback`."""
        del pl_module
        if self._point is not None and trainer.current_epoch != self._point.epochs:
            raise ValueError(
                f"its loops have finished {trainer.current_epoch} epochs, not {self._point.epochs}"
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """See `Callback`."""
        del trainer, pl_module, outputs, batch, batch_idx
        self.is_over = True
