import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from co3d.datasets.layouts import lists, open_dataset, open_evaluation_split
from co3d.datasets.layouts.list_rows import read_rows
from co3d.errors import DataError
from support.listed_files import touch, write
from support.miniature import write_mp4, write_pictures


def read(path):
    manifest = open_dataset(path)
    return manifest.class_names, [(entry.path, entry.labels) for entry in manifest.entries]


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (["run/a.mp4,run", "swim/b.mp4,swim"], ("run", "swim")),
        (["video path,label", '"run/a.mp4",run', "swim/b.mp4,swim"], ("run", "swim")),
        (["run/a.mp4 0", "swim/b.mp4 1"], ("0", "1")),
        (["run/a.mp4,0", "", "swim/b.mp4,1"], ("0", "1")),
        (["run/a.mp4\t0", "swim/b.mp4\t1"], ("0", "1")),
        (["label,path", "0,run/a.mp4", "1,swim/b.mp4"], ("0", "1")),
        (["run,run/a.mp4", "swim,swim/b.mp4"], ("run", "swim")),
        (["0 run/a.mp4", "1 swim/b.mp4"], ("0", "1")),
        (['"run/a.mp4",0', '"swim/b.mp4",1'], ("0", "1")),
        (["id,file_name,label", "7,run/a.mp4,run", "8,swim/b.mp4,swim"], ("run", "swim")),
        (["path,class_id,class name", "run/a.mp4,5,run", "swim/b.mp4,2,swim"], ("run", "swim")),
        (['{"file_name": "run/a.mp4", "label": 0}', '{"file_name": "swim/b.mp4", "label": 1}'],
         ("0", "1")),
        (['[{"id": 1, "path": "run/a.mp4", "label": "run"},',
          '{"path": "swim/b.mp4", "label": "swim"}]'], ("run", "swim")),
    ],
)  # fmt: skip
def test_lists_of_paths_and_labels(tmp_path, lines, names):
    manifest = open_dataset(write(tmp_path / "list.csv", *lines))
    assert manifest.class_names == names
    assert manifest.root == tmp_path
    assert not manifest.multi_label
    assert [(entry.path, entry.labels) for entry in manifest.entries] == [
        ("run/a.mp4", (0,)),
        ("swim/b.mp4", (1,)),
    ]


def test_names_of_files_may_hold_commas_and_spaces(tmp_path):
    path = write(tmp_path / "list.txt", "a/x.mp4 0", "a/b, c.mp4 1", "a/d e.mp4 2")
    assert read(path)[1] == [("a/x.mp4", (0,)), ("a/b, c.mp4", (1,)), ("a/d e.mp4", (2,))]
    path = write(tmp_path / "list.txt", "a/b, c.mp4 1", "a/d, e.mp4 0")
    assert read(path)[1] == [("a/b, c.mp4", (1,)), ("a/d, e.mp4", (0,))]


def test_minus_one_is_no_label(tmp_path):
    path = write(tmp_path / "list.txt", "x.mp4 -1", "y.mp4 3", "z.mp4 0")
    assert read(path) == (
        ("0", "1", "2", "3"),
        [("x.mp4", ()), ("y.mp4", (3,)), ("z.mp4", (0,))],
    )


def test_several_labels_of_a_video(tmp_path):
    manifest = open_dataset(write(tmp_path / "list.txt", "x.mp4 0 3", "y.mp4 1", "z.mp4 2 1 0"))
    assert manifest.multi_label
    assert [entry.labels for entry in manifest.entries] == [(0, 3), (1,), (0, 1, 2)]
    manifest = open_dataset(write(tmp_path / "list.csv", "file,labels", "x.mp4,run|swim", "y.mp4,"))
    assert manifest.multi_label
    assert [entry.labels for entry in manifest.entries] == [(0, 1), ()]


def test_indices_beside_names_order_them(tmp_path):
    rows = ["video_path,label_idx,label_name", "x.mp4,2,run", "y.mp4,0,swim", "z.mp4,1,jump"]
    rows[0] = rows[0].replace("label_name", "class")
    assert read(write(tmp_path / "list.csv", *rows))[0] == ("swim", "jump", "run")
    for row in ("w.mp4,1,swim", "w.mp4,0,jump", "w.mp4,x,jump"):
        with pytest.raises(DataError, match="line 5"):
            read(write(tmp_path / "list.csv", *rows, row))


