"""Other arithmetic and other loggers: they take part, or what is amiss is said at the start."""

import sys

import pytest
import torch
from lightning.pytorch import loggers

from co3d import packages
from co3d.errors import MissingPackageError, RecipeError, TrainingError
from co3d.training.metrics_log import read_metrics
from co3d.training.run import train, try_out


def losses(folder):
    return [row["clip_loss"] for row in read_metrics(folder / "metrics.csv") if "clip_loss" in row]


@pytest.mark.slow
def test_a_compiled_network_trains_like_an_eager_one(tmp_path, tiny, monkeypatch):
    # Without the generation of code, which takes a minute.
    compiled, compile_ = [], torch.compile

    def trace_only(function):
        compiled.append(function)
        return compile_(function, backend="eager")

    with monkeypatch.context() as patch:
        patch.setattr("co3d.training.module.torch.compile", trace_only)
        train(tiny(compute={"compile": True}, data={"clip_lengths": [4]}), tmp_path / "compiled")
    train(tiny(data={"clip_lengths": [4]}), tmp_path / "plain")
    assert len(compiled) == 1
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), rel=1e-5)


def test_mixed_precision_rounds_and_learns(tmp_path, tiny):
    lengths = {"clip_lengths": [4, 6]}
    train(tiny(data=lengths, compute={"precision": "bf16-mixed"}), tmp_path / "mixed")
    train(tiny(data=lengths), tmp_path / "plain")
    mixed, plain = losses(tmp_path / "mixed"), losses(tmp_path / "plain")
    assert mixed != plain, "nothing was rounded"
    assert mixed == pytest.approx(plain, rel=0.1)


def test_mixed_precision_on_too_short_clips_is_refused(tmp_path, tiny):
    recipe = tiny(data={"clip_lengths": [2]}, compute={"precision": "bf16-mixed"})
    with pytest.raises(TrainingError, match="got clips of 2 frames, expected at least the 3"):
        train(recipe, tmp_path / "run")


def test_channels_last_only_changes_rounding(tmp_path, tiny):
    for channels_last in (True, False):
        recipe = tiny(epochs=1, compute={"channels_last": channels_last})
        train(recipe, tmp_path / str(channels_last))
    one, other = (losses(tmp_path / name) for name in ("True", "False"))
    assert one == pytest.approx(other, rel=1e-3)


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        ({"precision": "16-mixed"}, r"set compute\.precision=bf16-mixed"),
        ({"accelerator": "gpu"}, r"accelerator gpu.*compute\.accelerator=cpu"),
        ({"accelerator": "cqu"}, "invalid accelerator name"),
        ({"strategy": "dpp"}, "invalid strategy name"),
    ],
)
def test_settings_that_the_machine_cannot_run_are_refused_and_leave_nothing(
    tmp_path, tiny, compute, message, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(RecipeError, match=message):
        train(tiny(compute=compute), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(RecipeError, match=message):
        try_out(tiny(compute=compute))


def test_weights_and_biases_gets_the_metrics(tmp_path, tiny, monkeypatch):
    asked, logged = [], []

    class Recorder(loggers.CSVLogger):
        def __init__(self, **options):
            asked.append(options)
            super().__init__(options["save_dir"])

        def log_metrics(self, metrics, step=None):
            logged.extend(metrics)

    monkeypatch.setattr("co3d.training.run.require_package", lambda *_, **__: None)
    monkeypatch.setattr(loggers, "WandbLogger", Recorder)
    train(tiny(epochs=1, name="mine", logging={"wandb_project": "all"}), tmp_path / "run")
    assert asked == [{"name": "mine", "project": "all", "save_dir": tmp_path / "run"}]
    assert {"train_loss", "clip_accuracy", "learning_rate"} <= set(logged)


def test_a_logger_without_its_package_is_refused_before_the_run(tmp_path, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(packages, "is_installed", lambda name: name != "wandb")
    with pytest.raises(MissingPackageError, match=r"pip install 'co3d\[wandb\]'"):
        train(tiny(logging={"wandb_project": "all"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
