"""Checkpoints of a run: a kill or a full disk in the middle of one leaves the one before."""

import logging
import resource
import shutil
import tempfile

import pytest
import torch

from co3d.errors import OutputError, TrainingError
from co3d.training.metrics_log import read_metrics
from co3d.training.recipe_file import write_recipe
from co3d.training.resuming import find_resume_point
from co3d.training.run import train
from co3d.training.run_folder import RunFolder
from co3d.training.whole_checkpoints import WholeCheckpoints

BEFORE = {
    "epoch": 1,
    "global_step": 6,
    "state_dict": {"w": torch.arange(3.0)},
    "optimizer_states": [{}],
    "lr_schedulers": [],
    "loops": {},
    "callbacks": {"a": (None, 1.5)},
}


class Killed(BaseException):
    """In place of SIGKILL: what the file system holds at that moment is looked at."""


def save(checkpoint, path):
    WholeCheckpoints().save_checkpoint(checkpoint, path)


def test_checkpoints_survive_a_round_trip(tmp_path):
    save(BEFORE, tmp_path / "last.ckpt")
    got = WholeCheckpoints().load_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(got.pop("state_dict")["w"], BEFORE["state_dict"]["w"])
    assert got == {key: value for key, value in BEFORE.items() if key != "state_dict"}


def test_writing_a_checkpoint_keeps_the_previous_one_and_leaves_no_other_file(
    tmp_path, monkeypatch
):
    run = RunFolder(tmp_path / "run")
    save(BEFORE, run.last)
    elsewhere = tmp_path / "temporary"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))

    def write_half(_checkpoint, file):
        file.write(b"PK\x03\x04half")
        file.flush()
        # What a kill at this moment leaves.
        shutil.copytree(run.path, tmp_path / "killed")
        assert not any(elsewhere.iterdir())
        raise Killed

    monkeypatch.setattr(torch, "save", write_half)
    with pytest.raises(Killed):
        save({**BEFORE, "epoch": 2}, run.last)
    killed = RunFolder(tmp_path / "killed")
    assert len(list(killed.path.iterdir())) == 2
    killed.remove_partial()
    assert [path.name for path in killed.path.iterdir()] == ["last.ckpt"]
    assert find_resume_point(killed).epochs == 2


def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path):
    run = RunFolder(tmp_path)
    save(BEFORE, run.last)
    before = run.last.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*last\.ckpt: .* with --resume"):
            save({**BEFORE, "more": torch.zeros(100_000)}, run.last)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert run.last.read_bytes() == before
    assert list(run.path.iterdir()) == [run.last]


def test_a_run_resumes_from_the_best_checkpoint_if_the_last_is_damaged(tmp_path, caplog):
    run = RunFolder(tmp_path)
    save(BEFORE, run.best)
    save({**BEFORE, "epoch": 4}, run.last)
    assert find_resume_point(run).path == run.last
    run.last.write_bytes(run.last.read_bytes()[:500])
    with caplog.at_level(logging.WARNING, logger="co3d"):
        point = find_resume_point(run)
    assert (point.path, point.epochs, point.steps) == (run.best, 2, 6)
    assert "going on from best.ckpt, after epoch 2" in caplog.text
    run.best.write_bytes(b"")
    with pytest.raises(TrainingError, match=r"cannot resume .*last\.ckpt.* and .*best\.ckpt"):
        find_resume_point(run)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {**BEFORE, "epoch": "one"},
        {**BEFORE, "epoch": -1},
        {**BEFORE, "loops": "x"},
        {"epoch": 1, "global_step": 3, "state_dict": {}},
        [1, 2],
    ],
)
def test_a_foreign_checkpoint_cannot_be_resumed(tmp_path, content):
    run = RunFolder(tmp_path)
    torch.save(content, run.last)
    with pytest.raises(TrainingError, match="cannot resume"):
        find_resume_point(run)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, tiny):
    """The recipe of two epochs, and a folder in which one was run."""
    folder = tmp_path_factory.mktemp("runs") / "stopped"
    train(tiny(epochs=1, keep="last"), folder)
    recipe = tiny(epochs=2, keep="last")
    write_recipe(recipe, folder / "recipe.yaml")
    return recipe, folder


FOREIGN = {
    "empty loops": lambda c: c["loops"].update(fit_loop={}),
    "another optimiser": lambda c: c.update(optimizer_states=[{"state": {}, "param_groups": []}]),
    "sizes of the optimiser": lambda c: c["optimizer_states"][0]["state"][0].update(
        exp_avg=torch.zeros(7)
    ),
    "another network": lambda c: c.update(state_dict={"w": torch.zeros(3)}),
    "callbacks of numbers": lambda c: c.update(callbacks=dict.fromkeys(c["callbacks"], 3)),
    "steps of text": lambda c: c["loops"]["fit_loop"]["epoch_loop.batch_progress"].update(
        total="x"
    ),
    "no version": lambda c: c.pop("pytorch-lightning_version"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_checkpoint_that_does_not_match_the_run_is_refused_by_name(case, stopped):
    recipe, folder = stopped
    run = RunFolder(folder)
    before = run.last.read_bytes()
    checkpoint = torch.load(run.last, weights_only=True)
    FOREIGN[case](checkpoint)
    torch.save(checkpoint, run.last)
    with pytest.raises(TrainingError, match=r"cannot resume from .*last\.ckpt: it does not fit"):
        train(recipe, folder, resume=True)
    run.last.write_bytes(before)


BROKEN = {
    "cut": lambda text: text[:-9],
    "other columns": lambda text: "a,b\n1,2\n",
    "no numbers": lambda text: text.replace("0.", "x."),
    "too few": lambda text: text + "1\n",
    "too many": lambda text: text + "1" + ",1" * 100 + "\n",
    "steps without end": lambda text: "step\ninf\n",
    "many columns": lambda text: "step" + ",a" * 5000 + "\n" + "1\n" * 5000,
    "zeros": lambda text: "\0" * 100,
    "no text": lambda text: b"\xff\xfe\0",
    "a huge field": lambda text: "step\n" + "1" * 200_000 + "\n",
}


@pytest.mark.parametrize("case", BROKEN)
def test_metrics_of_another_program_are_refused_by_name(case, stopped, tmp_path):
    text = BROKEN[case]((stopped[1] / "metrics.csv").read_text())
    path = tmp_path / "metrics.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TrainingError, match=r"cannot read .*metrics\.csv: .* remove the file"):
        read_metrics(path)