def test_spellings_of_one_class_are_one(tmp_path, caplog):
    path = write(tmp_path / "list.csv", "x.mp4,pan left", "y.mp4,Pan_left", "z.mp4,zoom")
    assert read(path) == (
        ("Pan_left", "zoom"),
        [("x.mp4", (0,)), ("y.mp4", (0,)), ("z.mp4", (1,))],
    )
    assert "'Pan_left' and 'pan left' are taken as one class" in caplog.text


def test_folders_of_frames_may_stand_behind_their_labels(tmp_path):
    path = write(tmp_path / "list.txt", "0 run/a", "1 swim/b")
    assert read(path) == (("0", "1"), [("run/a", (0,)), ("swim/b", (1,))])


def test_numbers_of_frames_are_no_labels(tmp_path):
    frames = np.zeros((6, 16, 16, 3), np.uint8)
    write_pictures(tmp_path / "frames", frames)
    path = write(tmp_path / "rawframes.txt", "frames 6 3", "absent 9 1")
    assert read(path)[1] == [("frames", (3,)), ("absent", (1,))]
    write_mp4(tmp_path / "a.mp4", frames)
    write_mp4(tmp_path / "b.mp4", frames)
    path = write(tmp_path / "videos.txt", "a.mp4 6 1", "b.mp4 6 0")
    assert read(path)[1] == [("a.mp4", (1,)), ("b.mp4", (0,))]
    assert not open_dataset(path).multi_label
    path = write(tmp_path / "labels.txt", "a.mp4 6 1", "b.mp4 2 0")
    assert open_dataset(path).multi_label
    with pytest.raises(DataError, match="line 1: got 60, expected the number of pictures"):
        read(write(tmp_path / "rawframes.txt", "frames 60 3"))


def test_absolute_paths_are_taken_as_they_are(tmp_path):
    touch(tmp_path / "videos", "run/a.mp4", "swim/b.mp4")
    lines = [f"{tmp_path}/videos/run/a.mp4 0", f"{tmp_path}/videos/swim/b.mp4 1"]
    manifest = open_dataset(write(tmp_path / "lists" / "train.csv", *lines))
    assert manifest.root == tmp_path / "videos"
    assert [(e.path, e.labels) for e in manifest.entries] == [
        ("run/a.mp4", (0,)),
        ("swim/b.mp4", (1,)),
    ]
    manifest = open_dataset(write(tmp_path / "videos" / "train.csv", "/nfs/k400/run/a.mp4 0"))
    assert manifest.resolve(manifest.entries[0]) == tmp_path / "videos" / "run" / "a.mp4"


def test_paths_may_start_from_another_folder_of_the_set(tmp_path):
    touch(tmp_path, "videos_train/run/a.mp4", "videos_val/run/a.mp4")
    write(tmp_path / "annotations" / "train.txt", "run/a.mp4 0")
    write(tmp_path / "annotations" / "val.txt", "run/a.mp4 0")
    for split in ("train", "val"):
        entries = open_dataset(tmp_path, split=split).entries
        assert [entry.path for entry in entries] == [f"videos_{split}/run/a.mp4"]
    assert open_dataset(tmp_path / "annotations" / "val.txt").root == tmp_path


def test_a_split_may_be_absent_as_a_whole(tmp_path):
    touch(tmp_path, "videos_train/a.mp4")
    write(tmp_path / "train.txt", "a.mp4 0")
    write(tmp_path / "val.txt", "b.mp4 1")
    write(tmp_path / "requirements.txt", "numpy 1")
    assert open_dataset(tmp_path, split="all").splits == {"train": 1, "val": 1}
    with pytest.raises(DataError, match="which split"):  # an evaluation needs videos
        open_evaluation_split(tmp_path)


