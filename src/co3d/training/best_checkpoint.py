"""The checkpoint of the best weights so far: by score, with the loss as a tie-breaker."""

from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor


class BestCheckpoint(ModelCheckpoint):
    """Keeps the weights with the highest score.

    With a validation set of a few videos, accuracy has few values, and many epochs share the
    highest. Of those, the one with the lowest validation loss is kept.

    Args:
        monitor: name of the score; more is better.
        loss: name of the loss that breaks ties.
        options: of `ModelCheckpoint`.
    """

    def __init__(self, monitor: str, loss: str, **options: Any) -> None:
        super().__init__(monitor=monitor, mode="max", save_top_k=1, **options)
        self._loss = loss
        self._lowest = float("inf")

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Whether the current weights are better than the saved ones."""
        loss = float(trainer.callback_metrics.get(self._loss, float("inf")))
        is_better = super().check_monitor_top_k(trainer, current)
        if not is_better and current is not None:
            is_tie = bool(current == self.best_model_score)
            is_better = trainer.strategy.reduce_boolean_decision(is_tie and loss < self._lowest)
        if is_better:
            self._lowest = loss
        return is_better

    def state_dict(self) -> dict[str, Any]:
        """The state that a resumed run needs."""
        return {**super().state_dict(), "lowest_loss": self._lowest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        super().load_state_dict(state_dict)
        self._lowest = state_dict["lowest_loss"]
