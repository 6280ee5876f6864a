"""Which videos an archive has, and their ids."""

import pytest

from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.errors import DataError
from co3d.fleet.listing import list_archive


def list_named(*sources):
    return {entry.video_id: entry.path for entry in list_archive(sources).entries}


def test_a_folder_means_all_videos_below_it(videos):
    names = ["a.mp4", "below/a.mkv", "cut.mkv", "none.mp4", "short.mp4"]
    assert list_named(videos) == {name: (videos / name).as_posix() for name in names}


def test_a_folder_of_pictures_is_a_video(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "0.png").touch()
    assert list_named(tmp_path / "frames") == {"frames": (tmp_path / "frames").as_posix()}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "one two.mp4\n\nbelow/b.mp4\n"),
        ("list.csv", "one two.mp4,run\nbelow/b.mp4,swim\n"),
        ("list.csv", 'label,video_path\nrun,"one two.mp4"\nswim,below/b.mp4\n'),
        ("list.tsv", "path\tlabel\none two.mp4\trun\nbelow/b.mp4\tswim\n"),
    ],
)
def test_a_list_names_paths_from_its_folder(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert list_named(tmp_path / name) == {
        path: (tmp_path / path).as_posix() for path in ("one two.mp4", "below/b.mp4")
    }


def test_a_manifest_names_parts_of_files(tmp_path):
    entries = (
        VideoEntry("a#1", "a.mp4", (0,), start_seconds=1.0, end_seconds=2.0),
        VideoEntry("a#2", "a.mp4", (0,), start_seconds=2.0, split="val"),
    )
    Manifest(tmp_path, ("run",), entries).save(tmp_path / "clean.jsonl")
    path = (tmp_path / "a.mp4").as_posix()
    assert list_archive([tmp_path / "clean.jsonl"]).entries == (
        VideoEntry("a#1", path, (), start_seconds=1.0, end_seconds=2.0),
        VideoEntry("a#2", path, (), start_seconds=2.0),
    )


def test_a_video_that_is_named_twice_is_listed_once(videos):
    assert list(list_named(videos / "a.mp4", videos / "a.mp4")) == ["a.mp4"]


def test_two_videos_of_one_name_are_refused(videos, tmp_path):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(DataError, match=r"both are called 'a\.mp4'.*a folder above both"):
        list_archive([videos, tmp_path / "a.mp4"])


def test_a_list_without_a_path_names_its_line(tmp_path):
    (tmp_path / "list.csv").write_text("label,path\nrun,a.mp4\nswim,\n")
    with pytest.raises(DataError, match="line 3: got 'swim,', expected the path of a video"):
        list_archive([tmp_path / "list.csv"])


def test_an_empty_list_is_refused(tmp_path):
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(DataError, match="no video was found in the given sources"):
        list_archive([tmp_path / "list.txt"])
