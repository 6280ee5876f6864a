"""Which entries of a data set were cut from the same source video."""

import re
from pathlib import PurePosixPath

from co3d.datasets.manifest import VideoEntry

# Kinetics: the video's id on YouTube, then start and end. UCF101: class, group, number of the clip.
_CUTS = (
    re.compile(r"(?P<source>[\w-]{11})_\d{6}_\d{6}"),
    re.compile(r"(?P<source>v_\w+_g\d+)_c\d+"),
)


def name_source(entry: VideoEntry) -> str:
    """A name that entries of one source video share.

    Parts of one file share its path. Files share a source where their names say so as those of
    Kinetics and UCF101 do.
    """
    path = PurePosixPath(entry.path)
    for pattern in _CUTS:
        if found := pattern.fullmatch(path.stem):
            return found["source"]
    return str(path)
