"""Training on videos: a tiny network learns sixteen of them, and bad data are named."""

import logging

import pytest

import co3d
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.errors import DataError, RecipeError, TrainingError
from co3d.models.camera_motion import CAMERA_MOTIONS
from co3d.models.labels import read_labels
from co3d.training.recipe_file import read_recipe
from co3d.training.run import train
from co3d.training.setup import set_up
from co3d.training.videos import hold_out
from support.miniature import make_charades
from support.noise_videos import videos, write_noise

CLASSES = ("one", "two", "three", "four")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for index, name in enumerate(CLASSES):
        for number in range(4):
            write_noise(root / "train" / name / f"{number}.mp4", 10 * index + number)
    return root


@pytest.mark.slow
def test_sixteen_clips_can_be_overfitted(tmp_path, tiny, folder):
    recipe = tiny(
        epochs=25,
        data=videos(folder, train_split="train", validation_split="train", clips_per_video=1),
        model={"dropout": 0.0},
        optimiser={"learning_rate": 4e-3, "weight_decay": 0.0},
        early_stopping=None,
    )
    result = train(recipe, tmp_path / "run")
    assert result.scores["validation_accuracy"] == 1.0
    model = co3d.create_model(str(tmp_path / "run"))
    assert model.card.labels == tuple(sorted(CLASSES))
    assert (model.card.crop_px, model.card.short_side_px) == (32, 32)
    assert (model.card.clip_frames, model.card.rate_hz) == (4, 8.0)


def test_a_nan_loss_names_the_videos(tmp_path, tiny, folder):
    recipe = tiny(
        data=videos(folder / "train", batch=2),
        optimiser={"kind": "sgd", "learning_rate": 1e30, "clip_norm": None},
        schedule={"kind": "constant", "warm_up": 0.0},
    )
    with pytest.raises(
        TrainingError, match=r"its clips are (one|two|three|four)/\d, \w+/\d; lower"
    ):
        train(recipe, tmp_path / "run")


def test_the_background_becomes_the_last_class(tmp_path, tiny, folder):
    for number in range(3):
        write_noise(tmp_path / f"{number}.mp4", 100 + number)
    setup = set_up(
        tiny(
            data=videos(folder / "train", background=str(tmp_path)),
            loss={"class_weights": "balanced"},
        )
    )
    assert setup.data.class_names == (*sorted(CLASSES), "background")
    assert setup.data.counts == (3, 3, 3, 3, 2)
    weights = setup.module.class_weights
    assert weights is not None
    assert float(weights[4] / weights[0]) == pytest.approx(1.5)
    assert len(setup.data.train) == 14
    assert len(setup.data.validation["validation"]) == 5


def test_streams_of_videos_can_be_trained(tmp_path, tiny, folder):
    form = {"kind": "stream", "chunk_frames": 5, "video_frames": 10, "streams": 2}
    recipe = tiny(
        epochs=1, data=videos(folder, train_split="train", validation_split="train"), form=form
    )
    assert train(recipe, tmp_path / "run").scores.keys() == {
        "validation_loss",
        "validation_accuracy",
    }


@pytest.mark.usefixtures("pictures")
def test_multi_label_videos_are_scored_by_mean_average_precision(tmp_path, tiny):
    make_charades(tmp_path / "set", videos=4, frames=48)
    data = videos(tmp_path / "set", layout="charades", batch=2, mixup=0.5, train_split="test")
    recipe = tiny(epochs=1, data=data, loss={"kind": "binary_cross_entropy"})
    result = train(recipe, tmp_path / "run")
    assert result.scores.keys() == {"validation_loss", "validation_map"}
    assert 0 <= result.scores["validation_map"] <= 1
    assert not (tmp_path / "run" / "confusion.png").exists()
    card = co3d.create_model(str(tmp_path / "run")).card
    assert card.activation == "sigmoid"
    assert card.labels == CAMERA_MOTIONS
    with pytest.raises(RecipeError, match=r"set loss\.kind=binary_cross_entropy"):
        set_up(tiny(data=data))


