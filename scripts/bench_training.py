"""How fast a recipe trains, and how busy it keeps the processor.

    python scripts/bench_training.py --output docs/results

Trains the bundled recipe for some steps, into no folder. `cores_busy` is the processor time of the
training process and of its workers, per second; other programs on the machine lower it.
"""

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from co3d.benchmark.machine import describe_hardware
from co3d.training.recipe import CameraMotionData, Recipe
from co3d.training.recipe_file import read_recipe
from co3d.training.run import make_loaders, open_trainer, quiet_lightning
from co3d.training.setup import set_up

WARM_UP_STEPS = 15
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, print, and write bench_training.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="camera_motion")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--output", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    args = parser.parse_args()
    settings = [["compute.threads=2"], ["compute.threads=1"]]
    if args.overrides:
        settings = [args.overrides]
    result = {
        "command": f"python scripts/bench_training.py --steps {args.steps}",
        "hardware": describe_hardware(),
        "versions": {"torch": torch.__version__},
        "recipe": args.recipe,
        "steps": args.steps,
        "runs": [measure(args.recipe, overrides, args.steps) for overrides in settings],
    }
    text = json.dumps(result, indent=2)
    print(text)
    if args.output is not None:
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / "bench_training.json").write_text(text + "\n")


def measure(name: str, overrides: list[str], steps: int) -> dict[str, Any]:
    """Train for some steps, and say how that went."""
    recipe = read_recipe(name, overrides)
    with quiet_lightning():
        setup = set_up(recipe)
        loaders = make_loaders(setup, recipe)
        watch = _Watch(steps)
        trainer = open_trainer(
            recipe,
            max_steps=WARM_UP_STEPS + steps,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            callbacks=[watch],
        )
        trainer.fit(setup.module, *loaders)
    cores = watch.cpu_seconds / watch.seconds
    return {
        "overrides": overrides,
        "workers": recipe.data.workers,
        "threads": torch.get_num_threads(),
        "ms_per_step": round(1000 * watch.seconds / steps, 1),
        "clips_per_second": round(watch.clips / watch.seconds, 1),
        "waiting_share": round(watch.waiting_seconds / watch.seconds, 3),
        "cores_busy": round(cores, 2),
        "utilisation": round(cores / (os.cpu_count() or 1), 3),
        "minutes_of_training_steps": _estimate(recipe, watch.seconds / steps),
    }


class _Watch(Callback):
    """Counts time, processor time and clips of the steps after the warm-up."""

    def __init__(self, steps: int) -> None:
        self.seconds = self.cpu_seconds = self.waiting_seconds = 0.0
        self.clips = 0
        self._steps, self._done = steps, 0
        self._moment = self._start = self._cpu_start = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """See `Callback`."""
        del trainer, pl_module, batch_idx
        if self._done >= WARM_UP_STEPS:
            self.waiting_seconds += time.perf_counter() - self._moment
            self.clips += len(batch["clip"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """See `Callback`."""
        del trainer, pl_module, outputs, batch, batch_idx
        self._done += 1
        self._moment = time.perf_counter()
        if self._done == WARM_UP_STEPS:
            self._start, self._cpu_start = self._moment, _cpu_seconds()
        elif self._done == WARM_UP_STEPS + self._steps:
            self.seconds = self._moment - self._start
            self.cpu_seconds = _cpu_seconds() - self._cpu_start


def _cpu_seconds() -> float:
    """Processor time so far of this process and of those that it has started and are running."""
    processes = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # user and system
    return ticks / TICKS_PER_SECOND


def _estimate(recipe: Recipe, seconds_per_step: float) -> float | None:
    if not isinstance(recipe.data, CameraMotionData):
        return None
    return round(recipe.epochs * recipe.data.steps_per_epoch * seconds_per_step / 60, 1)


if __name__ == "__main__":
    main()
