"""`open_indexed_video`: in this process or a sandboxed one, as the user chose."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from co3d.errors import Co3dError, SandboxError
from co3d.sandbox import Conversation, Sandbox, find_sandbox
from co3d.sandbox_child import ParentChannel
from co3d.video.indexed import IndexedVideo, open_indexed_here
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits


def open_indexed_video(
    path: Path,
    rate_hz: float | None = None,
    threads: int = 0,
    limits: VideoLimits = DEFAULT_LIMITS,
) -> IndexedVideo:
    """Open a video file or a folder of frames; inside `co3d.read_in_sandbox` in another process.

    Args: as for `open_indexed_here`, which raises the same.

    Raises:
        SandboxError: the process that decodes died.
    """
    sandbox = find_sandbox()
    if sandbox is None:
        return open_indexed_here(path, rate_hz, threads, limits)
    return SandboxedIndexedVideo(sandbox, path, rate_hz, threads, limits)


class SandboxedIndexedVideo:
    """A video in another process as an `IndexedVideo`."""

    def __init__(
        self,
        sandbox: Sandbox,
        path: Path,
        rate_hz: float | None,
        threads: int,
        limits: VideoLimits,
    ) -> None:
        self._path = path
        try:
            self._conversation: Conversation = sandbox.converse(
                serve_indexed, path, rate_hz, threads, limits
            )
            self.times_seconds, self.rate_hz = self._receive()
        except SandboxError as error:
            raise SandboxError(f"cannot read {path}: {error}") from error

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """Frames (T, H, W, 3) uint8 RGB; see `IndexedVideo.read`."""
        self._conversation.say(list(indices))
        try:
            answer = self._receive()
        except SandboxError as error:
            raise SandboxError(f"cannot read {self._path}: {error}") from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Free the process for another video."""
        self._conversation.close()

    def _receive(self) -> Any:
        try:
            return self._conversation.receive()
        except BaseException:
            self._conversation.close()
            raise


def serve_indexed(
    channel: ParentChannel, path: Path, rate_hz: float | None, threads: int, limits: VideoLimits
) -> None:
    """Open a video and read the requested frames; runs in the child process."""
    video = open_indexed_here(path, rate_hz, threads, limits)
    try:
        channel.say((video.times_seconds, video.rate_hz))
        for indices in channel.listen():
            try:
                answer = video.read(indices)
            except Co3dError as error:
                answer = error
            channel.say(answer)
    finally:
        video.close()
