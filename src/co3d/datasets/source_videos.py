"""Find entries of a data set that were cut from the same source video."""

import re
from pathlib import PurePosixPath

from co3d.datasets.manifest import VideoEntry

# Kinetics: YouTube id, then start and end. UCF101: class, group, number of the clip.
# HMDB51: source and class, what is seen of whom and how, number of the clip.
_CUTS = (
    re.compile(r"(?P<source>[\w-]{11})_\d{6}_\d{6}"),
    re.compile(r"(?P<source>v_\w+_g\d+)_c\d+"),
    re.compile(r"(?P<source>.+)_[fhlu]_[cn]m_np\d_(ba|fr|le|ri)_(bad|goo|med)_\d+"),
)


def name_source(entry: VideoEntry) -> str:
    """A name shared by all entries of one source video.

    The source is the one that the data set names. Parts of one file share its path. Files share a
    source if their names follow the patterns of Kinetics, UCF101 or HMDB51 and agree in them.
    """
    if entry.source is not None:
        return entry.source
    path = PurePosixPath(entry.path)
    for pattern in _CUTS:
        if found := pattern.fullmatch(path.stem):
            return found["source"].removesuffix(f"_{path.parent.name}")
    return str(path)
