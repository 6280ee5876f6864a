"""Searches: they find the better setting, go on where they were stopped, and end what is hopeless.

Where what a network learns does not matter, a stand-in for a run answers at once.
"""

import json
import signal

import pytest

import co3d
from co3d.errors import OptionError, OutputError, TrainingError
from co3d.training import tune as tune_module
from co3d.training.recipe_file import read_recipe
from co3d.training.run import Result
from co3d.training.tune import tune

RATES = {"optimiser.learning_rate": "log:1e-4..1e-1"}


class FakeTrainer:
    def __init__(self):
        self.current_epoch, self.should_stop, self.callback_metrics = 0, False, {}


@pytest.fixture
def runs(monkeypatch):
    """Runs that end at once: the score is best at a rate of 0.01; a list of what was asked."""
    asked = []

    def fake_train(recipe, folder, *, resume, callbacks):
        asked.append((recipe, folder.name, resume))
        rate = recipe.optimiser.learning_rate
        if rate > 0.08:
            raise TrainingError("cannot go on: the loss is nan")
        folder.mkdir()
        score = 1 - abs(rate - 0.01)
        trainer, module = FakeTrainer(), object.__new__(tune_module.ClipTraining)
        for epoch in range(recipe.epochs):
            trainer.current_epoch, trainer.callback_metrics = epoch, {"clip_accuracy": score}
            callbacks[0].on_validation_end(trainer, module)
            if trainer.should_stop:
                break
        for name in ("recipe.yaml", "model.safetensors", "card.json"):
            (folder / name).write_text(f"{name} at {rate}")
        return Result(folder, {"clip_accuracy": score}, epoch, False, "clip_accuracy")

    monkeypatch.setattr(tune_module.ClipTraining, "monitored", "clip_accuracy")
    monkeypatch.setattr(tune_module, "train", fake_train)
    monkeypatch.setattr(tune_module, "draw_search", lambda trials, path: None)
    return asked


def test_the_best_of_real_trials_can_be_streamed(tmp_path, tiny):
    recipe = tiny(epochs=1, search=RATES)
    seen = []
    found = tune(recipe, tmp_path / "study", trials=2, report=seen.append)
    assert seen == found.trials
    assert [trial["state"] for trial in found.trials] == ["complete", "complete"]
    assert found.best["score"] == max(trial["score"] for trial in found.trials)
    folder = tmp_path / "study"
    stored = json.loads((folder / "study.json").read_text())
    assert stored == {"search": RATES, "best": found.best, "trials": found.trials}
    assert (folder / "history.png").stat().st_size > 5000
    assert read_recipe(folder / "recipe.yaml") == recipe
    best = read_recipe(folder / "best.yaml")
    assert best.optimiser.learning_rate == found.best["settings"]["optimiser.learning_rate"]
    got, expected = (co3d.create_model(str(p)) for p in (folder, folder / found.best["folder"]))
    assert got.stem[0].weight.equal(expected.stem[0].weight)


def test_a_search_comes_near_the_best_and_survives_failures(tmp_path, tiny, runs):
    space = {"optimiser.learning_rate": "1e-3..1e-1"}
    found = tune(tiny(epochs=1, search=space), tmp_path / "study", trials=16, pruner="none")
    assert len(found.trials) == len(runs) == 16
    assert found.best["settings"]["optimiser.learning_rate"] == pytest.approx(0.01, abs=0.004)
    failed = [trial for trial in found.trials if trial["state"] == "failed"]
    assert failed
    assert all("loss is nan" in trial["reason"] for trial in failed)
    rates = [recipe.optimiser.learning_rate for recipe, _, _ in runs]
    tune(tiny(epochs=1, search=space), tmp_path / "again", trials=4, pruner="none")
    assert [recipe.optimiser.learning_rate for recipe, _, _ in runs[16:]] == rates[:4]
    kept = (tmp_path / "study" / "model.safetensors").read_text()
    assert kept == f"model.safetensors at {found.best['settings']['optimiser.learning_rate']}"


def test_unpromising_trials_end_early(tmp_path, tiny, runs):
    search = {"optimiser.learning_rate": [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07]}
    found = tune(tiny(epochs=4, search=search), tmp_path / "study", trials=12)
    states = [trial["state"] for trial in found.trials]
    assert "pruned" in states
    assert states[:5] == ["complete"] * 5, "the first ones have nothing to be compared with"
    assert found.best["state"] == "complete"


def test_a_stopped_trial_resumes_in_its_folder(tmp_path, tiny, monkeypatch):
    recipe = tiny(epochs=2, search=RATES)
    train, asked = tune_module.train, []

    class StopInSecondEpoch(tune_module.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                signal.raise_signal(signal.SIGINT)

    def train_and_stop(recipe, folder, *, resume, callbacks):
        asked.append((recipe, folder.name, resume))
        extra = [] if len(asked) > 1 else [StopInSecondEpoch()]
        return train(recipe, folder, resume=resume, callbacks=[*callbacks, *extra])

    monkeypatch.setattr(tune_module, "train", train_and_stop)
    stopped = tune(recipe, tmp_path / "study", trials=1)
    assert stopped.was_stopped
    assert (stopped.trials, stopped.best) == ([], None)
    found = tune(recipe, tmp_path / "study", trials=1, resume=True)
    assert [(folder, resume) for _, folder, resume in asked] == [
        *(("trial-000", False), ("trial-000", True))
    ]
    assert asked[0][0] == asked[1][0]
    assert [trial["folder"] for trial in found.trials] == ["trial-000"]
    assert len(tune(recipe, tmp_path / "study", trials=1, resume=True).trials) == len(asked) - 1


def test_impossible_searches_are_refused_with_a_reason(tmp_path, tiny, runs):
    with pytest.raises(TrainingError, match=r"neither recipe.yaml nor study.log"):
        tune(tiny(search=RATES), tmp_path / "study", trials=1, resume=True)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "mine.txt").touch()
    with pytest.raises(OutputError, match="not empty"):
        tune(tiny(search=RATES), tmp_path / "study", trials=1)
    with pytest.raises(OptionError, match=r"compute\.devices=1"):
        tune(tiny(search=RATES, compute={"devices": 2}), tmp_path / "two", trials=1)
    with pytest.raises(TrainingError, match=r"no trial was finished.*loss is nan"):
        tune(tiny(search={"optimiser.learning_rate": [0.09]}), tmp_path / "bad", trials=2)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: ["x\n"],
        lambda lines: ["[" * 100_000 + "\n"],
        lambda lines: ['{"op_code": 99, "worker_id": "x"}\n'],
        lambda lines: ["3\n"],
        lambda lines: [line.replace("datetime", "x") for line in lines],
    ],
)
def test_a_journal_of_another_search_is_refused(tmp_path, tiny, runs, change):
    recipe = tiny(search=RATES)
    tune(recipe, tmp_path / "study", trials=1)
    path = tmp_path / "study" / "study.log"
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
    with pytest.raises(TrainingError, match=r"cannot resume .*: its study\.log is damaged"):
        tune(recipe, tmp_path / "study", trials=1, resume=True)
