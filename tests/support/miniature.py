"""Miniature Kinetics and Charades, filmed by the virtual camera, with files good and bad.

Their classes are motions of the camera, so that the bundled network can be measured on them.
"""

import csv
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from co3d.datasets.generated.journeys import draw_journeys
from co3d.datasets.generated.motions import draw_paths
from co3d.datasets.generated.textures import polygons
from co3d.datasets.generated.virtual_camera import CameraPath, render
from co3d.models.camera_motion import CAMERA_MOTIONS

RATE_HZ = 16
FRAMES = 32
SIZE_PX = (96, 64)
TICKS_PER_SECOND = 16_000
CANVAS_PX = 256
VIEW_PX = 96.0
KINDS = ("valid", "silent", "long", "short", "variable", "rotated", "non-ascii", "broken", "empty")
"""What each video of a miniature Kinetics is, in turn; "missing" ones stand in the list only."""

BAD_KINDS = frozenset({"broken", "empty", "missing"})


@dataclass(frozen=True)
class Miniature:
    """A small data set on disk.

    Attributes:
        root: its folder.
        kinds: video id -> one of `KINDS` or "missing".
        labels: video id -> indices into `CAMERA_MOTIONS`.
        frames: video id -> number of frames that the camera filmed.
    """

    root: Path
    kinds: dict[str, str]
    labels: dict[str, tuple[int, ...]]
    frames: dict[str, int]

    @property
    def readable(self) -> set[str]:
        """Ids of the videos that decode whole."""
        return {video_id for video_id, kind in self.kinds.items() if kind not in BAD_KINDS}


def film_motion(label: int, frames: int, seed: int, size: tuple[int, int] = SIZE_PX) -> np.ndarray:
    """Frames (T, H, W, 3) uint8 of one motion, at RATE_HZ."""
    generator = torch.Generator().manual_seed(seed)
    path = draw_paths(torch.tensor([label]), frames, RATE_HZ, generator)
    return _film(path, seed, size)