def test_another_video_of_the_same_name_is_not_taken(tmp_path):
    touch(tmp_path, "run/a.mp4", "swim/a.mp4")
    entries = open_dataset(write(tmp_path / "list.txt", "walk/a.mp4 0", "run/a.mp4 1")).entries
    assert [entry.path for entry in entries] == ["walk/a.mp4", "run/a.mp4"]
    with pytest.raises(DataError, match=r"line 2: got 'a', expected a path that tells"):
        open_dataset(write(tmp_path / "list.csv", "id,label", "a,0"))


def test_metadata_beside_videos_is_read(tmp_path):
    touch(tmp_path, "train/a.mp4", "train/b.mp4", "test/a.mp4")
    write(tmp_path / "train" / "metadata.csv", "file_name,label", "a.mp4,arm", "b.mp4,pan")
    write(tmp_path / "test" / "metadata.jsonl", json.dumps({"file_name": "a.mp4", "label": "pan"}))
    manifest = open_dataset(tmp_path, split="all")
    assert manifest.class_names == ("arm", "pan")
    assert [(e.path, e.labels, e.split) for e in manifest.entries] == [
        ("test/a.mp4", (1,), "test"),
        ("train/a.mp4", (0,), "train"),
        ("train/b.mp4", (1,), "train"),
    ]


def test_splits_stand_in_columns_and_folders(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4", "train/c.mp4", "test/d.mp4")
    path = write(tmp_path / "x.csv", "path,label,subset", "a.mp4,run,training", "b.mp4,run,test")
    assert [e.split for e in open_dataset(path, split="all").entries] == ["train", "test"]
    path = write(tmp_path / "x.csv", "path,label", "train/c.mp4,run", "test/d.mp4,run")
    assert [e.split for e in open_dataset(path, split="all").entries] == ["train", "test"]


def test_seconds_of_a_part(tmp_path):
    head = "path,label,start_seconds,end_seconds"
    entry = open_dataset(write(tmp_path / "x.csv", head, "a.mp4,run,1.5,4")).entries[0]
    assert (entry.start_seconds, entry.end_seconds) == (1.5, 4.0)


def test_a_video_listed_twice_keeps_both_lines(tmp_path):
    path = write(tmp_path / "list.csv", "a.mp4,run", "a.mp4#2,run", "a.mp4,swim", "a.mp4,run")
    entries = open_dataset(path).entries
    assert [entry.path for entry in entries] == ["a.mp4", "a.mp4#2", "a.mp4", "a.mp4"]
    assert len({entry.video_id for entry in entries}) == 4


@pytest.mark.parametrize(
    ("lines", "line", "expected"),
    [
        (["a.mp4,run", "b.mp4,run,more"], 2, "path,label"),
        (["a.mp4,0", "b.mp4,1000000"], 2, "class index below"),
        (["a.mp4,0", "b.mp4,99999999999999999999999"], 2, "class index below"),
        (["a.mp4,0", "b.mp4,-2"], 2, "-1 for an unknown label"),
        (["a.mp4 0 -1"], 1, "without -1"),
        (["a.mp4 0 1 0 1"], 1, "no column of 0 and 1 for each class"),
        (["a.mp4 0 1", "b.mp4 1 0"], 1, "as of a column for each class"),
        (["path,label,label_id", "a.mp4,run," + "9" * 400], 2, "a class index below"),
        (["a.mp4,run", "../b.mp4,run"], 2, "relative path"),
        (["/a/../b.mp4,run"], 1, "relative path"),
        (["a.mp4,run", '"b.mp4,run'], 2, "CSV"),
        (["a.mp4,run", "b.mp4,1"], 2, "a class name, as in other lines"),
        (["a.mp4 1", "b.mp4 2", "c.mp4 3"], 1, "class indices from 0 on"),
        (["frames 0 1"], 1, "a folder of frames"),
        (["clip_file,gesture", "a.mp4,run", "b.mp4,swim"], 1, "headings such as path,label"),
        (['{"file_name": "a.mp4", "label": {"id": 1}}'], 1, "strings, numbers or lists"),
        (["path,label", "a.mp4"], 2, "2 columns"),
        (["path,label", ",run"], 2, "a path in the column"),
        (["path,size", "a.mp4,3"], 1, "one of labels"),
        (["path,label,action", "a.mp4,run,fast"], 1, "one of labels"),
        (["path,label,start_frame", "a.mp4,run,3"], 1, "start_seconds"),
        (["path,label,start_seconds", "a.mp4,run,soon"], 2, "number of seconds"),
        (['{"file_name": "a.mp4"}'], 1, "one of labels"),
        (['{"file_name": "a.mp4", "label": 1}', "b.mp4"], 2, "a JSON object on one line"),
        (['[{"file_name": "a.mp4", "label": 1}, 3]'], 1, "a JSON object for each video"),
        (['[{"file_name": "a.mp4"'], 1, "JSON"),
    ],
)
def test_a_broken_list_names_its_line(tmp_path, lines, line, expected):
    with pytest.raises(DataError, match=f"line {line}: got .* expected ") as info:
        open_dataset(write(tmp_path / "list", *lines))
    assert expected in str(info.value)
    assert len(str(info.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("actions.csv", "video_id,verb,start_frame\nP01_01,take,3\nP01_02,put,9\n",
         "expected headings with one column of paths"),
        ("boxes.json", '{"P01_01": [1, 2], "P01_02": [3, 4]}', "expected headings"),
        ("notes.txt", "P01_01.mp4 was filmed on Monday\nP01_02.mp4 on Tuesday\n", "other paths"),
    ],
)  # fmt: skip
def test_annotations_that_are_not_understood_are_refused(tmp_path, name, text, reason):
    touch(tmp_path, "P01/P01_01.mp4", "P01/P01_02.mp4")
    write(tmp_path / name, text)
    with pytest.raises(DataError, match=f"got {name}, which names them .*{reason}"):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path, layout="folders").class_names == ("P01",)


