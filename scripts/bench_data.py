"""Speed of the data pipeline on one core, against plain PyAV decoding of the same video.

    python scripts/bench_data.py --output docs/results

Everything runs on one thread and is timed by the processor time that it takes, so that other
programs on the machine change little. The video is the bundled sample; `--video` takes another.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

import co3d
from co3d.benchmark.machine import describe_hardware
from co3d.datasets.clips import VideoClips
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.prepare import Recipe, copy_video
from co3d.datasets.sampling import Sampling
from co3d.datasets.transforms import TestTransform, TrainTransform
from co3d.models.registry import get_card
from co3d.video.seeking import SeekableVideo

MODEL = "x3d_s"
SAMPLE = Path(co3d.__file__).parent / "assets" / "sample.mp4"
ROUNDS = 5
CLIPS = 12
CLIP_FRAMES = 16
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4}


def main() -> None:
    """Measure everything, and write bench_data.json and bench_data.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("--video", type=Path, default=SAMPLE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        "command": "python scripts/bench_data.py",
        "hardware": describe_hardware(),
        "versions": {"av": av.__version__, "torch": torch.__version__},
        "model": MODEL,
        "video": describe(args.video),
        "frames_per_second": measure_stages(args.video),
        "clips_per_second": measure_clips(args.video),
    }
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "bench_data.json").write_text(json.dumps(result, indent=2) + "\n")
    (args.output / "bench_data.md").write_text(format_markdown(result))
    print((args.output / "bench_data.md").read_text())


def describe(path: Path) -> dict[str, Any]:
    """Size, length and key frames of a video."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        return {
            "name": path.name,
            "width": stream.codec_context.width,
            "height": stream.codec_context.height,
            "codec": stream.codec_context.name,
            "frames": len(packets),
            "key_frames": sum(packet.is_keyframe for packet in packets),
        }


def measure_stages(path: Path) -> dict[str, float]:
    """Frames per second of processor time when all frames of a video are wanted.

    The pipeline takes them as clips of CLIP_FRAMES, one after another.
    """
    card = get_card(MODEL)
    frames = describe(path)["frames"] // CLIP_FRAMES * CLIP_FRAMES
    clip = next(read_clips(path))
    transforms = {
        "test transform": TestTransform(card),
        "training transform (scale, crop, flip)": TrainTransform(card),
        "training transform (and colours)": TrainTransform(card, **JITTER),
        "training transform (and RandAugment, 2 operations)": TrainTransform(card, operations=2),
    }
    rates = {
        "plain PyAV: decode": frames / measure(lambda: decode_plainly(path, frames, False)),
        "plain PyAV: decode, to RGB": frames / measure(lambda: decode_plainly(path, frames, True)),
        "read: index, decode, to RGB, stack": frames / measure(lambda: drain(read_clips(path))),
    }
    for name, transform in transforms.items():
        alone = partial(map, transform, [clip] * (frames // CLIP_FRAMES))
        rates[f"{name} alone"] = frames / measure(lambda alone=alone: drain(alone()))
    for name, transform in transforms.items():
        both = partial(map, transform)
        rates[f"read, {name}"] = frames / measure(lambda both=both: drain(both(read_clips(path))))
    return rates


def read_clips(path: Path) -> Iterator[np.ndarray]:
    """All frames of a video as clips (CLIP_FRAMES, H, W, 3)."""
    source = SeekableVideo(path, threads=1)
    for start in range(0, len(source.times_seconds) - CLIP_FRAMES + 1, CLIP_FRAMES):
        yield source.read(range(start, start + CLIP_FRAMES))
    source.close()


def measure_clips(path: Path) -> dict[str, float]:
    """Random training clips per second of processor time, from original and prepared copy."""
    card = get_card(MODEL)
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.mp4"
        entry = VideoEntry("video", path.name, ())
        copy_video(path, entry, prepared, Recipe(short_side_px=card.short_side_px))
        return {
            f"{name} ({describe(place)['key_frames']} key frames)": CLIPS
            / measure(lambda place=place: draw_clips(place, card))
            for name, place in (("original", path), ("prepared copy", prepared))
        }


def draw_clips(path: Path, card: Any) -> None:
    """Open a video anew for each of some random clips, as a shuffled epoch does."""
    entries = tuple(VideoEntry(str(number), path.name, ()) for number in range(CLIPS))
    manifest = Manifest(path.parent, (), entries)
    clips = VideoClips(manifest, card, Sampling(kind="random"), TrainTransform(card), strict=True)
    torch.manual_seed(0)
    for number in range(CLIPS):
        clips[number]


def decode_plainly(path: Path, frames: int, to_rgb: bool) -> None:
    """Decode so many frames as a short program would."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in islice(container.decode(video=0), frames):
            if to_rgb:
                frame.to_ndarray(format="rgb24")


def drain(items: Iterable[object]) -> None:
    """Take everything and keep nothing."""
    for _ in items:
        pass


def measure(call: Callable[[], Any]) -> float:
    """Median processor time of a call in seconds."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def format_markdown(result: dict[str, Any]) -> str:
    """The figures as tables."""
    video, stages = result["video"], result["frames_per_second"]
    plain = stages["plain PyAV: decode, to RGB"]
    lines = [
        f"One core of {result['hardware']}; PyAV {result['versions']['av']}, torch "
        f"{result['versions']['torch']}. {video['name']}: {video['width']}x{video['height']} "
        f"{video['codec']}, {video['frames']} frames. Input of {result['model']}. Written by "
        f"`{result['command']}`.",
        "",
        "| all frames of the video | frames/s | ÷ plain decoding to RGB |",
        "|---|---:|---:|",
        *(f"| {name} | {rate:,.0f} | {rate / plain:.2f} |" for name, rate in stages.items()),
        "",
        "| random training clips, one a video | clips/s |",
        "|---|---:|",
        *(f"| {name} | {rate:.1f} |" for name, rate in result["clips_per_second"].items()),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