def test_published_recipes_find_their_splits_and_classes(tmp_path):
    names = read_labels("kinetics400")
    for split in ("train", "val"):
        for name in names[:2]:
            write_noise(tmp_path / split / name / f"{split}-{name}_000000_000001.mp4", 1)
    recipe = read_recipe("kinetics400_x3d_s", [f"data.path={tmp_path}", "compute.devices=1"])
    with pytest.raises(DataError, match="no training video shows answering questions"):
        set_up(recipe)


def test_mix_up_and_cut_mix_are_applied_in_training(tmp_path, tiny, folder):
    data = videos(folder / "train", mixup=0.8, cutmix=1.0)
    train(tiny(epochs=1, data=data), tmp_path / "run")


def test_held_out_videos_are_not_trained_on():
    entries = tuple(VideoEntry(str(i), f"{i}.mp4", (i % 2,)) for i in range(20))
    manifest = Manifest(".", ("a", "b"), entries)
    left, held = hold_out(manifest, 0.3, seed=1)
    ids = [{entry.video_id for entry in part.entries} for part in (left, held)]
    assert ids[0].isdisjoint(ids[1])
    assert len(ids[0]) == 14
    assert sum(entry.labels == (0,) for entry in held.entries) == 3
    assert hold_out(manifest, 0.3, seed=1)[1] == held
    assert hold_out(manifest, 0.3, seed=2)[1] != held


def test_invalid_data_are_reported_by_name(tmp_path, tiny):
    def open_with(**changes):
        set_up(tiny(data=videos(tmp_path / "set", **changes)))

    with pytest.raises(RecipeError, match=r"data\.path is not set"):
        set_up(tiny(data={**videos(""), "path": ""}))
    with pytest.raises(DataError, match="cannot find"):
        open_with()
    for name, count in (("full", 2), ("single", 1), ("hollow", 0)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(count):
            write_noise(tmp_path / "set" / name / f"{number}.mp4", number)
    with pytest.raises(DataError, match="no video in the class folders hollow"):
        open_with()
    (tmp_path / "set" / "hollow").rmdir()
    with pytest.raises(DataError, match="one video only of single"):
        open_with()
    write_noise(tmp_path / "set" / "single" / "1.mp4", 5)
    open_with()
    with pytest.raises(RecipeError, match=r"set loss\.kind=cross_entropy"):
        set_up(tiny(data=videos(tmp_path / "set"), loss={"kind": "binary_cross_entropy"}))
    listed = tmp_path / "set" / "list.jsonl"
    header = '{"format": "co3d manifest", "version": 1, "class_names": ["a", "b"]}\n'
    listed.write_text(header + '{"video_id": "x", "path": "full/0.mp4", "labels": [7]}\n')
    with pytest.raises(DataError, match="line 2: got 7, expected a class index from 0 to 1"):
        set_up(tiny(data=videos(listed)))
    listed.write_text(header + '{"video_id": "x", "path": "full/0.mp4", "labels": []}\n' * 1)
    with pytest.raises(DataError, match="no label is known of x"):
        set_up(tiny(data=videos(listed)))


def test_videos_that_cannot_be_read_are_left_out_and_named(tmp_path, tiny, caplog):
    for name in "ab":
        for number in range(3):
            write_noise(tmp_path / "set" / name / f"{number}.mp4", number)
    (tmp_path / "set" / "a" / "1.mp4").write_bytes(b"no video")
    data = videos(tmp_path / "set", train_split=None, batch=6, validation_share=0.2)
    with caplog.at_level(logging.WARNING, logger="co3d"):
        recipe = tiny(epochs=1, seed=1, data=data)
        setup = set_up(recipe)
        held = [e.video_id for e in setup.data.validation["validation"]._parts[0].manifest.entries]
        assert "a/1" not in held, "choose another seed"
        train(recipe, tmp_path / "run")
    assert "left out a/1" in caplog.text
    for path in (tmp_path / "set").rglob("*.mp4"):
        path.write_bytes(b"no video")
    with pytest.raises(DataError, match="no video of this batch can be read"):
        train(recipe, tmp_path / "other")
