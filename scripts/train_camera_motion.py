"""Train the bundled camera motion network on two CPU cores, from nothing but a seed.

python scripts/train_camera_motion.py --output runs/camera_motion
"""

import argparse
import csv
import json
import os
import shlex
import sys
import time
from pathlib import Path

# Two threads that spin while they wait are slower than two that sleep when a core is shared.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import lightning
import matplotlib
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import co3d
from co3d.datasets.camera_motion import CLIP_FRAMES, CameraMotionClips, draw_clips
from co3d.datasets.canvases import build_canvases
from co3d.models.camera_motion import CAMERA_MOTIONS, CameraMotionNet
from co3d.weights.save import save_weights

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FRAMES_PER_BATCH = 24 * CLIP_FRAMES
# Half of the batches are clips as the model card says, padded with zeros in time. The other half
# are longer and judged by their inner frames alone, whose receptive field holds no padding: this
# is what a stream sees once it has settled.
CLIP_LENGTHS = (8, 8, 8, 12, 14, 16)
SETTLED_FRAMES = CLIP_FRAMES + 2 * CameraMotionNet.delay
VALIDATION_CLIPS = 288
VALIDATION_INTERVAL = 300
SMOOTHING = 20  # logged losses in a point of the smooth curve
WEIGHT_DECAY = 0.02


class CameraMotionTraining(lightning.LightningModule):
    """AdamW on a one-cycle schedule, cross-entropy; accuracy as clip and as settled stream."""

    def __init__(self, steps: int, learning_rate: float) -> None:
        super().__init__()
        self.steps = steps
        self.learning_rate = learning_rate
        self.net = CameraMotionNet().to(memory_format=torch.channels_last_3d)  # twice as fast

    def predict(self, clips: Tensor) -> Tensor:
        """Logits from all frames of a plain clip, or from the inner frames of a longer one."""
        features = self.net.features(clips.contiguous(memory_format=torch.channels_last_3d))
        if clips.shape[2] > CLIP_FRAMES:
            features = features[:, :, self.net.delay : -self.net.delay]
        return self.net.classify(features)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy of one batch."""
        clips, labels = batch
        loss = F.cross_entropy(self.predict(clips), labels)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(
        self,
        batch: tuple[Tensor, Tensor],
        batch_idx: int,  # noqa: ARG002 - Lightning passes it
        dataloader_idx: int = 0,
    ) -> None:
        """Log the accuracy of one batch of one of the two validation sets."""
        clips, labels = batch
        accuracy = (self.predict(clips).argmax(1) == labels).float().mean()
        name = ("clip_accuracy", "settled_accuracy")[dataloader_idx]
        self.log(name, accuracy, prog_bar=True, add_dataloader_idx=False)

    def configure_optimizers(self) -> dict:
        """AdamW, warmed up for a fifth of the steps and annealed over the rest."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=WEIGHT_DECAY
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.learning_rate, total_steps=self.steps, pct_start=0.2
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def validation_loaders(seed: int) -> list[DataLoader]:
    """Fixed clips from the validation photographs: of the card's length, and settled ones."""
    canvases = build_canvases("validation", seed)
    loaders = []
    for frames in (CLIP_FRAMES, SETTLED_FRAMES):
        generator = torch.Generator().manual_seed(seed)
        batch = draw_clips(canvases, VALIDATION_CLIPS, generator, frames)
        loaders.append(DataLoader(TensorDataset(batch.clips, batch.labels), batch_size=48))
    return loaders


def plot_curves(log: Path, path: Path) -> None:
    """Draw training loss and validation accuracy from the CSV log."""
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))

    def column(name: str) -> tuple[list[int], list[float]]:
        points = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
        return [step for step, _ in points], [value for _, value in points]

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    steps, losses = column("train_loss")
    recent = [losses[max(0, end - SMOOTHING) : end] for end in range(1, len(losses) + 1)]
    smooth = [sum(values) / len(values) for values in recent]
    left.plot(steps, losses, linewidth=0.6, color="tab:blue", alpha=0.35, label="one batch")
    left.plot(steps, smooth, linewidth=1.5, color="tab:blue", label=f"mean of {SMOOTHING}")
    left.legend()
    left.set(title="training loss (cross-entropy)", xlabel="step", ylim=(0, None))
    for name, label in (("clip_accuracy", "8-frame clips"), ("settled_accuracy", "settled stream")):
        steps, values = column(name)
        right.plot(steps, [100 * value for value in values], marker=".", label=label)
    right.axhline(97, color="grey", linewidth=0.8, linestyle="--")
    right.set(title="validation accuracy (%)", xlabel="step", ylim=(0, 100))
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6000, help="optimizer steps (default 6000)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data (default 0)")
    parser.add_argument("--learning-rate", type=float, default=1.5e-3, help="peak of the cycle")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/camera_motion"),
        help="folder for camera_motion.safetensors, metrics.csv and curves.png",
    )
    return parser.parse_args()


def main() -> None:
    """Train, then write weights, log and curves."""
    arguments = parse_arguments()
    command = shlex.join(["python", "scripts/train_camera_motion.py", *sys.argv[1:]])
    started = time.monotonic()
    torch.set_num_threads(arguments.threads)
    lightning.seed_everything(arguments.seed)
    training = DataLoader(
        CameraMotionClips(
            build_canvases("train", arguments.seed),
            arguments.steps,
            FRAMES_PER_BATCH,
            CLIP_LENGTHS,
            arguments.seed,
        ),
        batch_size=None,
        num_workers=1,
        prefetch_factor=4,
    )
    module = CameraMotionTraining(arguments.steps, arguments.learning_rate)
    logger = CSVLogger(arguments.output, name=None, version="")
    trainer = lightning.Trainer(
        max_steps=arguments.steps,
        accelerator="cpu",
        gradient_clip_val=1.0,
        val_check_interval=min(VALIDATION_INTERVAL, arguments.steps),
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        logger=logger,
        callbacks=[
            LearningRateMonitor("step"),
            ModelCheckpoint(arguments.output, "last", every_n_train_steps=VALIDATION_INTERVAL),
        ],
    )
    trainer.fit(module, training, validation_loaders(arguments.seed))
    metadata = {
        "labels": json.dumps(CAMERA_MOTIONS),
        "co3d_version": co3d.__version__,
        "training_command": command,
    }
    save_weights(module.net, arguments.output / "camera_motion.safetensors", metadata)
    plot_curves(arguments.output / "metrics.csv", arguments.output / "curves.png")
    print(f"{arguments.steps} steps in {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
