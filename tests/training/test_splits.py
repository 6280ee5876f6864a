"""Splits that a data set has: what is trained on, what validates, and what is left alone."""

import dataclasses
import json
from pathlib import Path

import pytest

from co3d.cli.train import TrainOptions, run_training
from co3d.datasets.layouts import open_dataset
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.errors import DataError
from co3d.training.recipe import VideoData
from co3d.training.recipe_file import write_recipe
from co3d.training.videos import hold_out, open_parts
from support.noise_videos import videos, write_noise


def make(root, **counts):
    for split, count in counts.items():
        for name in ("run", "swim"):
            for number in range(count):
                path = root / split / name / f"{number}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"x")
    return root


def divide(path, **changes):
    parts = open_parts(VideoData(path=str(path), **changes), seed=0)
    sides = [[e.path for m in side for e in m.entries] for side in (parts.train, parts.validation)]
    return *sides, parts.division


def test_the_test_split_is_not_read(tmp_path):
    train, validation, said = divide(make(tmp_path, train=5, test=2))
    assert len(train) == 8
    assert len(validation) == 2
    assert all(path.startswith("train/") for path in train + validation)
    assert said == (
        "training on 8 videos of the split train, validating on 2 videos held out of these; left "
        "alone: test"
    )


def test_an_existing_validation_split_is_used(tmp_path):
    train, validation, said = divide(make(tmp_path, training=3, valid=2, test=1))
    assert {path.split("/")[0] for path in train} == {"training"}
    assert len(train) == 6
    assert {path.split("/")[0] for path in validation} == {"valid"}
    assert len(validation) == 4
    assert said.endswith("validating on 4 videos of the split val; left alone: test")


def test_named_splits_are_used(tmp_path):
    make(tmp_path, train=3, test=2)
    train, validation, _ = divide(tmp_path, validation_split="test")
    assert (len(train), len(validation)) == (6, 4)
    train, validation, said = divide(tmp_path, validation_split="testing")
    assert "left alone" not in said
    train, validation, _ = divide(tmp_path, train_split="all")
    assert {path.split("/")[0] for path in train} == {"train", "test"}
    assert len(train) + len(validation) == 10
    train, validation, _ = divide(tmp_path, train_split="test")
    assert {path.split("/")[0] for path in train + validation} == {"test"}


def test_without_a_training_split_training_is_refused(tmp_path):
    make(tmp_path, test=2, val=2)
    with pytest.raises(
        DataError, match=r"got test \(4 videos\), val \(4 videos\), expected .* train"
    ):
        divide(tmp_path)


def test_videos_are_not_held_out_of_mixed_splits(tmp_path):
    manifest = open_dataset(make(tmp_path, train=3, test=2), split="all")
    with pytest.raises(DataError, match="which split"):
        hold_out(manifest, 0.2, 0)
    plain = tuple(dataclasses.replace(entry, split=None) for entry in manifest.entries)
    assert len(hold_out(dataclasses.replace(manifest, entries=plain), 0.2, 0)[1].entries) == 2


def test_a_video_on_both_sides_is_refused(tmp_path):
    make(tmp_path, videos=2)
    rows = ["videos/run/0.mp4,run,train", "videos/swim/0.mp4,swim,train"]
    rows += ["videos/run/1.mp4,run,val", "videos/swim/0.mp4,swim,val"]
    (tmp_path / "all.csv").write_text("\n".join(["path,label,split", *rows]))
    with pytest.raises(DataError, match=r"got 1 videos .* \(videos/swim/0\.mp4#2\)"):
        divide(tmp_path)


def test_sources_on_both_sides_of_given_splits_are_said(tmp_path, caplog):
    rows = ["path,label,split,group", "a.mp4,run,train,x", "b.mp4,swim,train,y"]
    rows += ["c.mp4,run,val,x", "d.mp4,swim,val,z"]
    (tmp_path / "all.csv").write_text("\n".join(rows))
    divide(tmp_path / "all.csv")
    assert (
        "1 video to validate on: cut from the same source as some to train on (c.mp4)"
        in caplog.text
    )


