"""EPIC-Kitchens-100, THUMOS14 and TVSeries, in the exact form of their published lists."""

import pytest

from co3d.datasets.layouts import open_dataset, open_evaluation_split
from co3d.datasets.manifest import Segment
from co3d.errors import DataError

HEADING = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
    "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
)
TRAIN = f"""{HEADING}
P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,3,door,3,['door'],[3]
P01_01_1,P01,P01_01,00:00:02.629,00:00:04.37,00:01:06.17,262,370,"take plate, slowly",take,0,plate,\
2,"['plate', 'cup']","[2, 13]"
"""
VALIDATION = f"""{HEADING}
P01_11_0,P01,P01_11,00:00:00.560,00:00:00.00,01:00:01.89,1,113,take plate,take,0,plate,2,\
['plate'],[2]
"""
TEST = """narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,\
start_frame,stop_frame
P01_101_0,P01,P01_101,00:00:02.851,00:00:02.86,00:00:03.87,143,193
"""


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


@pytest.fixture
def epic(tmp_path):
    lists = tmp_path / "annotations"
    write(lists / "EPIC_100_train.csv", TRAIN)
    write(lists / "EPIC_100_validation.csv", VALIDATION)
    write(lists / "EPIC_100_test_timestamps.csv", TEST)
    # Files of other tasks.
    write(lists / "UDA_annotations" / "EPIC_100_uda_source_train.csv", TRAIN)
    for video in ("P01_01", "P01_11"):
        write(tmp_path / "P01" / "videos" / f"{video}.MP4", "x")
    return tmp_path


def test_epic_kitchens(epic):
    manifest = open_dataset(epic, split="all")
    assert len(manifest.class_names) == 97
    found = {e.video_id: e for e in manifest.entries}
    assert {name: (e.path, e.labels, e.split) for name, e in found.items()} == {
        "P01_01_0": ("P01/videos/P01_01.MP4", (3,), "train"),
        "P01_01_1": ("P01/videos/P01_01.MP4", (0,), "train"),
        "P01_11_0": ("P01/videos/P01_11.MP4", (0,), "val"),
        "P01_101_0": ("P01_101.MP4", (), "test"),
    }
    times = [(found[name].start_seconds, found[name].end_seconds) for name in sorted(found)]
    assert times == [(0.14, 3.37), (4.37, 66.17), (2.86, 3.87), (0.0, 3601.89)]
    assert open_evaluation_split(epic)[0].splits == {"val": 1}  # labels of the test are unknown


def test_epic_kitchens_by_nouns_with_names(epic):
    rows = "".join(f"{index},noun{index},\"['a', 'b']\",food\n" for index in range(300))
    write(epic / "annotations" / "EPIC_100_noun_classes.csv", "id,key,instances,category\n" + rows)
    manifest = open_dataset(epic, layout="epic-nouns", split="train")
    assert [manifest.class_names[e.labels[0]] for e in manifest.entries] == ["noun3", "noun2"]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("00:00:03.37", "3.37", "a time such as"),
        ("00:00:03.37", "00:00:00.00", "a time after 00:00:00.14"),
        ("open,3,", "open,97,", "from 0 to 96"),
        (",door,3,['door'],[3]", "", "15 values"),
        ("start_timestamp", "begin", "a column start_timestamp"),
    ],
)
def test_broken_lists_of_epic_kitchens_are_named(epic, old, new, complaint):
    write(epic / "annotations" / "EPIC_100_train.csv", TRAIN.replace(old, new, 1))
    with pytest.raises(DataError, match=complaint):
        open_dataset(epic, split="train")


