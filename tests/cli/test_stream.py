import json
from pathlib import Path

import numpy as np
import pytest

from co3d.cli.stream import name_source
from co3d.video import read_video
from support.videos import (
    cut_short,
    drifting_picture,
    open_reader,
    write_video,
    write_video_with_gap,
)

RANDOM = ("--model", "camera_motion", "--weights", "random")


def count_frames(path) -> int:
    with read_video(path) as reader:
        return sum(1 for _ in reader)


def test_json_has_one_object_for_each_sampled_frame(co3d, video):
    outcome = co3d("stream", video, *RANDOM, "--json")
    assert outcome.code == 0
    with open_reader(video) as reader:
        sampled = [(frame.index, frame.pts_seconds) for frame in reader]
    assert [(line["frame_index"], line["pts_seconds"]) for line in outcome.lines] == sampled
    assert [line["valid"] for line in outcome.lines] == [False] * 7 + [True] * (len(sampled) - 7)
    starts = [0.0] * 7 + [seconds for _, seconds in sampled[:-7]]
    assert [line["from_seconds"] for line in outcome.lines] == starts
    for line in outcome.lines:
        assert set(line) == {
            "type",
            "frame_index",
            "pts_seconds",
            "from_seconds",
            "valid",
            "gap_seconds",
            "undersampled",
            "top",
            "latency_ms",
            "lag_ms",
            "received_at",
            "dropped_frames",
        }
        assert line["type"] == "prediction"
        assert (line["lag_ms"], line["received_at"]) == (None, None)  # files do not arrive
        assert [set(entry) for entry in line["top"]] == [{"label", "probability"}] * 3
        assert line["latency_ms"] > 0
        assert line["dropped_frames"] == 0
        assert line["gap_seconds"] == 0
        assert line["undersampled"] is False


def test_the_summary_of_json_goes_to_standard_error(co3d, video):
    outcome = co3d("stream", video, *RANDOM, "--json")
    assert "24 frames described" in outcome.err
    assert "frames/s" in outcome.err


def test_plain_lines_tell_time_label_and_latency(co3d, video):
    outcome = co3d("stream", video, *RANDOM)
    lines = outcome.out.splitlines()
    assert len(lines) == 24
    assert "filling the window" in lines[0]
    assert lines[-1].split()[0] == "2.875"
    assert "%" in lines[-1]
    assert lines[-1].endswith("ms]")


@pytest.mark.parametrize("form", [("--json",), ()])
def test_a_slow_source_gives_one_notice_and_marked_results(co3d, tmp_path, form):
    slow = write_video(tmp_path / "slow.mp4", 24, rate_hz=2.0)
    outcome = co3d("stream", slow, *RANDOM, *form)
    assert outcome.code == 0
    warnings = [line for line in outcome.err.splitlines() if line.startswith("warning: ")]
    assert warnings == [
        f"warning: {slow} has 2 new pictures a second where 8 are expected: most of what the "
        "network sees are repeats, and labels of movements are not reliable; raise its rate"
    ]
    if form:
        assert all(line["undersampled"] for line in outcome.lines)
    else:
        assert all("undersampled" in line for line in outcome.out.splitlines())
    assert "undersampled: 93 of 93 results" in outcome.err


def test_after_a_gap_the_stream_is_reset_or_continues(co3d, tmp_path):
    path = write_video_with_gap(tmp_path / "gap.mp4", 60)
    reset = co3d("stream", path, *RANDOM, "--json")
    valid = [False] * 7 + [True] * 17
    assert [line["valid"] for line in reset.lines] == valid * 2
    gaps = [line["gap_seconds"] for line in reset.lines if line["gap_seconds"]]
    assert gaps == [pytest.approx(60.125)]
    assert "gaps in the source: 1, the longest of 60.12 s" in reset.err
    kept = co3d("stream", path, *RANDOM, "--json", "--gap", "keep")
    assert [line["valid"] for line in kept.lines] == [False] * 7 + [True] * 41
    plain = co3d("stream", path, *RANDOM).out
    assert "after a gap of 60.125 s" in plain


def test_outputs_are_written_and_named(co3d, video, tmp_path):
    movie, picture = tmp_path / "out.mp4", tmp_path / "out.png"
    outcome = co3d("stream", video, *RANDOM, "--output", movie, "--timeline", picture)
    assert outcome.code == 0
    assert count_frames(movie) == 48
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"wrote {movie}" in outcome.err
    assert f"wrote {picture}" in outcome.err
    assert {path.name for path in tmp_path.iterdir()} == {"out.mp4", "out.png"}


