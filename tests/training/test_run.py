"""Runs: what they leave, how they resume, and how they fail."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import load_file

import co3d
from co3d.datasets.generated.camera_motion import CameraMotionClips
from co3d.engine import open_labeller
from co3d.errors import OutputError, TrainingError
from co3d.models.camera_motion import CAMERA_MOTIONS
from co3d.training import run as run_module
from co3d.training.batches import Key
from co3d.training.metrics_log import read_metrics
from co3d.training.module import ClipTraining
from co3d.training.recipe_file import read_recipe, write_recipe
from co3d.training.run import train, try_out
from co3d.training.stream_module import StreamTraining

TIMES = {"clips_per_second", "waiting_share"}


def losses(folder):
    rows = read_metrics(folder / "metrics.csv")
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def stop_at(monkeypatch, batch):
    """Let a signal come while a batch is drawn."""
    draw, drawn = CameraMotionClips.draw, []

    def draw_and_stop(self, seed):
        drawn.append(seed)
        if len(drawn) == batch:
            signal.raise_signal(signal.SIGINT)
        return draw(self, seed)

    monkeypatch.setattr(CameraMotionClips, "draw", draw_and_stop)


@pytest.mark.usefixtures("pictures")
def test_a_run_writes_all_its_files_and_a_model_that_streams(tmp_path, tiny):
    folder = tmp_path / "run"
    recipe = tiny(logging={"tensorboard": True}, keep="last")
    result = train(recipe, folder)
    assert read_recipe(folder / "recipe.yaml") == recipe
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("recipe.yaml", "versions.json", "metrics.csv", "results.json"),
        *("curves.png", "confusion.png", "best.ckpt", "last.ckpt"),
        *("model.safetensors", "card.json", "tensorboard"),
    }
    assert any((folder / "tensorboard").iterdir())
    assert json.loads((folder / "versions.json").read_text())["torch"] == torch.__version__
    results = json.loads((folder / "results.json").read_text())
    assert results["scores"] == result.scores
    assert np.sum(results["confusion"]) == 4
    assert results["scores"]["clip_loss"] == pytest.approx(losses(folder)[-1]["clip_loss"])
    labeller = open_labeller(str(folder), backend="torch")
    assert labeller.labels == CAMERA_MOTIONS
    weights = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    assert weights.keys() == {f"net.{key}" for key in labeller.model.state_dict()}
    assert torch.equal(labeller.model.get_parameter("stem.0.weight"), weights["net.stem.0.weight"])


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": {"kind": "one_cycle"}, "ema_decay": 0.5},
        pytest.param(
            {"optimiser": {"kind": "sgd", "accumulate": 2}, "schedule": {"kind": "multi_step"}},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {
                "form": {"kind": "stream", "chunk_frames": 4, "video_frames": 20, "streams": 1},
                "data": {"steps_per_epoch": 10, "validation_clips": 20},
            },
            marks=pytest.mark.slow,
        ),
    ],
    ids=["one_cycle and EMA", "sgd and accumulation", "stream"],
)
def test_a_resumed_run_has_the_same_losses_as_an_uninterrupted_one(
    tmp_path, tiny, monkeypatch, changes
):
    recipe = tiny(epochs=3, **changes)
    whole = train(recipe, tmp_path / "whole")
    assert not whole.was_stopped
    if recipe.form.kind == "stream":
        stop_in_streams(monkeypatch)
    else:
        stop_at(monkeypatch, batch=5)
    stopped = train(recipe, tmp_path / "stopped")
    assert stopped.was_stopped
    assert stopped.epochs == 1
    assert losses(tmp_path / "stopped") != losses(tmp_path / "whole")
    assert (tmp_path / "stopped" / "model.safetensors").exists(), "outputs so far are missing"
    monkeypatch.undo()
    train(recipe, tmp_path / "stopped", resume=True)
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    got, expected = (
        load_file(tmp_path / name / "model.safetensors") for name in ("stopped", "whole")
    )
    assert all(torch.equal(got[key], tensor) for key, tensor in expected.items())


def stop_in_streams(monkeypatch):
    from co3d.training import generated

    draw, drawn = generated.draw_streams, []

    def draw_and_stop(*arguments):
        drawn.append(arguments)
        if len(drawn) == 4:  # the first is for validation, and two make an epoch
            signal.raise_signal(signal.SIGINT)
        return draw(*arguments)

    monkeypatch.setattr(generated, "draw_streams", draw_and_stop)


def test_the_moving_average_follows_its_formula(tmp_path, tiny, monkeypatch):
    decay, seen = 0.7, []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, module, *_):
            seen.append(module.net.stem[0].weight.detach().numpy().copy())

    make = run_module.make_trainer

    def make_watched(*arguments):
        trainer = make(*arguments)
        trainer.callbacks.insert(0, Watch())
        return trainer

    monkeypatch.setattr(run_module, "make_trainer", make_watched)
    train(tiny(ema_decay=decay, keep="last"), tmp_path / "run")
    average = seen[0]
    for weight in seen[1:]:
        average = decay * average + (1 - decay) * weight
    kept = load_file(tmp_path / "run" / "model.safetensors")["stem.0.weight"]
    np.testing.assert_allclose(kept, average, rtol=1e-5, atol=1e-7)
    assert np.abs(average - seen[-1]).max() > 1e-5, "the average is the last weight"


def test_early_stopping_ends_a_run_that_stops_improving(tmp_path, tiny):
    recipe = tiny(epochs=9, early_stopping=1, optimiser={"learning_rate": 1e-12})
    assert train(recipe, tmp_path / "run").epochs == 2


def test_a_fast_dev_run_writes_nothing(tmp_path, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try_out(tiny())
    assert not list(tmp_path.iterdir())


def test_a_nan_loss_names_the_batch_and_keeps_the_last_epoch(tmp_path, tiny, monkeypatch):
    draw, drawn = CameraMotionClips.draw, []

    def draw_nan(self, seed):
        drawn.append(seed)
        batch = draw(self, seed)
        return type(batch)(batch.clips * (float("nan") if len(drawn) == 5 else 1), batch.labels)

    monkeypatch.setattr(CameraMotionClips, "draw", draw_nan)
    with pytest.raises(TrainingError, match="loss of batch 1 in epoch 1 is nan"):
        train(tiny(), tmp_path / "run")
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 0
    assert all(t.isfinite().all() for t in checkpoint["state_dict"].values())
    assert len(losses(tmp_path / "run")) == 1


STREAM = {"form": {"kind": "stream", "chunk_frames": 4, "video_frames": 4, "streams": 3}}


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly: is killed by signal"),
    ],
    ids=["GPU", "CPU", "worker"],
)
@pytest.mark.parametrize(
    ("changes", "setting"),
    [({}, r"data\.frames_per_batch \(now 8\)"), (STREAM, r"form\.streams \(now 3\)")],
    ids=["clips", "streams"],
)
def test_running_out_of_memory_names_the_setting_to_change(
    tmp_path, tiny, monkeypatch, error, changes, setting
):
    def refuse(*_):
        raise error

    monkeypatch.setattr(ClipTraining, "training_step", refuse)
    monkeypatch.setattr(StreamTraining, "training_step", refuse)
    with pytest.raises(TrainingError, match=f"memory does not suffice; lower {setting}"):
        train(tiny(**changes), tmp_path / "run")


def test_a_full_disk_is_reported(tmp_path, tiny, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ModelCheckpoint, "_save_checkpoint", refuse)
    with pytest.raises(OutputError, match="the disk is full"):
        train(tiny(), tmp_path / "run")


def test_folders_with_other_content_are_refused(tmp_path, tiny):
    folder = tmp_path / "run"
    with pytest.raises(TrainingError, match=r"has neither recipe.yaml nor last.ckpt"):
        train(tiny(), folder, resume=True)
    folder.mkdir()
    (folder / "mine.txt").write_text("precious")
    with pytest.raises(OutputError, match="not empty"):
        train(tiny(), folder)
    (folder / "mine.txt").unlink()
    train(tiny(epochs=1), folder)
    with pytest.raises(TrainingError, match="other values for seed"):
        train(tiny(epochs=1, seed=1), folder, resume=True)


def test_a_run_killed_in_its_first_epoch_starts_over(tmp_path, tiny, monkeypatch):
    recipe, folder, said = tiny(epochs=1), tmp_path / "run", []
    with monkeypatch.context() as patch:
        patch.setattr(ClipTraining, "training_step", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(recipe, folder)
    assert (folder / "recipe.yaml").exists()
    with pytest.raises(OutputError, match="add --resume"):
        train(recipe, folder)
    result = train(recipe, folder, resume=True, say=said.append)
    assert result.epochs == 1
    assert "no epoch was finished" in said[-1]
    # What is finished is not trained over, though its checkpoints are gone.
    (folder / "last.ckpt").unlink()
    (folder / "best.ckpt").unlink(missing_ok=True)
    with pytest.raises(TrainingError, match="cannot resume"):
        train(recipe, folder, resume=True)


def test_a_folder_with_an_active_run_is_refused(tmp_path, tiny, monkeypatch):
    def train_there_too(*_):
        train(tiny(epochs=1), tmp_path / "run", resume=True)

    monkeypatch.setattr(ClipTraining, "training_step", train_there_too)
    with pytest.raises(OutputError, match="another run is at work"):
        train(tiny(epochs=1), tmp_path / "run")


def test_training_can_start_from_an_earlier_run(tmp_path, tiny):
    train(tiny(epochs=1), tmp_path / "first")
    second = tiny(
        epochs=1,
        model={"name": str(tmp_path / "first"), "weights": None},
        optimiser={"learning_rate": 1e-12},
    )
    train(second, tmp_path / "second")
    one, two = (co3d.create_model(str(tmp_path / name)) for name in ("first", "second"))
    torch.testing.assert_close(one.stem[0].weight, two.stem[0].weight)


def test_settled_form_also_validates_on_long_clips(tmp_path, tiny):
    recipe = tiny(epochs=1, form={"kind": "settled"}, data={"clip_lengths": [16]})
    assert train(recipe, tmp_path / "run").scores.keys() == {
        *("clip_loss", "clip_accuracy", "settled_loss", "settled_accuracy")
    }


def test_seeds_of_samples_repeat_within_an_epoch_and_differ_between_epochs():
    from co3d.training.batches import EpochSampler

    sampler = EpochSampler(5, seed=3, shuffle=True)
    first, again = list(sampler), list(sampler)
    sampler.set_epoch(1)
    other = list(sampler)
    assert first == again
    assert sorted(key.index for key in first) == [0, 1, 2, 3, 4]
    assert {key.seed for key in first}.isdisjoint(key.seed for key in other)
    fixed = EpochSampler(2, seed=3, shuffle=False)
    before = list(fixed)
    fixed.set_epoch(4)
    assert list(fixed) == before
    assert all(isinstance(key, Key) for key in before)


@pytest.mark.slow
def test_a_killed_run_resumes_with_the_same_results(tmp_path, tiny):
    recipe = tiny(epochs=4, data={"steps_per_epoch": 20})
    write_recipe(recipe, tmp_path / "recipe.yaml")
    command = [sys.executable, "-m", "co3d", "train", tmp_path / "recipe.yaml", "--output"]
    environment = {**os.environ, "PYTHONPATH": str(Path(co3d.__file__).parents[1])}
    killed = subprocess.Popen([*command, tmp_path / "killed"], env=environment)
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL, "it had ended before it was killed"
    again = [*command, tmp_path / "killed", "--resume"]
    subprocess.run(again, env=environment, check=True, timeout=300)
    subprocess.run([*command, tmp_path / "whole"], env=environment, check=True, timeout=300)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
