import json
from pathlib import Path

import numpy as np
import pytest

from co3d.datasets.layouts import open_dataset, open_evaluation_split
from co3d.errors import DataError
from co3d.models.camera_motion import CAMERA_MOTIONS
from co3d.models.labels import read_labels
from support.miniature import make_kinetics, write_mp4

HEAD = "label,youtube_id,time_start,time_end,split"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


@pytest.mark.parametrize("as_frames", [False, True])
@pytest.mark.parametrize("underscores", [False, True])
def test_a_miniature_opens_with_every_listed_video(tmp_path, as_frames, underscores):
    kinds = ("valid", "short", "non-ascii")
    made = make_kinetics(
        tmp_path, kinds=kinds, per_class=3, as_frames=as_frames, underscores=underscores
    )
    manifest = open_dataset(tmp_path, split="validation", classes=CAMERA_MOTIONS)
    assert {entry.video_id: entry.labels for entry in manifest.entries} == made.labels
    there = {entry.video_id for entry in manifest.entries if manifest.resolve(entry).exists()}
    assert there == made.readable
    assert len(made.kinds) == 10
    assert all(
        manifest.resolve(entry).is_dir() == as_frames
        for entry in manifest.entries
        if entry.video_id in there
    )


def test_the_published_json_gives_the_same_as_the_csv(tmp_path):
    touch(tmp_path / "a" / "val" / "air_drumming" / "abc_000010_000020.mp4")
    touch(tmp_path / "b" / "val" / "air drumming" / "abc_000010_000020.mp4")
    write(tmp_path / "a" / "validate.csv", f"{HEAD},is_cc\nair drumming,abc,10,20,validate,0\n")
    video = {"annotations": {"label": "air drumming", "segment": [10.0, 20.0]}, "duration": 10.0,
             "subset": "validate", "url": "https://example.org/abc"}  # fmt: skip
    write(tmp_path / "b" / "annotations" / "kinetics_val.json", json.dumps({"abc": video}))
    first, second = (open_dataset(tmp_path / name, split="val") for name in "ab")
    assert first.class_names == second.class_names == read_labels("kinetics400")
    assert [entry.labels for entry in first.entries] == [(1,)]
    assert first.entries[0].path.replace("_drumming", " drumming") == second.entries[0].path
    assert first.entries[0].video_id == second.entries[0].video_id == "abc_000010_000020"


def test_a_list_in_two_formats_is_read_from_its_csv(tmp_path):
    touch(tmp_path / "val" / "abc_000010_000020.mp4")
    write(tmp_path / "validate.csv", f"{HEAD}\nair drumming,abc,10,20,val\n")
    write(tmp_path / "validate.json", '{"abc": {"annotations": {')
    assert len(open_dataset(tmp_path, split="val").entries) == 1


def test_the_classes_are_those_of_the_set_that_fits(tmp_path):
    touch(tmp_path / "val" / "abc_000010_000020.mp4")
    write(tmp_path / "val.csv", f"{HEAD}\nadjusting glasses,abc,10,20,val\n")
    assert open_dataset(tmp_path).class_names == read_labels("kinetics600")
    write(tmp_path / "val.csv", f"{HEAD}\nbeing excited,abc,10,20,val\n")
    assert open_dataset(tmp_path).class_names == read_labels("kinetics700")
    write(tmp_path / "val.csv", f"{HEAD}\nmy own,abc,10,20,val\n")
    assert open_dataset(tmp_path).class_names == ("my own",)
    with pytest.raises(DataError, match=r"line 2: got 'my own', expected one of 400 class names"):
        open_dataset(tmp_path, classes="kinetics400")


def test_the_path_tells_kinetics_600_from_its_subset(tmp_path):
    root = tmp_path / "kinetics600"
    touch(root / "val" / "abc_000010_000020.mp4")
    write(root / "val.csv", f"{HEAD}\nair drumming,abc,10,20,val\n")
    manifest = open_dataset(root)
    assert manifest.class_names == read_labels("kinetics600")
    assert manifest.class_names[manifest.entries[0].labels[0]] == "air drumming"


def test_a_list_of_several_splits_is_divided(tmp_path):
    for name in ("abc_000010_000020", "def_000001_000011"):
        touch(tmp_path / f"{name}.mp4")
    write(tmp_path / "all.csv", f"{HEAD}\ncleaning gutters,abc,10,20,train\n"
                                "cleaning gutters,def,1,11,validate\n")  # fmt: skip
    assert [e.video_id for e in open_dataset(tmp_path, split="val").entries] == [
        "def_000001_000011"
    ]
    assert len(open_dataset(tmp_path, split="all").entries) == 2
    with pytest.raises(DataError, match=r"got train \(1 video\), val \(1 video\), expected"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match="no video of the split 'test'"):
        open_dataset(tmp_path, split="test")