def test_window_top_and_rate_reach_the_labelling(co3d, video):
    arguments = ("--window", 1, "--top", 9, "--rate-hz", 4, "--threads", 1)
    lines = co3d("stream", video, *RANDOM, "--json", *arguments).lines
    assert len(lines) == 12
    assert all(line["valid"] and len(line["top"]) == 9 for line in lines)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/srv/cameras/yard/match.mp4", "match.mp4"),
        ("match.mp4", "match.mp4"),
        ("frames/", "frames"),
        (".", Path.cwd().name),
        ("file:///srv/match.mp4", "match.mp4"),
        ("0", "camera 0"),
        ("rtsp://me:secret@host/stream", "rtsp://me:***@host/stream"),
    ],
)
def test_titles_have_names_and_no_paths_nor_passwords(source, name):
    assert name_source(source) == name


def test_threshold_and_smoothing_reach_the_labelling(co3d, video):
    options = ("--json", "--top", 9)  # with the bundled weights, which are the same every time
    plain = co3d("stream", video, *options).lines
    smoothed = co3d("stream", video, *options, "--smooth", 2, "--threshold", 0.3).lines
    strict = [[entry for entry in line["top"] if entry["probability"] >= 0.3] for line in plain]
    tops = [line["top"] for line in smoothed]
    assert tops[:8] == strict[:8]  # the first valid result is the eighth
    assert tops[8:] != strict[8:]
    assert all(entry["probability"] >= 0.3 for top in tops for entry in top)
    nothing = co3d("stream", video, "--threshold", 1)
    assert "no label reaches the threshold" in nothing.out.splitlines()[-1]
    assert "no label: none reaches 100% in 17 predictions" in nothing.err


def test_the_annotated_video_shows_the_pictures_that_were_labelled(co3d, video, tmp_path):
    movie = tmp_path / "out.mkv"
    framing = ("--rotate", 90, "--flip", "horizontal", "--crop", "8,16,48,56")
    outcome = co3d("stream", video, *RANDOM, *framing, "--output", movie)
    assert outcome.code == 0
    with read_video(video) as reader:
        image = np.fliplr(np.rot90(next(reader).image, -1))[16:72, 8:56]
    with read_video(movie) as reader:
        assert (reader.width, reader.height) == (7 * 48, 7 * 56)  # small pictures are enlarged
        drawn = next(reader).image[::7, ::7]
    assert np.abs(drawn[:20].astype(int) - image[:20]).mean() < 12


def test_the_packets_of_a_video_are_recorded(co3d, video, tmp_path):
    folder = tmp_path / "recordings"
    outcome = co3d("stream", video, *RANDOM, "--record", folder, "--record-seconds", 1)
    assert outcome.code == 0
    assert f"wrote {folder}" in outcome.err
    assert [path.name for path in folder.iterdir()] == ["00000000.000s.mkv"]
    assert count_frames(folder / "00000000.000s.mkv") == 48


def test_a_failed_recording_is_reported_at_the_end_at_the_latest(co3d, video, tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        outcome = co3d("stream", video, *RANDOM, "--json", "--record", tmp_path / "recordings")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.code == 0
    assert len(outcome.lines) == 24
    assert f"warning: {video} is not recorded from 00000000.000s on: File too large" in outcome.err
    assert list((tmp_path / "recordings").iterdir()) == []


def test_record_seconds_without_record_is_refused(co3d, video):
    outcome = co3d("stream", video, *RANDOM, "--record-seconds", 5)
    assert outcome.code == 2
    assert "cannot use --record-seconds without --record DIR" in outcome.err


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--rotate", "45", "choose 0, 90, 180 or 270"),
        ("--flip", "both", "'horizontal', 'vertical'"),
        ("--crop", "1,2,3", "expected --crop X,Y,WIDTH,HEIGHT in whole pixels"),
        ("--crop", "0.1,0,0.5,1", "expected --crop X,Y,WIDTH,HEIGHT in whole pixels"),
        ("--crop", "0,0,97,10", "its pictures have 96x64"),
    ],
)
def test_a_crop_outside_of_the_picture_is_refused(co3d, video, option, value, complaint):
    outcome = co3d("stream", video, *RANDOM, option, value)
    assert outcome.code == 2
    assert complaint in " ".join(outcome.err.split())


