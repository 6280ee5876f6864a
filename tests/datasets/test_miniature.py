"""The miniature sets are what they say: else every test that uses them proves nothing."""

import av
import numpy as np

from co3d.video import read_video
from support.miniature import (
    FRAMES,
    RATE_HZ,
    film_motion,
    make_charades,
    make_kinetics,
)


def test_a_miniature_kinetics_has_every_kind_of_file(tmp_path):
    made = make_kinetics(tmp_path, classes=["pan left"])
    assert len(made.kinds) == 10
    assert len(made.readable) == 7
    files = {path.stem: path for path in (tmp_path / "val" / "pan left").iterdir()}
    path_of = {kind: files.get(video_id) for video_id, kind in made.kinds.items()}
    assert path_of["missing"] is None
    counts, times = {}, {}
    for video_id in made.readable:
        with read_video(files[video_id]) as reader:
            times[made.kinds[video_id]] = [frame.pts_seconds for frame in reader]
            counts[made.kinds[video_id]] = (reader.width, reader.height)
        assert len(times[made.kinds[video_id]]) == made.frames[video_id]
    assert (len(times["short"]), len(times["long"]), len(times["valid"])) == (3, 128, FRAMES)
    assert (
        np.ptp(np.diff(times["variable"])) > 0.5 / RATE_HZ > 1e3 * np.ptp(np.diff(times["valid"]))
    )
    assert counts["rotated"] == counts["valid"] == (96, 64)
    with av.open(str(path_of["rotated"])) as container:
        assert container.streams.video[0].width == 64
    with av.open(str(path_of["valid"])) as container:
        assert len(container.streams.audio) == 1
    assert not path_of["non-ascii"].name.isascii()


def test_the_camera_does_what_the_label_says():
    frames = film_motion(1, 16, seed=3).astype(float)  # pan left: content moves right
    first, later = frames[4], frames[6]
    errors = {
        shift: np.abs(later[:, 20 + shift : 60 + shift] - first[:, 20:60]).mean()
        for shift in range(-20, 21)
    }
    assert min(errors, key=errors.__getitem__) > 0


def test_a_miniature_charades_in_both_forms(tmp_path):
    videos = make_charades(tmp_path / "videos", videos=1)
    frames = make_charades(tmp_path / "frames", videos=1, as_frames=True)
    assert videos.labels == frames.labels
    assert len(videos.labels["MINI0"]) > 1
    lines = (tmp_path / "frames" / "val.csv").read_text().splitlines()
    assert len(lines) == 1 + 160
    assert len(list((tmp_path / "frames" / "Charades_v1_rgb" / "MINI0").iterdir())) == 160
