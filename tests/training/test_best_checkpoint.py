"""Which weights `keep: best` keeps."""

from types import SimpleNamespace

import torch

from co3d.training.best_checkpoint import BestCheckpoint
from co3d.training.metrics_log import read_metrics
from co3d.training.run import train
from support.noise_videos import videos, write_noise


class Trainer(SimpleNamespace):
    """What a checkpoint asks of a trainer, in one process."""

    def __init__(self, loss):
        strategy = SimpleNamespace(reduce_boolean_decision=lambda decision: decision)
        super().__init__(
            callback_metrics={"validation_loss": torch.tensor(loss)}, strategy=strategy
        )


def follow(checkpoint, epochs):
    """Which epochs are kept, given their scores and losses."""
    kept = []
    for number, (score, loss) in enumerate(epochs):
        current = torch.tensor(score)
        if checkpoint.check_monitor_top_k(Trainer(loss), current):
            kept.append(number)
            checkpoint.best_k_models = {"best.ckpt": current}
            checkpoint.kth_best_model_path, checkpoint.best_model_score = "best.ckpt", current
    return kept


def make(folder):
    return BestCheckpoint("validation_accuracy", "validation_loss", dirpath=folder)


def test_ties_are_broken_by_loss_and_a_lower_score_never_wins(tmp_path):
    epochs = [(0.5, 1.0), (0.5, 1.2), (0.5, 0.9), (0.25, 0.1), (0.75, 3.0), (0.5, 0.2), (0.75, 2.0)]
    assert follow(make(tmp_path), epochs) == [0, 2, 4, 6]


def test_a_resumed_run_remembers_the_loss(tmp_path):
    first = make(tmp_path)
    follow(first, [(0.5, 1.0)])
    second = make(tmp_path)
    second.load_state_dict(first.state_dict())
    assert follow(second, [(0.5, 1.1), (0.5, 0.9)]) == [1]


def test_a_run_keeps_the_later_of_equal_accuracies_while_the_loss_falls(tmp_path, tiny):
    for name in ("a", "b"):
        for number in range(3):
            write_noise(tmp_path / "set" / name / f"{number}.mp4", number + 10 * (name == "b"))
    recipe = tiny(
        epochs=4, data=videos(tmp_path / "set"), keep="best", early_stopping=None,
        optimiser={"learning_rate": 1e-5},
    )  # fmt: skip
    train(recipe, tmp_path / "run")
    rows = [r for r in read_metrics(tmp_path / "run" / "metrics.csv") if "validation_loss" in r]
    order = [(-row["validation_accuracy"], row["validation_loss"], row["epoch"]) for row in rows]
    assert len({accuracy for accuracy, _, _ in order}) < len(order)
    kept = torch.load(tmp_path / "run" / "best.ckpt", weights_only=True)
    assert kept["epoch"] == min(order)[2]
