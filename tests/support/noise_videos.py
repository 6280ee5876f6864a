"""Videos of coarse noise, and the section of a recipe that trains on them."""

import numpy as np

from support.miniature import write_mp4

FRAMES = 8


def write_noise(path, seed, frames=FRAMES):
    """A video of coarse noise: nothing in it says its class."""
    blocks = np.random.default_rng(seed).integers(0, 256, (frames, 4, 4, 3), dtype=np.uint8)
    return write_mp4(path, blocks.repeat(8, 1).repeat(8, 2))


def videos(path, **changes):
    base = {
        "kind": "videos",
        "path": str(path),
        "batch": 4,
        "clip_frames": 4,
        "rate_hz": 8.0,
        "crop_px": 32,
        "short_side_px": [32, 32],
        "flip": False,
        "workers": 0,
    }
    return {**base, **changes}