@pytest.fixture
def thumos(tmp_path):
    val, test = (tmp_path / folder / "annotation" for folder in ("TH14_val", "TH14_test"))
    write(
        val / "BaseballPitch_val.txt",
        "video_validation_0000266  72.8 76.4\nvideo_validation_0000681  44.0 50.9\n",
    )
    write(val / "Diving_val.txt", "video_validation_0000681  10.5 12\n")
    write(val / "Ambiguous_val.txt", "video_validation_0000991 43.0 50.9\n")
    write(test / "Diving_test.txt", "video_test_0000004  0.2 1.1\n")
    write(tmp_path / "validation" / "video_validation_0000681.mp4", "x")
    return tmp_path


def test_thumos14(thumos):
    manifest = open_dataset(thumos, split="all")
    assert manifest.multi_label
    assert manifest.class_names == ("BaseballPitch", "Diving")
    assert [(e.video_id, e.path, e.labels, e.split) for e in manifest.entries] == [
        ("video_test_0000004", "video_test_0000004.mp4", (1,), "test"),
        ("video_validation_0000266", "video_validation_0000266.mp4", (0,), "val"),
        (
            "video_validation_0000681",
            "validation/video_validation_0000681.mp4",
            (0, 1),
            "val",
        ),
    ]
    assert manifest.entries[2].segments == (Segment(1, 10.5, 12.0), Segment(0, 44.0, 50.9))
    assert len(open_dataset(thumos, split="test").entries) == 1


@pytest.mark.parametrize("row", ["video_test_4 0 1", "video_test_0000004 1.5 1.0"])
def test_broken_lists_of_thumos14_are_named(thumos, row):
    path = thumos / "TH14_test" / "annotation" / "Diving_test.txt"
    write(path, f"video_test_0000004 0.2 1.1\n{row}\n")
    with pytest.raises(DataError, match="line 2"):
        open_dataset(thumos, split="test")


FLAGS = "1\t0\t0\t1\t0\t1\t0\t0\t0\t0\t0\t0"


def write_series(root, *, train, test="24_ep2\tDrink\t3\t4.5\t" + FLAGS + "\n"):
    write(root / "splits" / "GT-train.txt", train)
    write(root / "splits" / "GT-test.txt", test)
    write(root / "videos" / "24_ep1.mkv", "x")
    return root


def test_tvseries(tmp_path):
    train = f"24_ep1\tPoint\t10.2\t11\t{FLAGS}\tbehind a car\n24_ep1\tFall/trip\t1\t2.25\t{FLAGS}\n"
    write_series(tmp_path, train=train)
    manifest = open_dataset(tmp_path, split="all")
    assert manifest.multi_label
    assert manifest.class_names == ("Drink", "Fall/trip", "Point")
    first, second = manifest.entries
    assert (first.video_id, first.path, first.split) == ("24_ep1", "videos/24_ep1.mkv", "train")
    assert first.segments == (Segment(1, 1.0, 2.25), Segment(2, 10.2, 11.0))
    assert (second.path, second.labels, second.split) == ("24_ep2.mp4", (0,), "test")
    write(tmp_path / "splits" / "classes.txt", "Point\nDrink\nFall/trip\nEat\n")
    assert open_dataset(tmp_path, split="train").entries[0].labels == (0, 2)
    write(tmp_path / "splits" / "classes.txt", "Point\nDrink\n")
    with pytest.raises(DataError, match=r"line 2: got 'Fall/trip', expected one of the 2 classes"):
        open_dataset(tmp_path, split="train")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("24_ep1\tPoint\t5", "an episode, a class"),
        ("24_ep1\tPoint\t5\t4", "an end after the start"),
        ("24_ep1\tPoint\t00:05\t6", "a time in seconds"),
        ("24_ep1\tPoint\tnan\t6", "a time in seconds"),
        ("24_ep2\tPoint\t5\t6", "a video of the split"),
    ],
)
def test_broken_lists_of_tvseries(tmp_path, line, said):
    heading = "episode\tclass\tstart\tend\n"
    write_series(tmp_path, train=f"{heading}24_ep1\tDrink\t1\t2\n{line}\n")
    with pytest.raises(DataError, match=said):
        open_dataset(tmp_path, split="all")
