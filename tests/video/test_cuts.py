"""Transport streams that were joined, and those that lost packets."""

from types import SimpleNamespace

import pytest

from co3d.errors import DamagedVideoError
from co3d.video import read_video
from co3d.video.cuts import CutPackets

PACKET_BYTES = 188
VIDEO_ID = 0x100


def mark(text: str, format_name: str = "mpegts") -> list[int]:
    """Packets found to be cut: k is a key frame, p another one; capitals carry FFmpeg's mark."""
    cuts, found = CutPackets(format_name), []
    for number, letter in enumerate(text):
        packet = SimpleNamespace(
            pts=number, is_keyframe=letter in "kK", is_corrupt=letter.isupper()
        )
        found.append(cuts.find(packet))
    return [packet.pts for packet in (*found, cuts.find_rest()) if packet is not None]


@pytest.mark.parametrize(
    ("packets", "cut"),
    [
        ("kpppkppp", []),
        ("kppPpkppp", []),  # joined: the mark comes one picture early
        ("kpppPkppp", []),
        ("kpPpppkpp", [2]),
        ("kpPPpppkpp", [2, 3]),
        ("kpppP", [4]),
        ("KppkPkkPk", [0]),
    ],
)
def test_marks_in_transport_streams(packets, cut):
    assert mark(packets) == cut


def test_marks_in_other_containers_are_right():
    assert mark("kPpKpP", "matroska,webm") == [1, 3, 5]


def transport_packets(data: bytes) -> list[bytes]:
    return [data[at : at + PACKET_BYTES] for at in range(0, len(data), PACKET_BYTES)]


def is_video(packet: bytes) -> bool:
    return (packet[1] & 31) << 8 | packet[2] == VIDEO_ID


def test_recordings_joined_are_one_video(tmp_path, make, number_of, drain):
    """The counters of the second recording do not continue those of the first."""
    make(tmp_path / "first.ts", 12)
    make(tmp_path / "second.ts", 12)
    packets = transport_packets((tmp_path / "second.ts").read_bytes())
    restarted = [
        packet[:3] + bytes([packet[3] & 0xF0 | (packet[3] + 7) & 0x0F]) + packet[4:]
        for packet in packets
    ]
    path = tmp_path / "joined.ts"
    path.write_bytes((tmp_path / "first.ts").read_bytes() + b"".join(restarted))
    frames, error = drain(read_video(path))
    assert error is None
    assert [number_of(frame.image) for frame in frames] == 2 * list(range(12))


def test_a_lost_packet_damages_no_other_picture(tmp_path, make, drain):
    path = make(tmp_path / "whole.ts", 30, noise=True, options={"bf": "0"})
    packets = transport_packets(path.read_bytes())
    starts = [n for n, packet in enumerate(packets) if is_video(packet) and packet[1] & 64]
    lost = starts[14] + 2  # in the middle of a picture between two key frames
    assert is_video(packets[lost])
    assert lost < starts[15]
    path.write_bytes(b"".join(packets[:lost] + packets[lost + 1 :]))
    frames, error = drain(read_video(path))
    assert len(frames) == 30
    assert isinstance(error, DamagedVideoError)
