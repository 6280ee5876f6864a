"""HLS playlists, and which of their files are fetched."""

from itertools import pairwise

import pytest

from co3d.video import read_video
from support.servers import send, serve

MASTER = """#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=200000,RESOLUTION=64x48
small.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=800000,RESOLUTION=128x96
large.m3u8
"""
SIZES = {"small": (64, 48), "large": (128, 96)}


@pytest.fixture(scope="module")
def segments(tmp_path_factory, make) -> dict[str, bytes]:
    """Three segments of forty pictures of two sizes; each begins at the same time."""
    folder = tmp_path_factory.mktemp("hls")
    return {
        f"{name}{n}.ts": make(folder / f"{name}{n}.ts", 40, size=size).read_bytes()
        for name, size in SIZES.items()
        for n in range(3)
    }


def list_segments(name: str) -> str:
    parts = [f"#EXTINF:2,\n{name}{n}.ts\n" for n in range(3)]
    discontinuous = "#EXT-X-DISCONTINUITY\n".join(parts)
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n{discontinuous}#EXT-X-ENDLIST\n"


@pytest.fixture
def watched(segments):
    """The address of a server, and the names that were requested from it."""
    asked: list[str] = []

    def answer(handler, number):
        name = handler.path.rsplit("/", 1)[-1]
        asked.append(name)
        body = segments.get(name)
        if body is None:
            text = MASTER if name == "master.m3u8" else list_segments(name.split(".")[0])
            body = text.encode()
        send(handler, body, len(body))

    with serve(answer) as url:
        yield url.rsplit("/", 1)[0], asked


def test_only_the_variant_that_is_read_is_fetched(watched):
    url, asked = watched
    with read_video(f"{url}/master.m3u8") as reader:
        assert (reader.width, reader.height) == (64, 48)
        frames = list(reader)
    assert len(frames) == 120
    # FFmpeg reads the first segment of every variant to find out what the variants are.
    assert {name for name in asked if name.startswith("large")} <= {"large.m3u8", "large0.ts"}
    assert asked.count("small2.ts") == 1


def test_a_discontinuity_is_no_damage(watched, number_of, drain):
    url, _ = watched
    frames, error = drain(read_video(f"{url}/small.m3u8"))
    assert error is None
    assert [number_of(frame.image) for frame in frames] == 3 * list(range(40))
    steps = [after.pts_seconds - frame.pts_seconds for frame, after in pairwise(frames)]
    assert min(steps) > 0
    assert max(steps) == pytest.approx(0.05, abs=1e-3)
