"""Recordings of the original packets, in files that each play alone."""

import re
import shutil
import time
from itertools import pairwise
from pathlib import Path

import av
import pytest
from av.packet import Packet

from co3d.errors import Co3dError, OptionError, OutputError
from co3d.video import read_video
from co3d.video.clock import Arrival, PresentationClock
from co3d.video.live_clock import LiveClock
from co3d.video.recording import Recorder
from support.servers import send, serve

UTC_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z\.mkv")


def read_packets(*paths: Path) -> list[bytes]:
    """The packets of the video streams of files, one after the other."""
    packets: list[bytes] = []
    for path in paths:
        with av.open(str(path)) as container:
            packets += [bytes(packet) for packet in container.demux(video=0) if packet.size]
    return packets


def list_segments(folder: Path) -> list[Path]:
    """Finished files, in order; there must be no others."""
    segments = sorted(folder.iterdir())
    assert all(path.suffix == ".mkv" and not path.name.startswith(".") for path in segments)
    return segments


def check_playable(segments: list[Path], number_of) -> list[int]:
    """The numbers of the frames in files, each of which must play alone."""
    numbers: list[int] = []
    for path in segments:
        with av.open(str(path)) as container:
            assert next(container.demux(video=0)).is_keyframe
        with read_video(path) as reader:
            numbers += [number_of(frame.image) for frame in reader]
    return numbers


