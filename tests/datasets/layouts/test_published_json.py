"""Something-Something V2 and Diving48, in the exact form of their published lists."""

import json

import pytest

from co3d.datasets.layouts import open_dataset, open_evaluation_split
from co3d.errors import DataError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def something(number, template):
    label = template.replace("[something]", "a cup")
    return {"id": number, "label": label, "template": template, "placeholders": ["a cup"]}


def test_something_something(tmp_path):
    touch(tmp_path, *(f"20bn-something-something-v2/{number}.webm" for number in (3, 4, 5)))
    write(tmp_path / "labels" / "train.json", [something("3", "Pushing [something] left")])
    write(
        tmp_path / "labels" / "validation.json",
        [something("4", "Closing [something]"), something("9", "Pushing [something] left")],
    )
    write(tmp_path / "labels" / "test.json", [{"id": "5"}])
    write(
        tmp_path / "labels" / "labels.json",
        {"Pushing something left": "1", "Closing something": "0"},
    )
    manifest = open_dataset(tmp_path, split="all")
    assert manifest.class_names == ("Closing something", "Pushing something left")
    assert [(e.path.rpartition("/")[2], e.labels, e.split) for e in manifest.entries] == [
        ("5.webm", (), "test"),
        ("3.webm", (1,), "train"),
        ("4.webm", (0,), "val"),
        ("9.webm", (1,), "val"),
    ]
    assert open_evaluation_split(tmp_path)[0].splits == {"val": 2}
    assert open_dataset(tmp_path / "labels" / "train.json").entries[0].labels == (1,)
    write(tmp_path / "labels" / "train.json", [something("3", "Lifting [something]")])
    with pytest.raises(DataError, match=r"'Lifting something', expected one of the 2 templates"):
        open_dataset(tmp_path, split="train")


def test_diving48(tmp_path):
    touch(tmp_path, "rgb/a_00001.mp4", "rgb/b_00002.mp4")
    dive = {"start_frame": 0, "end_frame": 133}
    write(tmp_path / "Diving48_V2_train.json", [{"vid_name": "a_00001", "label": 12, **dive}])
    write(tmp_path / "Diving48_V2_test.json", [{"vid_name": "b_00002", "label": 47, **dive}])
    manifest = open_evaluation_split(tmp_path)[0]
    assert [(e.path, e.labels, e.split) for e in manifest.entries] == [
        ("rgb/b_00002.mp4", (47,), "test")
    ]
    assert len(manifest.class_names) == 48
    write(tmp_path / "Diving48_vocab.json", [["Back", f"{n}som", "NoTwis"] for n in range(48)])
    assert open_dataset(tmp_path, split="train").class_names[12] == "Back 12som NoTwis"
    assert [e.source for e in open_dataset(tmp_path, split="all").entries] == ["b", "a"]
    write(tmp_path / "Diving48_V2_train.json", [{"vid_name": "a_00001", "label": 48, **dive}])
    with pytest.raises(DataError, match="a number from 0 to 47"):
        open_dataset(tmp_path, split="train")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"id": "1", "template": 3}]', 'a string as "template"'),
        ('[{"id": "1", "label": "run"}]', 'a string as "template"'),
        ('[{"id": ["1"]}]', 'objects with an "id"'),
        ('[{"id": "1"', "JSON"),
        ('[{"vid_name": "", "label": 1}]', "a name"),
    ],
)
def test_broken_lists_are_named(tmp_path, text, said):
    touch(tmp_path, "1.mp4")
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(DataError, match=said):
        open_dataset(tmp_path)
