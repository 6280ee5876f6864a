"""The training of a network on clips, as a Lightning module."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix, MultilabelAveragePrecision

from co3d.datasets.mixing import cut_mix, mix_up
from co3d.errors import TrainingError
from co3d.models import ClipModel
from co3d.models.description import write_description
from co3d.printable import list_first
from co3d.training.batches import TrainingData, mix_seeds
from co3d.training.layers import Freezer
from co3d.training.losses import balance, compute_loss
from co3d.training.optimisers import make_optimiser, make_schedule
from co3d.training.recipe import Recipe, VideoData
from co3d.weights.containers import DESCRIPTION

_LOG = logging.getLogger("co3d")
SHOWN = 8


@runtime_checkable
class SettledModel(Protocol):
    """A network that can evaluate only those inner frames of a clip that see no padding in time."""

    def forward_settled(self, clip: Tensor) -> Tensor:
        """Clip (N, 3, T, H, W) -> logits (N, K)."""
        ...


class ClipTraining(LightningModule):
    """Trains a network by a recipe.

    Logs `train_loss` and `learning_rate` at steps, and for each validation set `NAME_loss` and
    `NAME_accuracy` (of multi-label sets `NAME_map`), as shares.

    Attributes:
        broken: a line for each training video that could not be read.

    Args:
        net: the network; it is trained in place.
        recipe: the settings.
        data: the training and validation data.

    Raises:
        RecipeError: the network has no layer that the recipe freezes.
        TrainingError: the network cannot be trained in the recipe's form; or, from
            `training_step`, the loss is not a finite number.
    """

    def __init__(self, net: ClipModel, recipe: Recipe, data: TrainingData) -> None:
        super().__init__()
        self.net = net
        self.recipe = recipe
        self.names = list(data.validation)
        self.multi_label = data.multi_label
        counts, videos = data.counts, 0 if data.counts is None else sum(data.counts)
        if data.multi_label:
            videos = len(data.train)
        weights = None if counts is None else balance(recipe.loss, counts, videos)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", weights, persistent=False)
        self.broken: list[str] = []
        self.freezer = Freezer(net, recipe.freezing)
        self.scores = [self._make_score(len(data.class_names)) for _ in self.names]
        for index, score in enumerate(self.scores):
            self.add_module(f"score_{index}", score)
        self._layout = torch.channels_last_3d if recipe.compute.channels_last else None
        if self._layout is not None:
            net.to(memory_format=self._layout)  # type: ignore[call-overload]
        kernels = [m.kernel_size[0] for m in net.modules() if isinstance(m, nn.Conv3d)]
        self._longest_kernel = max(kernels, default=1)
        # Only the bound method is kept: the network itself would be registered a second time.
        forward: Callable[[Tensor], Tensor] = net.forward
        if recipe.form.kind == "settled":
            if not isinstance(net, SettledModel):
                raise TrainingError(
                    f"cannot train {type(net).__name__} in settled form: it has no "
                    "`forward_settled`; use form.kind=clip"
                )
            forward = net.forward_settled
        self._forward = torch.compile(forward) if recipe.compute.compile else forward
        self.train()

    @property
    def monitored(self) -> str:
        """The metric that decides which weights are best; higher is better."""
        return f"{self.names[-1]}_{'map' if self.multi_label else 'accuracy'}"

    @property
    def monitored_loss(self) -> str:
        """The metric that decides between weights of equal score; lower is better."""
        return f"{self.names[-1]}_loss"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the names of the classes, and the rest of a weight file's metadata."""
        checkpoint[DESCRIPTION] = write_description(self.net.card)

    def compute_outputs(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Logits (M, K) of the frames of a batch that count, and their labels (M,) or (M, K)."""
        clips, labels = batch["clip"], batch["label"]
        if self.training:
            clips, labels = self._mix(clips, labels)
            self._refuse_short_clips(clips)
        if self._layout is not None:
            clips = clips.contiguous(memory_format=self._layout)
        return self._forward(clips), labels

    def compute_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The recipe's loss."""
        return compute_loss(self.recipe.loss, logits, target, self.class_weights)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Loss of the counted frames of one batch."""
        logits, labels = self.compute_outputs(batch)
        # A chunk before a stream's first valid result advances its state without training.
        loss = self.compute_loss(logits, labels) if len(logits) else logits.sum()
        self._log_training(loss, batch, batch_idx)
        return loss

    def validation_step(
        self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Add the counted frames of one batch to the scores of its validation set."""
        del batch_idx
        logits, labels = self.compute_outputs(batch)
        if len(logits):
            self._add_validation(logits, labels, dataloader_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of all validation sets."""
        for name, score in zip(self.names, self.scores, strict=True):
            value = score.compute()
            if not self.multi_label:
                value = value.trace() / value.sum().clamp(min=1)
            self.log(f"{name}_{'map' if self.multi_label else 'accuracy'}", value, prog_bar=True)

    def on_validation_epoch_start(self) -> None:
        """Reset the scores; they are kept until here for pictures."""
        for score in self.scores:
            score.reset()

    def on_train_epoch_start(self) -> None:
        """Unfreeze the layers that are due in this epoch."""
        self.freezer.freeze(self.current_epoch)
        self.train()

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Seed the network's random operations, since loaders may have drawn numbers before."""
        del batch
        seeds = (self.recipe.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(mix_seeds(*seeds))

    def train(self, mode: bool = True) -> "ClipTraining":
        """Training or evaluation mode; frozen layers stay in evaluation mode."""
        super().train(mode)
        if mode and getattr(self, "freezer", None) is not None:
            self.freezer.stop_statistics(self.current_epoch if self._trainer else 0)
        return self

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The recipe's optimiser and schedule."""
        optimiser: Optimizer = make_optimiser(self.net, self.recipe.optimiser)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = make_schedule(optimiser, self.recipe.schedule, steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def confusion(self) -> Tensor | None:
        """(K, K) counts of the last validation, a row per true class; None for multi-label sets."""
        return None if self.multi_label else self.scores[-1].compute()

    def _refuse_short_clips(self, clips: Tensor) -> None:
        """Refuse clips shorter than a kernel: PyTorch 2.13 leaves part of its gradient unset."""
        rounds = self.recipe.compute.precision == "bf16-mixed" and clips.device.type == "cpu"
        if rounds and clips.shape[2] < self._longest_kernel:
            raise TrainingError(
                f"cannot train in bf16-mixed on the CPU: got clips of {clips.shape[2]} frames, "
                f"expected at least the {self._longest_kernel} that the longest kernel reads, for "
                "PyTorch computes wrong gradients with fewer; use longer clips, or "
                "compute.precision=32-true"
            )

    def _mix(self, clips: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Apply MixUp, CutMix, or either at random, as the recipe says."""
        data = self.recipe.data
        if not isinstance(data, VideoData) or not (data.mixup or data.cutmix):
            return clips, labels
        if not self.multi_label:
            labels = F.one_hot(labels, len(self.net.card.labels)).to(clips.dtype)
        cuts = data.cutmix and (not data.mixup or float(torch.rand(())) < 0.5)
        return cut_mix(clips, labels, data.cutmix) if cuts else mix_up(clips, labels, data.mixup)

    def _log_training(self, loss: Tensor, batch: dict[str, Any], batch_idx: int) -> None:
        if not torch.isfinite(loss):
            raise TrainingError(
                f"cannot go on: the loss of batch {batch_idx} in epoch {self.current_epoch} is "
                f"{float(loss.detach())}; its clips are {_name_clips(batch)}; lower "
                "optimiser.learning_rate, set optimiser.clip_norm, or look at these clips"
            )
        for video in batch.get("broken", ()):
            if video not in self.broken:
                self.broken.append(video)
                _LOG.warning("left out %s", video)
        self.log("train_loss", loss, prog_bar=True, batch_size=len(batch["clip"]))
        rates = self.optimizers().param_groups  # type: ignore[union-attr]
        self.log("learning_rate", max(group["lr"] for group in rates))

    def _add_validation(self, logits: Tensor, target: Tensor, index: int) -> None:
        loss = self.compute_loss(logits, target)
        self.log(
            f"{self.names[index]}_loss",
            loss,
            add_dataloader_idx=False,
            batch_size=len(logits),
            sync_dist=self.trainer.world_size > 1,
        )
        if self.multi_label:
            self.scores[index].update(logits.float().sigmoid(), target.int())
        else:
            self.scores[index].update(logits.argmax(1), target)

    def _make_score(self, classes: int) -> Metric:
        if self.multi_label:
            return MultilabelAveragePrecision(classes, average="macro", thresholds=200)
        return MulticlassConfusionMatrix(classes)


def _name_clips(batch: dict[str, Any]) -> str:
    names: Sequence[Any] = batch.get("video_id") or [f"{len(batch['clip'])} generated ones"]
    return list_first(names, SHOWN)
