"""UCF101 and HMDB51, in the exact form of their official lists."""

import pytest

from co3d.datasets.layouts import open_dataset, open_evaluation_split
from co3d.errors import DataError, OptionError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def ucf(tmp_path):
    lists = tmp_path / "ucfTrainTestlist"
    write(lists / "classInd.txt", "1 Archery", "2 Biking")
    for number in (1, 2):
        kept = f"g0{number}"
        train, test = [], []
        for index, name in enumerate(("Archery", "Biking"), 1):
            for group in ("g01", "g02", "g03"):
                video = f"{name}/v_{name}_{group}_c01.avi"
                touch(tmp_path / "UCF-101" / video)
                (test if group == kept else train).append(
                    video if group == kept else f"{video} {index}"
                )
        write(lists / f"trainlist0{number}.txt", *train)
        write(lists / f"testlist0{number}.txt", *test)
    return tmp_path


def test_ucf101(ucf):
    assert open_dataset(ucf, split="all").splits == {"test": 2, "train": 4}
    manifest = open_evaluation_split(ucf)[0]
    assert manifest.class_names == ("Archery", "Biking")
    assert [(e.path, e.labels, e.split) for e in manifest.entries] == [
        ("UCF-101/Archery/v_Archery_g01_c01.avi", (0,), "test"),
        ("UCF-101/Biking/v_Biking_g01_c01.avi", (1,), "test"),
    ]
    second = open_dataset(ucf, split="test2")
    assert [entry.path[-11:] for entry in second.entries] == ["g02_c01.avi"] * 2
    assert len(open_dataset(ucf, split="train2").entries) == 4
    listed = open_dataset(ucf / "ucfTrainTestlist" / "testlist02.txt")
    assert [entry.path for entry in listed.entries] == [entry.path for entry in second.entries]
    with pytest.raises(OptionError, match="got division 4, expected 1 to 3"):
        open_dataset(ucf, split="test4")
    with pytest.raises(DataError, match="no list of division 3"):
        open_dataset(ucf, split="test3")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("trainlist01.txt", "Archery/a.avi 2", "line 1: .* the class's number"),
        ("trainlist01.txt", "Golf/a.avi 1", "line 1: .* CLASS/VIDEO"),
        ("testlist01.txt", "Archery/../a.avi", "line 1: .* relative path"),
        ("classInd.txt", "0 Archery", "line 1: .* 1 and the name of a class"),
    ],
)
def test_broken_lists_of_ucf101_are_named(ucf, name, text, said):
    write(ucf / "ucfTrainTestlist" / name, text)
    with pytest.raises(DataError, match=said):
        open_dataset(ucf, split="all")


def test_hmdb51(tmp_path):
    for name in ("brush_hair", "cartwheel"):
        for number in range(4):
            touch(tmp_path / "hmdb51_org" / name / f"{number}_{name}.avi")
        for division in (1, 2):
            marks = (1, 2, 0, 1) if division == 1 else (2, 1, 1, 0)
            write(
                tmp_path / "testTrainMulti_7030_splits" / f"{name}_test_split{division}.txt",
                *(f"{number}_{name}.avi {mark} " for number, mark in enumerate(marks)),
            )
    assert open_dataset(tmp_path, split="all").splits == {"test": 2, "train": 4}
    manifest = open_evaluation_split(tmp_path)[0]
    assert manifest.class_names == ("brush_hair", "cartwheel")
    assert [(e.path, e.labels) for e in manifest.entries] == [
        ("hmdb51_org/brush_hair/1_brush_hair.avi", (0,)),
        ("hmdb51_org/cartwheel/1_cartwheel.avi", (1,)),
    ]
    assert [e.path[11:] for e in open_dataset(tmp_path, split="test2").entries] == [
        "brush_hair/0_brush_hair.avi",
        "cartwheel/0_cartwheel.avi",
    ]
    write(tmp_path / "testTrainMulti_7030_splits" / "cartwheel_test_split1.txt", "a.avi 3")
    with pytest.raises(DataError, match=r"line 1: .* a video and 0, 1 or 2"):
        open_dataset(tmp_path, split="test")