def test_a_single_class_is_refused(tmp_path, tiny):
    from co3d.training.setup import set_up

    for number in range(3):
        write_noise(tmp_path / "clips" / f"{number}.mp4", number)
    with pytest.raises(DataError, match="got one class, clips, expected two"):
        set_up(tiny(data=videos(tmp_path)))


def test_the_held_out_videos_are_printed_and_saved(tmp_path, tiny, capsys):
    for name in ("a", "b"):
        for number in range(2):
            write_noise(tmp_path / "set" / "train" / name / f"{number}.mp4", number)
        write_noise(tmp_path / "set" / "test" / name / "0.mp4", 7)
    recipe = tiny(epochs=1, data=videos(tmp_path / "set"))
    write_recipe(recipe, tmp_path / "recipe.yaml")
    options = TrainOptions(
        str(tmp_path / "recipe.yaml"), [], tmp_path / "run", resume=False, fast_dev_run=False,
        find_learning_rate=False, as_json=False,
    )  # fmt: skip
    assert run_training(options) == 0
    said = capsys.readouterr().err
    assert "Training on 2 videos of the split train, validating on 2 videos held out" in said
    assert "left alone: test" in said
    versions = json.loads((tmp_path / "run" / "versions.json").read_text())
    assert versions["division"].startswith("training on 2 videos of the split train")
    assert versions["training_videos_per_class"] == {"a": 1, "b": 1}


def hold(paths, labels=None, share=0.3):
    entries = tuple(
        VideoEntry(f"{index}", path, (label,), start_seconds=float(index))
        for index, (path, label) in enumerate(zip(paths, labels or [0] * len(paths), strict=True))
    )
    manifest = Manifest(Path("set"), ("run", "swim"), entries)
    train, held = hold_out(manifest, share, seed=0)
    assert {e.video_id for e in train.entries} | {e.video_id for e in held.entries} == {
        e.video_id for e in entries
    }
    return [e.path for e in train.entries], [e.path for e in held.entries]


@pytest.mark.parametrize(
    ("paths", "cut"),
    [
        ([f"{video}.mp4" for video in "aaabbbccc"], slice(None)),
        ([f"{11 * v}_{n:06}_{n + 10:06}.mp4" for v in "abc" for n in range(3)], slice(11)),
        ([f"run/v_Run_g0{g}_c0{n}.avi" for g in range(3) for n in range(3)], slice(13)),
        ([f"run/{s}_run_f_cm_np1_ba_med_{n}.avi" for s in "abc" for n in range(3)], slice(5)),
    ],
)
def test_clips_of_one_source_video_stay_together(paths, cut):
    train, held = hold(paths)
    assert len(train) == 6
    assert len(held) == 3
    assert not {path[cut] for path in train} & {path[cut] for path in held}


def test_a_list_may_say_what_was_cut_from_one_video(tmp_path):
    rows = [f"{name}.mp4,run,{name[0]}" for name in ("a1", "a2", "b1", "b2", "c1", "c2")]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,group", *rows]))
    manifest = open_dataset(tmp_path / "list.csv")
    manifest.save(tmp_path / "manifest.jsonl")
    assert open_dataset(tmp_path / "manifest.jsonl").entries == manifest.entries
    train, held = ({e.path[0] for e in part.entries} for part in hold_out(manifest, 0.3, seed=0))
    assert (len(train), len(held)) == (2, 1)
    assert not train & held


def test_a_class_of_one_source_video_cannot_be_held_out():
    with pytest.raises(DataError, match=r"one video only of swim .* stay together"):
        hold(["a.mp4", "b.mp4", "c.mp4", "c.mp4"], [0, 0, 1, 1])


def test_a_source_video_of_two_classes_is_held_out_in_both_or_neither():
    paths = ["a.mp4", "a.mp4", "b.mp4", "b.mp4", "c.mp4", "c.mp4"]
    train, held = hold(paths, [0, 1, 0, 1, 0, 1])
    assert not set(train) & set(held)
    assert len(held) == 2