def test_a_damaged_video_completes_its_outputs_and_exits_with_3(co3d, video, tmp_path):
    damaged = cut_short(video, tmp_path / "damaged.mkv")
    movie, picture = tmp_path / "out.mp4", tmp_path / "out.png"
    outcome = co3d("stream", damaged, *RANDOM, "--json", "--output", movie, "--timeline", picture)
    assert outcome.code == 3
    error = outcome.err.splitlines()[-1]
    delivered = count_frames(movie)
    assert 0 < delivered < 48
    assert error.startswith("error: ")
    assert f"{delivered} frames were delivered, {48 - delivered} lost from" in error
    assert f"{delivered / 16:.3f} s" in error
    assert len(outcome.lines) == (delivered + 1) // 2
    assert picture.exists()


def test_a_real_corrupted_video_is_labelled_up_to_the_damage(co3d, shared_dir):
    outcome = co3d("stream", shared_dir / "videos" / "corrupted.mp4", *RANDOM, "--json")
    assert outcome.code == 3
    assert outcome.lines[-1]["valid"]
    assert "lost from" in outcome.err.splitlines()[-1]


@pytest.mark.parametrize(
    "name",
    [
        "h265_10bit.mp4",
        "non_zero_start.mp4",
        "odd_size_vp9.mp4",
        "rotated_90.mov",
        "unordered.mov",
    ],
)
def test_awkward_videos_are_annotated_whole(co3d, shared_dir, tmp_path, name):
    source = shared_dir / "videos" / name
    outcome = co3d("stream", source, *RANDOM, "--json", "--output", tmp_path / "out.mp4")
    assert outcome.code == 0
    with open_reader(source) as reader:
        sampled = [frame.pts_seconds for frame in reader]
    assert [line["pts_seconds"] for line in outcome.lines] == pytest.approx(sampled, abs=1e-6)
    assert count_frames(tmp_path / "out.mp4") == count_frames(source)


def test_a_folder_of_pictures_is_a_source(co3d, tmp_path):
    from PIL import Image

    for number in range(60):
        Image.fromarray(drifting_picture(number)).save(tmp_path / f"{number}.png")
    outcome = co3d("stream", tmp_path, *RANDOM, "--json")
    assert outcome.code == 0
    assert len(outcome.lines) == 16


def test_a_short_video_says_why_nothing_is_valid(co3d, tmp_path):
    short = write_video(tmp_path / "short.mp4", 6)
    outcome = co3d("stream", short, *RANDOM, "--json")
    assert outcome.code == 0
    assert not any(line["valid"] for line in outcome.lines)
    assert "do not fill the window of 8" in outcome.err


def test_names_with_markup_are_printed_as_they_are(co3d, video, tmp_path):
    movie = tmp_path / "[red]out[bold].mp4"
    outcome = co3d("stream", video, *RANDOM, "--output", movie)
    assert outcome.code == 0
    assert "[red]out[bold].mp4" in outcome.err


def test_labels_that_are_not_ascii_survive_json(co3d, video):
    line = co3d("stream", video, *RANDOM, "--json").out.splitlines()[0]
    assert json.loads(line)["frame_index"] == 0


def test_backend_and_precision_reach_the_stream(co3d, video):
    exact = co3d("stream", video, *RANDOM, "--json", "--backend", "torch").lines
    outcome = co3d(
        "stream", video, *RANDOM, "--json", "--backend", "openvino", "--precision", "bfloat16"
    )
    assert "openvino" in outcome.err
    assert "bfloat16" in outcome.err
    for line, other in zip(outcome.lines, exact, strict=True):
        wanted = {entry["label"]: entry["probability"] for entry in other["top"]}
        for entry in line["top"]:
            if entry["label"] in wanted:
                assert entry["probability"] == pytest.approx(wanted[entry["label"]], abs=0.02)


def test_an_unknown_backend_is_refused(co3d, video):
    outcome = co3d("stream", video, *RANDOM, "--backend", "tensorrt")
    assert outcome.code == 2
    assert (
        "expected 'auto' or one of inductor, native, onnxruntime, openvino, torch, triton"
        in outcome.err
    )


def test_the_device_reaches_the_stream(co3d, video):
    outcome = co3d("stream", video, *RANDOM, "--backend", "torch", "--device", "warp")
    assert outcome.code == 2
    assert "on device 'warp'" in outcome.err
    outcome = co3d("stream", video, *RANDOM, "--json", "--backend", "torch", "--device", "cpu")
    assert outcome.code == 0
    assert len(outcome.lines) > 1
