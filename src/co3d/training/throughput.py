"""Log how fast a run trains, and how long it waits for data."""

from time import perf_counter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Logs `clips_per_second` (training only) and `waiting_share` after each epoch.

    `waiting_share` is the share of that time in which the network waited for the next batch.
    """

    def __init__(self) -> None:
        self._clips = 0
        self._working_seconds = self._waiting_seconds = 0.0
        self._moment = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See `Callback`."""
        del trainer, pl_module
        self._clips = 0
        self._working_seconds = self._waiting_seconds = 0.0
        self._moment = perf_counter()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """See `Callback`."""
        del trainer, pl_module, batch_idx
        now = perf_counter()
        self._waiting_seconds += now - self._moment
        self._moment = now
        self._clips += len(batch["clip"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """See `Callback`."""
        del trainer, pl_module, outputs, batch, batch_idx
        now = perf_counter()
        self._working_seconds += now - self._moment
        self._moment = now

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See `Callback`."""
        del trainer
        seconds = max(1e-9, self._working_seconds + self._waiting_seconds)
        pl_module.log("clips_per_second", self._clips / seconds)
        pl_module.log("waiting_share", self._waiting_seconds / seconds)
