"""The sample video that the package brings."""

from importlib import resources


def sample_video() -> str:
    """Path of the bundled sample: a camera pans, tilts, zooms and rolls over photographs for 27 s.

    `sample.txt` beside it states its licence and how it was made.
    """
    return str(resources.files("co3d") / "assets" / "sample.mp4")
