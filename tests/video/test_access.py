"""Addresses and files that a source names are opened only where `Reach` allows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from co3d.errors import Co3dError, EmptyVideoError, NotAVideoError
from co3d.video import access, read_video
from co3d.video.access import Distance, measure_distance
from co3d.video.container import open_file
from support.servers import send, serve

FRAMES = 20


@pytest.fixture(scope="module")
def clip(tmp_path_factory, make) -> Path:
    return make(tmp_path_factory.mktemp("clip") / "clip.ts", FRAMES)


@contextmanager
def serve_paths(answers: dict[str, bytes | str]) -> Iterator[tuple[str, list[str]]]:
    """Serve bytes, or a redirect for text; yields the address and the paths that were requested."""
    asked: list[str] = []

    def answer(handler, _number) -> None:
        asked.append(handler.path)
        content = answers.get(handler.path)
        if content is None:
            handler.send_error(404)
        elif isinstance(content, str):
            handler.send_response(302)
            handler.send_header("Location", content)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        else:
            send(handler, content, len(content))

    with serve(answer) as url:
        yield url.rsplit("/", 1)[0], asked


def playlist(*names: str, head: str = "") -> bytes:
    lines = "".join(f"#EXTINF:1,\n{name}\n" for name in names)
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{head}{lines}#EXT-X-ENDLIST\n".encode()


def count_frames(address: str, drain) -> int:
    frames, _ = drain(read_video(address, reconnect_seconds=0))  # they state no length
    return len(frames)


@pytest.fixture
def far_away(monkeypatch) -> None:
    """Let 127.0.0.1 count as public, and localhost as this machine."""

    def measure(host: str) -> Distance:
        return Distance.PUBLIC if host == "127.0.0.1" else measure_distance(host)

    monkeypatch.setattr(access, "measure_distance", measure)


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.txt"])
@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_a_local_playlist_reads_no_other_file(tmp_path, clip, name, form):
    named = str(clip) if form == "absolute" else f"../{clip.parent.name}/{clip.name}"
    path = tmp_path / name
    path.write_bytes(playlist(named))
    with pytest.raises(NotAVideoError, match="playlist"):
        read_video(path)


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile '{clip}'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="1"><BaseURL>{clip}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>",
    ],
)
@pytest.mark.parametrize("suffix", [".ffconcat", ".sdp", ".mpd", ".mp4"])
def test_playlists_with_other_suffixes_are_refused(tmp_path, clip, text, suffix):
    path = tmp_path / f"list{suffix}"
    path.write_text(text.format(clip=clip))
    with pytest.raises((NotAVideoError, EmptyVideoError)):
        open_file(path)
    if suffix != ".sdp" or not text.startswith("v=0"):  # an .sdp file of a session is valid
        with pytest.raises((NotAVideoError, EmptyVideoError)):
            read_video(path)


def test_a_picture_that_is_a_playlist_fetches_nothing(tmp_path, clip):
    with serve_paths({"/a.ts": clip.read_bytes()}) as (host, asked):
        (tmp_path / "1.png").write_bytes(playlist(f"{host}/a.ts"))
        with pytest.raises(EmptyVideoError):
            read_video(tmp_path)
    assert asked == []


def test_playlists_and_redirects_work_over_http(clip, drain):
    data = clip.read_bytes()
    answers = {
        "/moved/list.m3u8": "/live/list.m3u8",
        "/live/list.m3u8": playlist("a.ts", "b.ts"),
        "/live/a.ts": data,
        "/live/b.ts": "/elsewhere/b.ts",
        "/elsewhere/b.ts": data,
        "/moved.ts": "/live/a.ts",
    }
    with serve_paths(answers) as (host, asked):
        assert count_frames(f"{host}/moved.ts", drain) == FRAMES
        assert count_frames(f"{host}/moved/list.m3u8", drain) > FRAMES  # of both parts
    assert asked[-1] == "/elsewhere/b.ts"


def test_relative_addresses_of_a_redirected_playlist_resolve_against_its_new_place(clip, drain):
    """A variant redirects to another folder, where its relative addresses lie."""
    master = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=64x48\nthere/list.m3u8\n"
    answers = {
        "/master.m3u8": master,
        "/there/list.m3u8": "/else/where/list.m3u8?token=a",
        "/else/where/list.m3u8?token=a": playlist("a.ts", "../b.ts"),
        "/else/where/a.ts": clip.read_bytes(),
        "/else/b.ts": clip.read_bytes(),
    }
    with serve_paths(answers) as (url, asked):
        assert count_frames(f"{url}/master.m3u8", drain) == 2 * FRAMES
    assert "/there/a.ts" not in asked


def test_a_public_address_may_not_redirect_to_this_machine(clip, drain, far_away):
    data = clip.read_bytes()
    answers: dict[str, bytes | str] = {"/a.ts": data}
    with serve_paths(answers) as (host, asked):
        close_by = host.replace("127.0.0.1", "localhost")
        answers["/moved.ts"] = f"{close_by}/secret.ts"
        answers["/list.m3u8"] = playlist("a.ts", f"{close_by}/secret.ts")
        answers["/files.m3u8"] = playlist(f"file://{clip}")
        answers["/moved.m3u8"] = playlist("a.ts", "moved.ts")
        answers["/locked.m3u8"] = playlist(
            "a.ts", head=f'#EXT-X-KEY:METHOD=AES-128,URI="{close_by}/secret.ts"\n'
        )
        for name in ("moved.ts", "list.m3u8", "moved.m3u8", "locked.m3u8"):
            with pytest.raises(NotAVideoError, match=r"nearer to this machine|encrypted"):
                for _ in read_video(f"{host}/{name}", reconnect_seconds=0):
                    pass
        with pytest.raises(Co3dError):
            read_video(f"{host}/files.m3u8", reconnect_seconds=0)
        assert count_frames(f"{host}/a.ts", drain) == FRAMES
    assert "/secret.ts" not in asked


def test_malformed_addresses_are_refused(clip):
    with pytest.raises(NotAVideoError, match="is no address"):
        read_video("http://[bad/a.ts", reconnect_seconds=0)
    with serve_paths({"/a.ts": "http://[bad/a.ts"}) as (host, _), pytest.raises(Co3dError):
        read_video(f"{host}/a.ts", reconnect_seconds=0)


@pytest.mark.parametrize(
    ("host", "distance"),
    [
        ("127.0.0.1", Distance.LOOPBACK),
        ("0.0.0.0", Distance.LOOPBACK),
        ("2130706433", Distance.LOOPBACK),
        ("::1", Distance.LOOPBACK),
        ("::ffff:127.0.0.1", Distance.LOOPBACK),
        ("10.0.0.1", Distance.PRIVATE),
        ("169.254.169.254", Distance.PRIVATE),
        ("fe80::1", Distance.PRIVATE),
        ("100.64.0.1", Distance.PRIVATE),
        ("1.1.1.1", Distance.PUBLIC),
        ("2606:4700::1111", Distance.PUBLIC),
        ("", Distance.PUBLIC),
    ],
)
def test_distances_of_hosts(host, distance):
    assert measure_distance(host) is distance