def test_several_lists_need_the_name_of_a_split(tmp_path):
    for split in ("train", "validate"):
        touch(tmp_path / split / f"{split}_000010_000020.mp4")
        write(tmp_path / f"{split}.csv", f"{HEAD}\nair drumming,{split},10,20,{split}\n")
    with pytest.raises(DataError, match=r"got train \(1 video\), val \(1 video\), .* name a split"):
        open_dataset(tmp_path)
    write(tmp_path / "more_train.csv", f"{HEAD}\nair drumming,train,10,20,train\n")
    with pytest.raises(
        DataError, match=r"more_train\.csv, train\.csv, validate\.csv, expected one"
    ):
        open_dataset(tmp_path, split="train")
    (tmp_path / "more_train.csv").unlink()
    assert open_dataset(tmp_path / "train.csv") == open_dataset(tmp_path, split="train")


def test_among_copies_the_one_in_its_split_and_class_is_used(tmp_path):
    for folder in ("train/abseiling", "val/abseiling", "val/air drumming"):
        touch(tmp_path / folder / "abc_000010_000020.mp4")
    write(tmp_path / "splits" / "val.csv", f"{HEAD}\nair drumming,abc,10,20,val\n")
    entry = open_dataset(tmp_path, split="val").entries[0]
    assert entry.path == "val/air drumming/abc_000010_000020.mp4"


def test_a_replacement_is_used_for_the_corrupt_original(tmp_path):
    for folder in ("train", "replacement/replacement_for_corrupted_k400"):
        touch(tmp_path / folder / "abc_000010_000020.mp4")
    write(tmp_path / "annotations" / "train.csv", f"{HEAD}\nair drumming,abc,10,20,train\n")
    path = "replacement/replacement_for_corrupted_k400/abc_000010_000020.mp4"
    assert open_dataset(tmp_path).entries[0].path == path


def test_networks_are_evaluated_on_val_and_never_on_an_unlabelled_test(tmp_path):
    for split, label in (("val", "air drumming"), ("test", "")):
        touch(tmp_path / split / f"{split}_000010_000020.mp4")
        write(tmp_path / f"{split}.csv", f"{HEAD}\n{label},{split},10,20,{split}\n")
    assert open_evaluation_split(tmp_path)[0].splits == {"val": 1}


def test_untrimmed_films_are_cut_and_clips_are_not(tmp_path):
    frames = np.zeros((64, 32, 32, 3), np.uint8)
    for name, count in (("whole", 64), ("clip", 16)):
        root = tmp_path / name
        write_mp4(root / "val" / "abc.mp4", frames[:count])
        write(root / "val.csv", f"{HEAD}\nair drumming,abc,2,3,val\n")
    cut = open_dataset(tmp_path / "whole").entries[0]
    assert (cut.start_seconds, cut.end_seconds) == (2.0, 3.0)
    clip = open_dataset(tmp_path / "clip").entries[0]
    assert (clip.start_seconds, clip.end_seconds) == (None, None)


def test_without_a_list_folders_are_classes(tmp_path):
    touch(tmp_path / "val" / "air_drumming" / "abc.mp4")
    manifest = open_dataset(tmp_path, layout="kinetics", split="val")
    assert manifest.class_names[manifest.entries[0].labels[0]] == "air drumming"
    assert len(manifest.class_names) == 400


def test_a_list_without_any_existing_video_is_refused(tmp_path):
    write(tmp_path / "val.csv", f"{HEAD}\nair drumming,abc,10,20,val\n")
    with pytest.raises(DataError, match=r"got none of 1, expected names such as abc_000010_000020"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("val.csv", "label,youtube_id\na,b\n", "line 1: .* expected a column time_start"),
        ("val.csv", f"{HEAD}\na,b\n", "line 2: .* expected 5 columns"),
        ("val.csv", f"{HEAD}\na,b,x,20,val\n", "line 2: .* two times"),
        ("val.csv", f"{HEAD}\na,b,nan,20,val\n", "line 2: .* a start from 0 on"),
        ("val.csv", f"{HEAD}\na,b,20,10,val\n", "line 2: .* a start from 0 on"),
        ("val.csv", f"{HEAD}\na,../../b,1,10,val\n", "line 2: .* without /"),
        ("val.csv", f"{HEAD}\n..,b,1,10,val\n", "line 2: .* relative path"),
        ("val.json", '{"a": {"annotations": 3}}', '"annotations" with'),
        ("val.json", '{"a": {"annotations": {"segment": 3}}}', "two times"),
        ("val.json", '{"a": {"annotations": {', "JSON"),
    ],
)
def test_broken_lists_are_named(tmp_path, name, text, said):
    write(tmp_path / name, text)
    with pytest.raises(DataError, match=said):
        open_dataset(tmp_path, layout="kinetics")


@pytest.mark.parametrize(
    ("folder", "classes"),
    [
        *(("pytest-600", 400), ("kinetics600", 600), ("K600_val", 600), ("kinetics-400", 400)),
        ("kinetics700_2020", 700),
    ],
)
def test_the_path_says_which_kinetics_where_it_names_one(tmp_path, folder, classes):
    touch(tmp_path / folder / "val" / "air_drumming" / "abc.mp4")
    manifest = open_dataset(tmp_path / folder, layout="kinetics", split="val")
    assert len(manifest.class_names) == classes
