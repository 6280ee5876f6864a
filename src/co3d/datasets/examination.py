"""Decode one video from its first frame to its last, and report what was found."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import numpy as np

from co3d.datasets.frame_times import estimate_rate, measure_duration
from co3d.errors import Co3dError, EmptyVideoError, NotAVideoError, SourceNotFoundError
from co3d.video.container import open_file, translate_pyav_errors
from co3d.video.damage import Damage
from co3d.video.decoder import VideoDecoder
from co3d.video.folder import decode_picture, list_pictures
from co3d.video.indexed import FOLDER_RATE_HZ
from co3d.video.picture import upright_size

State = Literal["whole", "missing", "unreadable", "zero-frame", "truncated"]


@dataclass(frozen=True)
class Examination:
    """The result of decoding a video.

    Attributes:
        state: "missing": no file; "unreadable": no video; "zero-frame": nothing decodes;
            "truncated": frames are lost, at the end or before; else "whole".
        reason: the message of the error, if there was one.
        frames: that decoded.
        seconds: for which they are shown. None for folders of frames that state no rate.
        stated_seconds: duration that the container states; None if it states none.
        rate_hz: mean frames per second; None as for `seconds`.
        is_variable: whether times between frames differ by more than half.
        width, height: in pixels, upright.
        content: hash of the decoded pictures; the same for copies in other containers.
    """

    state: State
    reason: str = ""
    frames: int = 0
    seconds: float | None = None
    stated_seconds: float | None = None
    rate_hz: float | None = None
    is_variable: bool = False
    width: int = 0
    height: int = 0
    content: str = ""


def examine(path: Path, folder_rate_hz: float | None = None) -> Examination:
    """Decode a video file, or a folder of frames, to its end; never raises for a bad one."""
    try:
        with translate_pyav_errors(str(path)):
            if path.is_dir():
                return _examine_folder(path, folder_rate_hz)
            return _examine_file(path)
    except SourceNotFoundError as error:
        return Examination("missing", str(error))
    except EmptyVideoError as error:
        return Examination("zero-frame", str(error))
    except Co3dError as error:
        return Examination("unreadable", str(error))


def _examine_file(path: Path) -> Examination:
    # Several videos are examined at a time, each by one thread.
    decoder = VideoDecoder(open_file(path), str(path), thread_type="NONE")
    try:
        times: list[float] = []
        content = hashlib.blake2b(digest_size=16)
        for frame in decoder.frames():
            times.append(frame.pts_seconds)
            _add_content(content, frame.frame)
        return _describe(
            np.array(times),
            content.hexdigest(),
            (decoder.width, decoder.height),
            decoder.losses.damage(),
            str(path),
            stated_seconds=decoder.duration_seconds,
        )
    finally:
        decoder.close()


def _examine_folder(folder: Path, rate_hz: float | None) -> Examination:
    paths = list_pictures(folder)
    content = hashlib.blake2b(digest_size=16)
    frames, lost, first = 0, [], None
    for number, frame in enumerate(map(decode_picture, paths)):
        if frame is None:
            lost.append(number)
            continue
        size = upright_size(frame)
        first = first or size
        if size != first:
            raise NotAVideoError(
                f"{folder} is not one video: {paths[number].name} is {size[0]}x{size[1]}, expected "
                f"{first[0]}x{first[1]} like the first picture; scale it or take it out"
            )
        frames += 1
        _add_content(content, frame)
    if first is None:
        raise EmptyVideoError(f"cannot read {folder}: none of {len(paths)} pictures decodes")
    assumed_hz = rate_hz or FOLDER_RATE_HZ
    damage = Damage(frames, len(lost), lost[0] / assumed_hz) if lost else None
    times = np.arange(frames) / assumed_hz
    return _describe(times, content.hexdigest(), first, damage, str(folder), timed=bool(rate_hz))


def _add_content(content: "hashlib.blake2b", frame: av.VideoFrame) -> None:
    content.update(frame.to_ndarray(format="gray").tobytes())


def _describe(
    times_seconds: np.ndarray,
    content: str,
    size: tuple[int, int],
    damage: Damage | None,
    name: str,
    *,
    stated_seconds: float | None = None,
    timed: bool = True,
) -> Examination:
    gaps = np.diff(times_seconds)
    uneven = len(gaps) > 1 and float(np.ptp(gaps)) > 0.5 * float(np.median(gaps))
    return Examination(
        "truncated" if damage else "whole",
        str(damage.to_error(name)) if damage else "",
        frames=len(times_seconds),
        seconds=measure_duration(times_seconds) if timed else None,
        stated_seconds=stated_seconds,
        rate_hz=estimate_rate(times_seconds) if timed and len(gaps) else None,
        is_variable=bool(uneven),
        width=size[0],
        height=size[1],
        content=content,
    )
