import pytest

from co3d.datasets.layouts import open_dataset, open_evaluation_split
from co3d.datasets.layouts.found_videos import find_videos
from co3d.errors import DataError, OptionError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_classes_are_folders(tmp_path):
    touch(tmp_path, "swim/b.mp4", "run/a.mkv", "run/frames/1.jpg", "run/notes.txt", "run/.a.mp4")
    touch(tmp_path, "swim/thumb.jpg")
    manifest = open_dataset(tmp_path)
    assert manifest.class_names == ("run", "swim")
    assert [(e.video_id, e.path, e.labels) for e in manifest.entries] == [
        ("run/a", "run/a.mkv", (0,)),
        ("run/frames", "run/frames", (0,)),
        ("swim/b", "swim/b.mp4", (1,)),
    ]


def test_folders_of_one_class_may_be_spelt_otherwise(tmp_path, caplog):
    touch(tmp_path, "train/pan left/a.mp4", "val/pan_left/b.mp4", "val/zoom/c.mp4")
    manifest = open_dataset(tmp_path, split="all")
    assert manifest.class_names == ("pan left", "zoom")
    assert [entry.labels for entry in manifest.entries] == [(0,), (0,), (1,)]
    assert "'pan left' and 'pan_left' are taken as one class" in caplog.text


def test_splits_are_folders_too(tmp_path):
    touch(tmp_path, "train/run/a.mp4", "validation/run/b.mp4", "validation/swim/c.mp4")
    manifest = open_dataset(tmp_path, split="val", classes=["swim", "run"])
    assert [(e.path, e.labels) for e in manifest.entries] == [
        ("validation/run/b.mp4", (1,)),
        ("validation/swim/c.mp4", (0,)),
    ]
    with pytest.raises(DataError, match=r"the split 'test', expected one of train .*, val"):
        open_dataset(tmp_path, split="test")
    with pytest.raises(DataError, match=r"got train \(1 video\), val \(2 videos\)"):
        open_dataset(tmp_path)
    assert [e.split for e in open_dataset(tmp_path, split="all").entries] == ["train", "val", "val"]


def test_classes_are_numbered_alike_in_all_splits(tmp_path):
    touch(tmp_path, "train/run/a.mp4", "train/swim/a.mp4", "test/swim/b.mp4")
    assert open_dataset(tmp_path, split="test").entries[0].labels == (1,)


def test_a_class_may_be_called_train_but_folders_of_splits_are_no_classes(tmp_path):
    touch(tmp_path / "vehicles", "train/a.mp4", "car/b.mp4")
    assert open_dataset(tmp_path / "vehicles").class_names == ("car", "train")
    touch(tmp_path / "flat", "train/a.mp4", "test/b.mp4")
    with pytest.raises(DataError, match=r"got folders of splits \(test, train\) with videos"):
        open_dataset(tmp_path / "flat")


def test_the_evaluation_split_is_chosen(tmp_path):
    touch(tmp_path, "train/run/a.mp4", "val/run/b.mp4")
    assert open_evaluation_split(tmp_path)[0].splits == {"val": 1}
    touch(tmp_path, "test/run/c.mp4")
    evaluated, whole = open_evaluation_split(tmp_path)
    assert (evaluated.splits, whole.splits) == ({"test": 1}, {"test": 1, "train": 1, "val": 1})
    touch(tmp_path / "other", "train/run/a.mp4", "mine/run/a.mp4")
    with pytest.raises(DataError, match="name a split"):
        open_evaluation_split(tmp_path / "other")


def test_a_manifest_in_the_folder_is_read(tmp_path):
    touch(tmp_path, "train/run/a.mp4", "test/run/b.mp4")
    open_dataset(tmp_path, split="test").save(tmp_path / "manifest.jsonl")
    assert [entry.path for entry in open_dataset(tmp_path).entries] == ["test/run/b.mp4"]
    open_dataset(tmp_path).save(tmp_path / "again.jsonl")
    with pytest.raises(DataError, match="which manifest"):
        open_dataset(tmp_path)


def test_a_folder_of_another_class_is_refused(tmp_path):
    touch(tmp_path, "run/a.mp4")
    with pytest.raises(DataError, match=r"got a folder 'run', expected .* such as 'swim'"):
        open_dataset(tmp_path, classes=["swim"])


def test_cyclic_links_end(tmp_path):
    touch(tmp_path, "run/a.mp4")
    (tmp_path / "run" / "again").symlink_to(tmp_path)
    assert [video.path for video in find_videos(tmp_path)] == ["run/a.mp4"]


def test_a_manifest_takes_the_labels_of_a_network(tmp_path):
    (tmp_path / "list.csv").write_text("a.mp4,run\nb.mp4,swim\n")
    manifest = open_dataset(tmp_path / "list.csv", classes=["Swim", "_run_"])
    assert [entry.labels for entry in manifest.entries] == [(1,), (0,)]
    (tmp_path / "numbers.csv").write_text("a.mp4,1\nb.mp4,0\n")
    manifest = open_dataset(tmp_path / "numbers.csv", classes=["swim", "run", "fly"])
    assert [entry.labels for entry in manifest.entries] == [(1,), (0,)]
    with pytest.raises(DataError, match="a class 'run', expected one of 1"):
        open_dataset(tmp_path / "list.csv", classes=["fly"])
    with pytest.raises(OptionError, match="a set without splits"):
        open_dataset(tmp_path / "list.csv", split="val")


def test_unknown_layouts_and_splits_are_refused(tmp_path):
    with pytest.raises(OptionError, match="layout 'ucf'"):
        open_dataset(tmp_path, layout="ucf")
    with pytest.raises(OptionError, match="class names of 'ucf'"):
        open_dataset(tmp_path, classes="ucf")
    with pytest.raises(DataError, match="cannot find the data set"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match="expected folder/class/video"):
        open_dataset(tmp_path)


def test_cyclic_links_are_ignored(tmp_path):
    touch(tmp_path, "run/a.mp4", "swim/b.mp4")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "run" / "up").symlink_to(tmp_path)
    assert [video.path for video in find_videos(tmp_path)] == ["run/a.mp4", "swim/b.mp4"]
