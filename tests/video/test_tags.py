"""Tags in other encodings than UTF-8, as old recorders write them."""

from pathlib import Path

import av
import numpy as np
import pytest

from co3d.video import read_video

CODECS = {".flv": "flv", ".webm": "libvpx"}
FORMATS = {".mkv": "matroska", ".webm": "webm"}


@pytest.mark.parametrize("suffix", [".avi", ".flv", ".mkv", ".mov", ".mp4", ".webm"])
def test_a_tag_that_is_not_utf8_is_tolerated(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"video{suffix}"
    kind = FORMATS.get(suffix, suffix[1:])
    with av.open(str(path), "w", format=kind) as container:
        container.metadata["title"] = "CAFXXXX"
        stream = container.add_stream(CODECS.get(suffix, "mpeg4"), rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for index in range(8):
            picture = np.full((64, 64, 3), 9 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    assert data.count(b"CAFXXXX") == 1
    path.write_bytes(data.replace(b"CAFXXXX", b"CAF\xe9 \xff\xfe"))
    with read_video(path) as reader:
        assert sum(1 for _ in reader) == 8