def test_a_broken_list_of_a_split_is_refused(tmp_path):
    touch(tmp_path, *(f"videos/{name}.mp4" for name in "abcdef"))
    write(tmp_path / "train.txt", *(f"videos/{name}.mp4 0" for name in "abcd"))
    write(tmp_path / "lengths.csv", *(f"videos/{name}.mp4" for name in "abcdef"))
    assert open_dataset(tmp_path).splits == {"train": 4}
    write(tmp_path / "val.txt", "videos/e.mp4 1", "videos/f.mp4")
    with pytest.raises(DataError, match=r"got val\.txt, .* line 2: got 'videos/f\.mp4'"):
        open_dataset(tmp_path)


def test_texts_that_do_not_name_the_videos_are_ignored(tmp_path):
    touch(tmp_path, "run/1.mp4", "swim/2.mp4")
    write(tmp_path / "README.txt", "version 1 and 2 of the set, license: mine")
    write(tmp_path / "run" / "1.json", '{"1.mp4": "of this video alone"}')
    assert open_dataset(tmp_path).class_names == ("run", "swim")


def test_several_lists_of_one_split_are_not_mixed(tmp_path):
    touch(tmp_path, "run/a.mp4", "swim/b.mp4")
    for number in (1, 2):
        write(tmp_path / "lists" / f"trainlist0{number}.txt", "run/a.mp4 0", "swim/b.mp4 1")
    with pytest.raises(DataError, match=r"trainlist01\.txt, .*trainlist02\.txt, expected one"):
        open_dataset(tmp_path)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_load_or_raise_a_data_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    for content in (
        data,
        b"path,label\n" + data,
        b'{"path": "a.mp4", "label": 1}\n' + data,
        b"[" + data,
    ):
        path.write_bytes(content)
        try:
            open_dataset(path)
        except DataError as error:
            assert "expected" in str(error)  # noqa: PT017


def test_a_list_is_read_once(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(lists, "read_rows", lambda path: asked.append(path) or read_rows(path))
    touch(tmp_path, "run/a.mp4", "swim/b.mp4")
    path = write(tmp_path / "train.csv", "run/a.mp4,run", "swim/b.mp4,swim")
    assert len(open_dataset(tmp_path).entries) == 2
    assert asked == [path]
