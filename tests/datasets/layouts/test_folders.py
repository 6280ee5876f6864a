import pytest

from co3d.datasets.layouts import open_dataset
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


def test_splits_are_folders_too(tmp_path):
    touch(tmp_path, "train/run/a.mp4", "validation/run/b.mp4", "validation/swim/c.mp4")
    manifest = open_dataset(tmp_path, split="val", classes=["swim", "run"])
    assert [(e.path, e.labels) for e in manifest.entries] == [
        ("validation/run/b.mp4", (1,)),
        ("validation/swim/c.mp4", (0,)),
    ]
    with pytest.raises(DataError, match="a split 'test'"):
        open_dataset(tmp_path, split="test")


def test_a_folder_of_another_class_is_refused(tmp_path):
    touch(tmp_path, "run/a.mp4")
    with pytest.raises(DataError, match=r"got a folder 'run', expected .* such as 'swim'"):
        open_dataset(tmp_path, classes=["swim"])


def test_links_in_circles_end(tmp_path):
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
    with pytest.raises(OptionError, match="a manifest is one split"):
        open_dataset(tmp_path / "list.csv", split="val")


def test_unknown_words(tmp_path):
    with pytest.raises(OptionError, match="layout 'ucf'"):
        open_dataset(tmp_path, layout="ucf")
    with pytest.raises(OptionError, match="class names of 'ucf'"):
        open_dataset(tmp_path, classes="ucf")
    with pytest.raises(DataError, match="cannot find the data set"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match="expected folder/class/video"):
        open_dataset(tmp_path)