@pytest.fixture(scope="module")
def film(tmp_path_factory, make) -> Path:
    """Forty frames at 20 per second with B frames and a key frame each half second."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return make(path, 40, options={"bf": "2", "sc_threshold": "0"})


@pytest.mark.parametrize(
    ("seconds", "names"),
    [
        (0.4, ["00000000.000s", "00000000.500s", "00000001.000s", "00000001.500s"]),
        (0.9, ["00000000.000s", "00000001.000s"]),
        (60, ["00000000.000s"]),
    ],
)
def test_a_file_is_recorded_packet_by_packet(film, tmp_path, number_of, seconds, names):
    folder = tmp_path / "recordings"
    with read_video(film, record=folder, record_seconds=seconds, rate_hz=8) as reader:
        assert len(list(reader)) == 16
        assert reader.recorder.segments_written == len(names)
    segments = list_segments(folder)
    assert [path.stem for path in segments] == names
    assert read_packets(*segments) == read_packets(film)
    assert check_playable(segments, number_of) == list(range(40))


def test_recorded_frames_keep_their_intervals(tmp_path, make):
    times = [10.0, 10.05, 10.4, 11.9, 12.0, 12.35]
    source = make(tmp_path / "uneven.mkv", times, options={"bf": "2"})
    with read_video(source, record=tmp_path / "recordings") as reader:
        list(reader)
    (segment,) = list_segments(tmp_path / "recordings")
    assert segment.stem == "00000010.000s"
    with read_video(segment) as reader:
        shown = [frame.pts_seconds for frame in reader]
    assert [seconds - shown[0] for seconds in shown] == pytest.approx(
        [seconds - 10.0 for seconds in times], abs=2e-3
    )


def test_a_reader_that_is_closed_early_completes_what_it_has(film, tmp_path, number_of):
    with read_video(film, record=tmp_path / "recordings", record_seconds=0.4) as reader:
        for _ in range(15):
            next(reader)
    segments = list_segments(tmp_path / "recordings")
    packets = read_packets(*segments)
    assert 15 <= len(packets) < 40
    assert packets == read_packets(film)[: len(packets)]
    assert check_playable(segments, number_of)[:15] == list(range(15))


def split_units(packets: list[bytes], *, has_lengths: bool) -> list[list[bytes]]:
    """The H.264 units of packets, delimited by start codes or by lengths."""
    if not has_lengths:
        return [re.split(rb"\x00*\x00\x00\x01", packet)[1:] for packet in packets]
    split = []
    for packet in packets:
        units, start = [], 0
        while start < len(packet):
            end = start + 4 + int.from_bytes(packet[start : start + 4], "big")
            units.append(packet[start + 4 : end])
            start = end
        split.append(units)
    return split


def test_h264_units_of_a_transport_stream_are_kept_byte_by_byte(tmp_path, make):
    """Matroska stores lengths where transport streams have start codes."""
    source = make(tmp_path / "film.ts", 40, noise=True, options={"sc_threshold": "0"})
    with read_video(source, record=tmp_path / "recordings", record_seconds=0.4) as reader:
        list(reader)
    segments = list_segments(tmp_path / "recordings")
    assert len(segments) == 4
    recorded = split_units(read_packets(*segments), has_lengths=True)
    assert recorded == split_units(read_packets(source), has_lengths=False)


def test_a_live_source_is_recorded_whole_while_frames_are_dropped(tmp_path, broadcast):
    folder = tmp_path / "recordings"
    source = tmp_path / "live.flv"
    source.write_bytes(broadcast)
    began = time.time()
    with serve(lambda handler, _: send(handler, broadcast)) as url:
        reader = read_video(
            url, record=folder, record_seconds=0.4, queue_frames=1, reconnect_seconds=0
        )
        next(reader)
        while reader.dropped_frames < 10:
            time.sleep(0.01)
        with pytest.raises(Co3dError, match="lost"):
            list(reader)
    segments = list_segments(folder)
    assert len(segments) > 1
    assert all(UTC_NAME.fullmatch(path.name) for path in segments)
    assert read_packets(*segments) == read_packets(source)
    day = time.strftime("%Y-%m-%d", time.gmtime(began))
    assert segments[0].name.startswith(day) or time.gmtime().tm_hour == 0


def test_a_recording_that_a_server_repeats_is_recorded_once(tmp_path, broadcast, quick_retries):
    source = tmp_path / "live.flv"
    source.write_bytes(broadcast)
    with serve(lambda handler, _: send(handler, broadcast)) as url:
        frames = list(read_video(url, record=tmp_path / "recordings", policy="every"))
    assert len(frames) == 20
    assert read_packets(*list_segments(tmp_path / "recordings")) == read_packets(source)


def test_each_connection_of_a_live_source_begins_a_file(tmp_path, make, quick_retries):
    options = {"flvflags": "no_duration_filesize"}
    sources = [
        make(tmp_path / f"{seed}.flv", 15, noise=True, seed=seed, container_options=options)
        for seed in (1, 2)
    ]

    def answer(handler, number: int) -> None:
        if number >= len(sources):
            handler.send_error(404)
            return
        send(handler, sources[number].read_bytes())

    with serve(answer) as url:
        reader = read_video(
            url, record=tmp_path / "recordings", policy="every", reconnect_seconds=0.3
        )
        with pytest.raises(Co3dError, match="lost"):
            list(reader)
    segments = list_segments(tmp_path / "recordings")
    assert len(segments) == 2
    assert read_packets(*segments) == read_packets(*sources)


def record_packets(recorder: Recorder, path: Path, clock, change=lambda number, packet: None):
    """Feed a file's packets to a recorder like those of a live source, 0.2 s apart."""
    with av.open(str(path)) as container:
        recorder.begin(container.streams.video[0], clock, is_live=False, may_repeat=False)
        for number, packet in enumerate(container.demux(video=0)):
            change(number, packet)
            recorder.take(packet, Arrival(number * 0.2, number * 0.2), 1e9 + number * 0.2)
        recorder.finish()


def test_a_wild_timestamp_leaves_all_files_playable(film, tmp_path, number_of):
    def change(number: int, packet: Packet) -> None:
        if number == 14 and packet.dts is not None and packet.pts is not None:
            packet.dts += 10**9
            packet.pts += 10**9

    recorder = Recorder(tmp_path, 0.4)
    record_packets(recorder, film, PresentationClock(0.05), change)
    segments = list_segments(tmp_path)
    assert len(segments) == 4
    assert read_packets(*segments) == read_packets(film)
    for path in segments:
        with read_video(path) as reader:
            assert reader.duration_seconds == pytest.approx(0.6, abs=0.15)


