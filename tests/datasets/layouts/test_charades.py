import pytest

from co3d.datasets.layouts import open_dataset
from co3d.datasets.manifest import Segment
from co3d.errors import DataError
from co3d.models.camera_motion import CAMERA_MOTIONS
from co3d.models.labels import read_labels
from support.miniature import RATE_HZ, make_charades

HEADING = "original_vido_id video_id frame_id path labels"


def test_official_csv_with_videos(tmp_path):
    made = make_charades(tmp_path, videos=2)
    manifest = open_dataset(tmp_path, split="test")
    assert manifest.multi_label
    assert manifest.class_names == CAMERA_MOTIONS
    assert {entry.video_id: entry.labels for entry in manifest.entries} == made.labels
    for entry in manifest.entries:
        assert manifest.resolve(entry).is_file()
        assert entry.rate_hz is None
        assert entry.segments[0].start_seconds == 0
        assert entry.segments[-1].end_seconds == made.frames[entry.video_id] / RATE_HZ


def test_frame_lists_say_the_same_as_official_csvs(tmp_path):
    make_charades(tmp_path / "videos", videos=1)
    make_charades(tmp_path / "frames", videos=1, as_frames=True)
    video = open_dataset(tmp_path / "videos").entries[0]
    frames = open_dataset(tmp_path / "frames", split="val").entries[0]
    assert (frames.path, frames.rate_hz) == ("Charades_v1_rgb/MINI0", 24.0)
    assert frames.labels == video.labels
    scaled = [(s.label, s.start_seconds * 24, s.end_seconds * 24) for s in frames.segments]
    expected = [
        (s.label, s.start_seconds * RATE_HZ, s.end_seconds * RATE_HZ) for s in video.segments
    ]
    assert [s[0] for s in scaled] == [s[0] for s in expected]
    assert [s[1:] for s in scaled] == [pytest.approx(s[1:], abs=0.1) for s in expected]


def test_a_frame_list_in_a_folder_of_lists_belongs_to_the_set_above(tmp_path):
    make_charades(tmp_path, videos=1, as_frames=True)
    place = tmp_path / "annotations" / "frame_lists" / "val.csv"
    place.parent.mkdir(parents=True)
    (tmp_path / "val.csv").rename(place)
    manifest = open_dataset(place)
    assert manifest.root == tmp_path
    assert manifest.resolve(manifest.entries[0]).is_dir()


def test_frames_without_and_with_several_labels(tmp_path):
    folder = tmp_path / "rgb" / "A"
    folder.mkdir(parents=True)
    (folder / "A-000001.jpg").touch()
    labels = ['""', '"3"', '"3,5"', '"5"', '""', '"3"']
    lines = [f"A 0 {n} A/A-{n + 1:06d}.jpg {text}" for n, text in enumerate(labels)]
    (tmp_path / "train.csv").write_text("\n".join([HEADING, *lines]))
    manifest = open_dataset(tmp_path)
    assert manifest.class_names == read_labels("charades157")
    entry = manifest.entries[0]
    assert (entry.path, entry.labels) == ("rgb/A", (3, 5))
    assert entry.segments == (
        Segment(3, 1 / 24, 3 / 24),
        Segment(5, 2 / 24, 4 / 24),
        Segment(3, 5 / 24, 6 / 24),
    )


def test_scripts_over_several_lines_and_videos_without_actions(tmp_path):
    (tmp_path / "A.mp4").touch()
    (tmp_path / "Charades_v1_test.csv").write_text(
        'id,script,actions,length\nA,"a person\nsits, stands",c092 11.90 21.20;c147 0.00 12.60,33\n'
        "B,nothing,,10.0\n"
    )
    first, second = open_dataset(tmp_path).entries
    assert first.labels == (92, 147)
    assert first.segments == (Segment(92, 11.9, 21.2), Segment(147, 0.0, 12.6))
    assert (second.labels, second.segments, second.path) == ((), (), "B.mp4")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,actions\nA,c157 1 2\n", "line 2: .* from c000 to c156"),
        ("id,actions\nA,c001 1\n", "line 2: .* an action such as"),
        ("id,actions\nA,c001 nan 2\n", "line 2: .* an action from"),
        ("id,actions\n../A,c001 1 2\n", "line 2: .* an id and actions"),
        ('id,actions\nA,"c001 1 2\n', "rows of CSV"),
        (f"{HEADING}\nA 0 0 A/1.jpg\n", "line 2: .* original_vido_id"),
        (f"{HEADING}\nA 0 0 ../1.jpg 3\n", "line 2: .* relative path"),
        (f"{HEADING}\nA 0 0 A/1.jpg 157\n", "line 2: .* from 0 to 156"),
        (f"{HEADING}\nA 0 0 A/1.jpg x\n", "line 2: .* class indices such as"),
        ("id,actions\nA,c001 1 2\n", "none of 1"),
    ],
)
def test_broken_lists_are_named(tmp_path, text, said):
    if said != "none of 1":
        (tmp_path / "A.mp4").touch()
    (tmp_path / "test.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        open_dataset(tmp_path)
