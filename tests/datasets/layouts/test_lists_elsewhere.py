"""Published lists whose videos lie in another folder, and class names for their indices."""

import pytest

from co3d.datasets.layouts import open_dataset, open_evaluation_split
from co3d.errors import DataError, OptionError
from support.listed_files import touch, write


def read(path, **options):
    manifest = open_dataset(path, **options)
    return manifest.root, [(entry.path, entry.labels) for entry in manifest.entries]


@pytest.mark.parametrize(
    "lines",
    [
        # PySlowFast and TimeSformer: paths from PATH_PREFIX on, or absolute
        ["run/a.mp4 0", "swim/b.mp4 1"],
        ["/gone/k400/run/a.mp4 0", "/gone/k400/swim/b.mp4 1"],
        ["/gone/k400/run/a.mp4,0", "/gone/k400/swim/b.mp4,1"],  # VideoMAE
    ],
)
def test_paths_start_from_the_root_that_is_named(tmp_path, lines):
    root = tmp_path / "disk" / "videos"
    touch(root, "run/a.mp4", "swim/b.mp4")
    found = [("run/a.mp4", (0,)), ("swim/b.mp4", (1,))]
    assert read(write(tmp_path / "lists" / "val.csv", *lines), root=root) == (root, found)


def test_a_folder_of_lists_has_their_splits(tmp_path):
    touch(tmp_path / "videos", "a.mp4", "b.mp4")
    write(tmp_path / "lists" / "train.csv", "/gone/clips/a.mp4 0")
    write(tmp_path / "lists" / "test.csv", "/gone/clips/b.mp4 1")
    evaluated, whole = open_evaluation_split(tmp_path / "lists", root=tmp_path / "videos")
    assert [entry.path for entry in evaluated.entries] == ["b.mp4"]
    assert whole.splits == {"test": 1, "train": 1}


def test_frame_folders_of_mmaction2_start_from_the_data_prefix(tmp_path):
    touch(tmp_path / "rawframes", *(f"run/a/img_{i:05}.jpg" for i in range(1, 4)))
    lists = write(tmp_path / "train_rawframes.txt", "run/a 3 0")
    assert read(lists, root=tmp_path / "rawframes")[1] == [("run/a", (0,))]


def test_two_listed_videos_never_match_one_file(tmp_path):
    touch(tmp_path / "videos", "1.mp4")
    listed = write(tmp_path / "list.csv", "/gone/run/1.mp4 0", "/gone/swim/1.mp4 1")
    with pytest.raises(DataError, match=r"line 2: .* another video than .*1\.mp4, which /gone/run"):
        open_dataset(listed, root=tmp_path / "videos")
    touch(tmp_path / "classes", "swim/1.mp4")  # of another class: not the one that is meant
    one = write(tmp_path / "one.csv", "/gone/run/1.mp4 0")
    manifest = open_dataset(one, root=tmp_path / "classes")
    assert not manifest.resolve(manifest.entries[0]).exists()


def test_published_lists_of_kinetics_lie_apart(tmp_path):
    touch(tmp_path / "videos", "archery/abcdefghijk_000001_000011.mp4")
    write(
        tmp_path / "lists" / "val.csv",
        "label,youtube_id,time_start,time_end,split",
        "archery,abcdefghijk,1,11,val",
    )
    root, found = read(tmp_path / "lists", root=tmp_path / "videos")
    assert root == tmp_path / "videos"
    assert found == [("archery/abcdefghijk_000001_000011.mp4", (5,))]


def test_a_root_without_lists_is_no_data_set(tmp_path):
    touch(tmp_path, "videos/run/a.mp4", "lists/readme.md")
    with pytest.raises(DataError, match="no annotation file"):
        open_dataset(tmp_path / "lists", root=tmp_path / "videos")
    with pytest.raises(OptionError, match="no folder"):
        open_dataset(tmp_path / "lists", root=tmp_path / "videos" / "run" / "a.mp4")


def test_indices_get_names_and_names_the_networks_order(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    listed = write(tmp_path / "list.csv", "a.mp4 0", "b.mp4 1")
    manifest = open_dataset(listed, labels=["swim", "run"])
    assert manifest.class_names == ("swim", "run")
    manifest = open_dataset(listed, labels=["swim", "run"], classes=["fly", "Run", "swim"])
    assert [entry.labels for entry in manifest.entries] == [(2,), (1,)]
    with pytest.raises(DataError, match="got 1 names and an index 1"):
        open_dataset(listed, labels=["swim"])
    named = write(tmp_path / "named.csv", "a.mp4,run", "b.mp4,swim")
    with pytest.raises(OptionError, match="whose classes have names"):
        open_dataset(named, labels=["swim", "run"])


def test_fewer_classes_than_the_networks_give_a_warning(tmp_path, caplog):
    touch(tmp_path, "a.mp4")
    listed = write(tmp_path / "list.csv", "a.mp4 0")
    open_dataset(listed, classes=["fly", "run"])
    assert "indices 0 to 0 are taken as those of the network's 2" in caplog.text
    caplog.clear()
    open_dataset(listed, classes=["fly"])
    assert not caplog.text


def test_a_part_of_the_classes_is_taken(tmp_path):
    touch(tmp_path, "fly/a.mp4", "run/b.mp4", "swim/c.mp4")
    manifest = open_dataset(tmp_path, only=["swim", "Run"])
    assert manifest.class_names == ("swim", "run")
    assert [(e.path, e.labels) for e in manifest.entries] == [
        ("run/b.mp4", (1,)),
        ("swim/c.mp4", (0,)),
    ]
    manifest = open_dataset(tmp_path, only=["swim"], classes=["swim", "jump"])
    assert [(e.path, e.labels) for e in manifest.entries] == [("swim/c.mp4", (0,))]
    with pytest.raises(DataError, match=r"no class jump, expected .* 3 classes, such as 'fly'"):
        open_dataset(tmp_path, only=["swim", "jump"])
    with pytest.raises(DataError, match="a class twice"):
        open_dataset(tmp_path, only=["swim", "Swim"])
    with pytest.raises(DataError, match="a class 'run', expected one of 1"):
        open_dataset(tmp_path, only=["swim", "run"], classes=["swim"])


def test_a_part_of_several_labels_keeps_every_video(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    write(tmp_path / "list.csv", "path,labels", '"a.mp4","run,swim"', '"b.mp4","fly"')
    manifest = open_dataset(tmp_path, only=["swim"])
    assert manifest.multi_label
    assert [entry.labels for entry in manifest.entries] == [(0,), ()]
