"""Open cameras attached to this machine."""

import sys

from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.error import FFmpegError

from co3d.errors import CameraError
from co3d.video.container import open_media


def open_camera(index: int | str, hwaccel: HWAccel | None = None) -> InputContainer:
    """Open a local camera by its number, or by its path on Linux.

    Raises:
        CameraError: it is absent, busy, or may not be used.
    """
    try:
        if isinstance(index, str):
            return open_media(index, "v4l2", hwaccel=hwaccel)
        if sys.platform == "win32":
            return open_media(f"video={_directshow_name(index)}", "dshow", hwaccel=hwaccel)
        if sys.platform == "darwin":
            options = {"framerate": "30"}
            place = f"{index}:none"
            return open_media(place, "avfoundation", container_options=options, hwaccel=hwaccel)
        return open_media(f"/dev/video{index}", "v4l2", hwaccel=hwaccel)
    except (FFmpegError, ValueError) as error:
        raise CameraError(
            f"cannot open camera {index}: {error}; check that it is plugged in, that no other "
            "program uses it, and that this one may"
        ) from error


def _directshow_name(index: int) -> str:
    from av.device import enumerate_input_devices

    devices = enumerate_input_devices("dshow")
    cameras = [device.name for device in devices if "video" in device.media_types]
    if not 0 <= index < len(cameras):
        raise ValueError(f"{len(cameras)} cameras found")
    return cameras[index]