def test_a_source_without_a_clock_is_recorded_with_times_of_arrival(tmp_path, make):
    source = make(tmp_path / "film.mkv", 8, options={"bf": "0"})
    (tmp_path / "recordings").mkdir()
    recorder = Recorder(tmp_path / "recordings", 60)
    record_packets(recorder, source, LiveClock(0.05, has_timestamps=False))
    with read_video(*list_segments(tmp_path / "recordings")) as reader:
        times = [frame.pts_seconds for frame in reader]
    assert times == pytest.approx([number * 0.2 for number in range(8)], abs=2e-3)


def test_a_full_disk_gives_a_notice_and_recording_resumes_when_there_is_room(film, tmp_path):
    resource = pytest.importorskip("resource")
    recorder = Recorder(tmp_path, 0.4)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def change(number: int, _packet: Packet) -> None:
        if number == 12:  # the second of four files is being written
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        elif number == 35:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    try:
        record_packets(recorder, film, PresentationClock(0.05), change)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.stem for path in list_segments(tmp_path)] == ["00000000.000s", "00000001.500s"]
    assert recorder.notices == [
        "is not recorded from 00000000.500s on: File too large; the rest goes on, and recording is "
        "tried again every 0.4 s",
        "is recorded again from 00000001.500s on",
    ]


def test_labelling_goes_on_when_nothing_can_be_recorded(film, tmp_path):
    folder = tmp_path / "recordings"
    reader = read_video(film, record=folder, record_seconds=0.4)
    next(reader)
    reader.close()
    list_segments(folder)[0].unlink()
    reader = read_video(film, record=folder, record_seconds=0.4)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert len(list(reader)) == 40
    (notice,) = reader.notices
    assert notice.startswith(f"{film} is not recorded from 00000000.000s on: No such file")
    assert not folder.exists()


def test_notices_stay_in_the_order_in_which_they_came_up(tmp_path, make):
    source = make(tmp_path / "slow.mp4", [number / 2 for number in range(20)])
    folder = tmp_path / "recordings"
    seen = []
    for frame in (reader := read_video(source, rate_hz=8, record=folder, record_seconds=5)):
        if frame.pts_seconds >= 4 and folder.exists():
            shutil.rmtree(folder)
        seen.append(reader.notices)
    assert all(later[: len(notices)] == notices for notices, later in pairwise(seen))
    slow, unrecorded = reader.notices
    assert "2 new pictures a second where 8 are expected" in slow
    assert "is not recorded from" in unrecorded


@pytest.mark.parametrize("seconds", [0.2, 4.0])
def test_a_source_without_key_frames_is_said_not_to_be_recorded(film, tmp_path, seconds):
    """The notice comes after half a minute, or at the end of the source."""

    def change(_number: int, packet: Packet) -> None:
        packet.is_keyframe = False
        for name in ("dts", "pts"):
            stamp = getattr(packet, name)
            if stamp is not None:
                setattr(packet, name, round(stamp * seconds / 0.2))

    recorder = Recorder(tmp_path, 0.4)
    record_packets(recorder, film, PresentationClock(0.05), change)
    (notice,) = recorder.notices
    assert notice.startswith("is not recorded: no key frame came in ")
    assert list_segments(tmp_path) == []


def test_a_codec_that_matroska_cannot_hold_gives_a_notice(tmp_path, make):
    source = make(tmp_path / "film.flv", 20, codec="flv")
    reader = read_video(source, record=tmp_path / "recordings")
    assert len(list(reader)) == 20
    assert "does not support 'flv' codec" in reader.notices[0]
    assert list_segments(tmp_path / "recordings") == []


def test_sources_that_cannot_be_recorded_are_refused(film, tmp_path):
    with pytest.raises(OptionError, match="above 0"):
        read_video(film, record=tmp_path / "recordings", record_seconds=0)
    with pytest.raises(OutputError, match="cannot make the folder"):
        read_video(film, record=film)
    with pytest.raises(OptionError, match="folder of pictures"):
        read_video(tmp_path, record=tmp_path / "recordings")