def film_journey(frames: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, H, W, 3) uint8 of one motion after another, and the label of each (T,)."""
    generator = torch.Generator().manual_seed(seed)
    path, labels = draw_journeys(1, frames, RATE_HZ, generator)
    return _film(path, seed, SIZE_PX), labels[0].numpy()


def write_mp4(
    path: Path,
    frames: np.ndarray,
    *,
    sound: bool = False,
    times: Sequence[float] | None = None,
    gop_frames: int = 12,
) -> Path:
    """Encode frames (T, H, W, 3) uint8 at RATE_HZ, or shown at `times` in seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = [number / RATE_HZ for number in range(len(frames))] if times is None else times
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE_HZ, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.codec_context.gop_size = gop_frames
        stream.codec_context.time_base = Fraction(1, TICKS_PER_SECOND)
        audio = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for image, seconds in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(seconds * TICKS_PER_SECOND), Fraction(1, 16_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None:
            samples = np.zeros((1, round(8000 * len(frames) / RATE_HZ)), np.float32)
            tone = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            tone.rate, tone.pts = 8000, 0
            container.mux(audio.encode(tone))
            container.mux(audio.encode(None))
    return path


def write_pictures(folder: Path, frames: np.ndarray, pattern: str = "{:06d}.jpg") -> Path:
    """Write frames as pictures, counted from one."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(frames, 1):
        Image.fromarray(image).save(folder / pattern.format(number), quality=92)
    return folder


def set_rotation(path: Path) -> None:
    """Say in an .mp4 file that players must turn it clockwise by a quarter."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    matrix = (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    data[start : start + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)


def make_kinetics(
    root: Path,
    *,
    classes: Sequence[str] = ("pan left", "zoom in", "roll clockwise"),
    per_class: int = len(KINDS),
    kinds: Sequence[str] = KINDS,
    missing: int = 1,
    as_frames: bool = False,
    underscores: bool = False,
    split: str = "val",
    seed: int = 0,
) -> Miniature:
    """Write `root/splits/SPLIT.csv` and `root/SPLIT/CLASS/ID_START_END.mp4` (or frame folders).

    Args:
        root: made where absent.
        classes: some of `CAMERA_MOTIONS`.
        per_class: videos of each class.
        kinds: what they are, in turn; a frame folder is always valid, short, long or missing.
        missing: further videos of the first class that stand in the list only.
        as_frames: folders of pictures instead of video files.
        underscores: in the names of the class folders.
        split: its name.
        seed: of the pictures and motions.
    """
    rows: list[dict[str, object]] = []
    made = Miniature(root, {}, {}, {})
    for row, name in enumerate(classes):
        wanted = [kinds[number % len(kinds)] for number in range(per_class)]
        for number, kind in enumerate(wanted + ["missing"] * (missing if row == 0 else 0)):
            stem = "ü漢字" if kind == "non-ascii" else kind.replace("-", "")
            video_id = f"{stem}-{row}-{number:04d}"
            frames = {"short": 3, "long": 4 * FRAMES}.get(kind, FRAMES)
            seconds = -(-frames // RATE_HZ)
            full_id = f"{video_id}_{0:06d}_{seconds:06d}"
            label = CAMERA_MOTIONS.index(name)
            folder = root / split / (name.replace(" ", "_") if underscores else name)
            _write_kind(folder / full_id, kind, label, frames, as_frames, seed + 100 * row + number)
            made.kinds[full_id], made.labels[full_id] = kind, (label,)
            made.frames[full_id] = frames
            rows.append(
                {
                    "label": name,
                    "youtube_id": video_id,
                    "time_start": 0,
                    "time_end": seconds,
                    "split": split,
                }
            )
    _write_csv(root / "splits" / f"{split}.csv", rows)
    return made


def make_charades(
    root: Path, *, videos: int = 3, frames: int = 160, as_frames: bool = False, seed: int = 0
) -> Miniature:
    """Write a miniature Charades: official CSVs with videos, or frame folders with frame lists.

    With videos: `Charades_v1_classes.txt`, `Charades_v1_test.csv` and `Charades_v1_480/ID.mp4`.
    With frames: `val.csv` as PySlowFast reads it, and `Charades_v1_rgb/ID/ID-000001.jpg`, which
    are to be played at 24 frames/s.
    """
    made = Miniature(root, {}, {}, {})
    rows: list[dict[str, object]] = []
    root.mkdir(parents=True, exist_ok=True)
    for number in range(videos):
        video_id = f"MINI{number}"
        pictures, labels = film_journey(frames, seed + number)
        made.kinds[video_id], made.frames[video_id] = "valid", frames
        made.labels[video_id] = tuple(sorted(set(labels.tolist())))
        if as_frames:
            write_pictures(
                root / "Charades_v1_rgb" / video_id, pictures, f"{video_id}-{{:06d}}.jpg"
            )
            rows += [
                {
                    "original_vido_id": video_id,
                    "video_id": number,
                    "frame_id": index,
                    "path": f"{video_id}/{video_id}-{index + 1:06d}.jpg",
                    "labels": f'"{label}"',
                }
                for index, label in enumerate(labels.tolist())
            ]
            continue
        write_mp4(root / "Charades_v1_480" / f"{video_id}.mp4", pictures)
        cuts = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), frames]
        actions = ";".join(
            f"c{labels[start]:03d} {start / RATE_HZ:.2f} {end / RATE_HZ:.2f}"
            for start, end in pairwise(cuts)
        )
        rows.append({"id": video_id, "actions": actions, "length": f"{frames / RATE_HZ:.2f}"})
    if as_frames:
        heading = " ".join(rows[0])
        lines = [heading, *(" ".join(map(str, row.values())) for row in rows)]
        (root / "val.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        _write_csv(root / "Charades_v1_test.csv", rows)
    names = "".join(f"c{index:03d} {name}\n" for index, name in enumerate(CAMERA_MOTIONS))
    (root / "Charades_v1_classes.txt").write_text(names, encoding="utf-8")
    return made


def _film(path: CameraPath, seed: int, size: tuple[int, int]) -> np.ndarray:
    canvas = polygons(CANVAS_PX, np.random.default_rng(seed))
    picture = torch.from_numpy(np.ascontiguousarray(canvas)).permute(2, 0, 1)[None].float()
    clip = render(picture, path.view_points(size[1], size[0]), torch.tensor([VIEW_PX]))[0]
    return (clip.permute(1, 2, 3, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def _write_kind(
    target: Path, kind: str, label: int, frames: int, as_frames: bool, seed: int
) -> None:
    """Write one video beside `target`, whose name lacks the suffix."""
    if kind == "missing":
        return
    pictures = film_motion(label, frames, seed)
    if as_frames:
        write_pictures(target, pictures)
        return
    path = target.with_name(target.name + ".mp4")
    if kind == "rotated":
        write_mp4(path, np.ascontiguousarray(np.rot90(pictures, axes=(1, 2))))
        set_rotation(path)
    elif kind == "variable":
        random = np.random.default_rng(seed)
        jitter = random.uniform(-0.4, 0.4, frames) / RATE_HZ
        write_mp4(path, pictures, times=(np.arange(frames) / RATE_HZ + jitter).clip(0).tolist())
    else:
        write_mp4(path, pictures, sound=kind == "valid")
    if kind == "broken":
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        path.write_bytes(b"")


def _write_csv(path: Path, rows: Sequence[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
