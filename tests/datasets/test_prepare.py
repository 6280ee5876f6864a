import numpy as np
import pytest

from co3d.datasets.manifest import Manifest, Segment, VideoEntry
from co3d.datasets.prepare import FRAMES_BETWEEN_KEYS, Recipe, copy_video, plan_copies
from co3d.errors import Co3dError, DamagedVideoError, EmptyVideoError, OptionError
from co3d.video.indexed_opening import open_indexed_video
from co3d.video.seeking import SeekableVideo
from support.miniature import RATE_HZ, film_motion, write_mp4, write_pictures


def entry(path: str, **values) -> VideoEntry:
    return VideoEntry(path, path, (0,), **values)


def read_all(path, rate_hz=None):
    source = open_indexed_video(path, rate_hz)
    assert isinstance(source, SeekableVideo) or path.is_dir()
    frames = source.read(range(len(source.times_seconds)))
    times = source.times_seconds - source.times_seconds[0]
    source.close()
    return frames, times


def close(got: np.ndarray, expected: np.ndarray) -> bool:
    """Whether frames differ by what encoding costs, and less than from their neighbours."""

    def error(shown: np.ndarray, filmed: np.ndarray) -> float:
        return float(np.abs(shown.astype(float) - filmed).mean())

    late, early = error(got[1:], expected[:-1]), error(got[:-1], expected[1:])
    return error(got, expected) < min(6.0, 0.8 * late, 0.8 * early)


@pytest.fixture(scope="module")
def pictures():
    return film_motion(1, 48, 3)


def test_a_smaller_copy_with_the_same_times(tmp_path, pictures):
    times = (np.arange(48) / RATE_HZ + np.tile([0, 0.02], 24)).round(4)
    source = write_mp4(tmp_path / "a.mp4", pictures, times=times.tolist(), sound=True)
    copy_video(source, entry("a.mp4"), tmp_path / "new" / "b.mp4", Recipe(short_side_px=32))
    frames, got = read_all(tmp_path / "new" / "b.mp4")
    assert frames.shape == (48, 32, 48, 3)
    np.testing.assert_allclose(got, times, atol=1e-3)
    assert close(frames, pictures.reshape(48, 32, 2, 48, 2, 3).mean((2, 4)))
    video = SeekableVideo(tmp_path / "new" / "b.mp4")
    assert len(video._keys) >= 48 / FRAMES_BETWEEN_KEYS
    video.close()


def test_pictures_are_never_enlarged(tmp_path, pictures):
    source = write_mp4(tmp_path / "a.mp4", pictures[:4])
    copy_video(source, entry("a.mp4"), tmp_path / "b.mp4", Recipe(short_side_px=500))
    assert read_all(tmp_path / "b.mp4")[0].shape == (4, 64, 96, 3)


def test_a_part_is_cut_out(tmp_path, pictures):
    source = write_mp4(tmp_path / "a.mp4", pictures)
    part = entry("a.mp4", start_seconds=1.0, end_seconds=2.0)
    copy_video(source, part, tmp_path / "b.mp4", Recipe())
    frames, times = read_all(tmp_path / "b.mp4")
    assert len(frames) == RATE_HZ
    assert close(frames, pictures[16:32])
    assert times[-1] == pytest.approx(15 / RATE_HZ)
    with pytest.raises(EmptyVideoError, match=r"got 2\.94 s, expected 5\.00 s"):
        copy_video(source, entry("a.mp4", start_seconds=5.0), tmp_path / "c.mp4", Recipe())
    assert not (tmp_path / "c.mp4").exists()


def test_video_to_frames_and_back(tmp_path, pictures):
    source = write_mp4(tmp_path / "a.mp4", pictures)
    rate_hz = copy_video(source, entry("a.mp4"), tmp_path / "frames", Recipe("frames"))
    assert rate_hz == RATE_HZ
    frames, _ = read_all(tmp_path / "frames")
    assert len(frames) == 48
    assert close(frames, pictures)
    back = entry("frames", rate_hz=rate_hz)
    copy_video(tmp_path / "frames", back, tmp_path / "b.mp4", Recipe())
    again, times = read_all(tmp_path / "b.mp4")
    assert close(again, pictures)
    np.testing.assert_allclose(times, np.arange(48) / RATE_HZ, atol=1e-3)


@pytest.mark.parametrize("form", ["video", "frames"])
def test_sampled_copies_keep_the_playing_speed(tmp_path, pictures, form):
    source = write_mp4(tmp_path / "a.mp4", pictures)
    target = tmp_path / ("b.mp4" if form == "video" else "b")
    assert copy_video(source, entry("a.mp4"), target, Recipe(form, rate_hz=4.0)) == 4.0
    frames, times = read_all(target, 4.0)
    assert close(frames, pictures[::4])
    np.testing.assert_allclose(times, np.arange(12) / 4, atol=1e-3)


def test_bad_videos_leave_nothing_behind(tmp_path, pictures):
    whole = write_mp4(tmp_path / "a.mkv", pictures)
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for recipe, name in ((Recipe(), "b.mp4"), (Recipe("frames"), "b")):
        with pytest.raises(DamagedVideoError):
            copy_video(tmp_path / "cut.mkv", entry("cut.mkv"), tmp_path / "new" / name, recipe)
        with pytest.raises(Co3dError):
            copy_video(tmp_path / "none.mp4", entry("none"), tmp_path / "new" / name, recipe)
    assert list((tmp_path / "new").iterdir()) == []


def test_an_existing_copy_is_kept(tmp_path, pictures):
    source = write_mp4(tmp_path / "a.mp4", pictures)
    target = tmp_path / "b.mp4"
    target.write_bytes(b"mine")
    assert copy_video(source, entry("a.mp4"), target, Recipe()) == RATE_HZ
    assert target.read_bytes() == b"mine"


def test_the_plan_gives_every_copy_a_place_of_its_own(tmp_path):
    write_pictures(tmp_path / "run" / "frames.v2", film_motion(1, 1, 1))
    entries = (
        entry("run/a.mp4"),
        entry("run/a.mkv"),
        entry("run/frames.v2", rate_hz=24.0),
        VideoEntry("one", "run/film.mp4", (0,), 1.0, 2.0),
        VideoEntry("two", "run/film.mp4", (0,), 2.0, 3.0, (Segment(0, 1.5, 2.5),)),
    )
    copies = plan_copies(Manifest(tmp_path, ("run",), entries), tmp_path / "new", "video")
    paths = [copy.path for copy in copies.entries]
    assert paths[0] == "run/a.mp4"
    assert paths[2] == "run/frames.v2.mp4"
    assert len(set(paths)) == 5
    assert all(path.startswith("run/") and path.endswith(".mp4") for path in paths)
    assert [copy.video_id for copy in copies.entries] == [e.video_id for e in entries]
    assert {copy.start_seconds for copy in copies.entries} == {None}
    assert copies.entries[4].segments == (Segment(0, 0.0, 0.5),)
    assert copies.root == tmp_path / "new"


@pytest.mark.parametrize("values", [{"short_side_px": 1}, {"rate_hz": 0.0}])
def test_impossible_recipes(values):
    with pytest.raises(OptionError):
        Recipe(**values)
