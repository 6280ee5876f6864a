"""Video in and out: files, cameras, network streams, folders of pictures."""

from co3d.video.address import hide_password
from co3d.video.damage import Damage
from co3d.video.frame import VideoFrame
from co3d.video.inputs import require_file
from co3d.video.limits import VideoLimits
from co3d.video.reader import VideoReader, read_video
from co3d.video.sample import sample_video
from co3d.video.source_state import SourceState
from co3d.video.writer import VideoWriter

__all__ = [
    "Damage",
    "SourceState",
    "VideoFrame",
    "VideoLimits",
    "VideoReader",
    "VideoWriter",
    "hide_password",
    "read_video",
    "require_file",
    "sample_video",
]
