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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import torch

import co3d
from co3d.benchmark.machine import describe_hardware
from co3d.datasets.clips import VideoClips, read_clip
from co3d.datasets.manifest import Manifest, VideoEntry
from co3d.datasets.prepare import Recipe, copy_video
from co3d.datasets.sampling import Sampling
from co3d.datasets.seeking import SeekableVideo
from co3d.datasets.transforms import TestTransform, TrainTransform
from co3d.models.registry import get_card

MODEL = "x3d_s"
SAMPLE = Path(co3d.__file__).parent / "assets" / "sample.mp4"
ROUNDS = 5
CLIPS = 12
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
    """Frames per second of processor time when all frames of a video are wanted."""
    card = get_card(MODEL)
    frames = describe(path)["frames"]
    source = SeekableVideo(path, threads=1)
    rate_hz = (frames - 1) / (source.times_seconds[-1] - source.times_seconds[0])
    source.close()

    def read() -> Any:
        return read_clip(
            path, frames=0, rate_hz=rate_hz, sampling=Sampling(kind="whole"), threads=1
        ).frames

    pictures = read()
    if len(pictures) != frames:
        raise SystemExit(f"read {len(pictures)} frames, expected {frames}")
    train, test = TrainTransform(card, **JITTER), TestTransform(card)
    augment = TrainTransform(card, operations=2)
    stages: dict[str, Callable[[], Any]] = {
        "plain PyAV: decode": lambda: decode_plainly(path, to_rgb=False),
        "plain PyAV: decode, to RGB": lambda: decode_plainly(path, to_rgb=True),
        "read_clip: index, decode, to RGB": read,
        "test transform alone": lambda: test(pictures),
        "training transform alone (scale, crop, flip, colours)": lambda: train(pictures),
        "training transform alone (with RandAugment, 2 operations)": lambda: augment(pictures),
        "read_clip and test transform": lambda: test(read()),
        "read_clip and training transform": lambda: train(read()),
    }
    return {name: frames / measure(stage) for name, stage in stages.items()}


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


def decode_plainly(path: Path, *, to_rgb: bool) -> int:
    """Decode all frames as a short program would."""
    count = 0
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            count += 1
            if to_rgb:
                frame.to_ndarray(format="rgb24")
    return count


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
