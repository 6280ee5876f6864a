"""`co3d stream` and `co3d demo`."""

from pathlib import Path
from typing import Annotated

import typer

from co3d.cli.commands.declared import DEBUG_HINT, DeviceOption, SandboxOption, WindowOption
from co3d.cli.exit_codes import describe_exit_codes
from co3d.cli.options import Flip, Gap, Policy, RtspTransport, StreamOptions

STREAM_EPILOG = """
**Examples**

```
co3d stream match.mp4 --output annotated.mp4 --timeline timeline.png
co3d stream 0 --policy latest
co3d stream rtsp://host/stream --json | jq 'select(.top).top'
co3d stream 0 --rotate 180 --crop 320,0,640,720 --threshold 0.5 --smooth 1
co3d stream rtsp://host/stream --record recordings/ --record-seconds 300
ffmpeg -i SOURCE -f mpegts - | co3d stream -
co3d stream match.mp4 --model camera_motion.onnx
co3d stream frames/ --model x3d_m --weights kinetics400 --window 64
co3d stream match.mp4 --model runs/mine
co3d stream door.mp4 yard.mp4 rtsp://host/stream --json
```

**Exit codes**
"""

streaming_app = typer.Typer()


@streaming_app.command(epilog="\n\n".join((STREAM_EPILOG, describe_exit_codes(), DEBUG_HINT)))
def stream(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="A file, folder of frames, camera number or path, rtsp:// or http:// URL, FIFO, "
            "or - for standard input; several are labelled at once.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="A name that `co3d models` lists, the folder of a training run, or a file that "
            "`co3d export` wrote."
        ),
    ] = "camera_motion",
    weights: Annotated[
        str | None,
        typer.Option(help="A tag that `co3d models` lists, or a checkpoint file; bundled if any."),
    ] = None,
    window: WindowOption = None,
    top: Annotated[int | None, typer.Option(help="How many labels to show; 3 by default.")] = None,
    threshold: Annotated[
        float,
        typer.Option(
            metavar="P", help="Show only labels of at least this probability, from 0 to 1."
        ),
    ] = 0.0,
    smooth: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Average probabilities over about so long a time; what is older counts "
            "exponentially less. Labels flicker less, and a change shows 0.7 times as much later.",
        ),
    ] = 0.0,
    output: Annotated[
        Path | None, typer.Option(help="Write the video with the labels drawn on it.")
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="Draw the labels over time: .png, .svg or .pdf.")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one object a line: type (prediction), frame_index, pts_seconds, "
            "from_seconds (where the window begins), valid, gap_seconds, undersampled, top, "
            "latency_ms (preprocessing and step), lag_ms (from arrival), received_at, "
            "dropped_frames; of several sources also camera. Between them, of live sources, type "
            "(state), state, since, cause.",
        ),
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the video's own packets there too, not encoded again, in Matroska files "
            "that play by themselves and are named by their time; dropped frames included.",
        ),
    ] = None,
    record_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="How long such a file is, up to the next key frame; 60 by default.",
        ),
    ] = None,
    policy: Annotated[
        Policy | None,
        typer.Option(
            help="Live sources: see the latest frame and drop what comes too fast (the default "
            "except for pipes), or let the source wait until every frame is seen."
        ),
    ] = None,
    gap: Annotated[
        Gap,
        typer.Option(
            help="After a gap in the source's time: start anew, so that no result mixes what came "
            "before and after, or hold the picture and keep going."
        ),
    ] = "reset",
    rate_hz: Annotated[
        float | None, typer.Option(help="Frames a second to sample; the model's own by default.")
    ] = None,
    rotate: Annotated[
        int,
        typer.Option(
            metavar="0|90|180|270",
            help="Turn pictures clockwise by so many degrees, after any rotation that the file "
            "itself states.",
        ),
    ] = 0,
    flip: Annotated[
        Flip | None,
        typer.Option(
            help="Mirror the turned pictures: left and right (horizontal), top and bottom."
        ),
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,WIDTH,HEIGHT",
            help="Keep this part of the turned and mirrored pictures alone, in pixels from their "
            "top left corner on.",
        ),
    ] = None,
    reconnect: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long to try again when a network stream is not there or breaks off; 0 tries "
            "once. By default for ever, and for 30 s where a recording far away breaks off.",
        ),
    ] = None,
    rtsp_transport: Annotated[
        RtspTransport,
        typer.Option(help="What RTSP sends video over; auto takes UDP where TCP is refused."),
    ] = "auto",
    poll_hz: Annotated[
        float | None,
        typer.Option(
            help="How often to ask an address that answers with a single picture; by default as "
            "often as the network sees one."
        ),
    ] = None,
    folder_rate: Annotated[
        float, typer.Option(metavar="HZ", help="Pictures a second of a folder of frames.")
    ] = 30.0,
    threads: Annotated[
        int | None,
        typer.Option(help="Processor threads; by default one for small networks, else all."),
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="What runs the network: auto, native, triton, openvino, onnxruntime, torch."
        ),
    ] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(
            help="Of weights, frames and state: float32 (the default, but for exported files, "
            "which have their own), float64, bfloat16 or float16."
        ),
    ] = None,
    device: DeviceOption = "cpu",
    _sandbox: SandboxOption = False,
) -> None:
    """Label a video as it plays, one prediction per sampled frame.

    Each prediction carries the time of the frame that it describes. In a terminal it shows a live
    view, else one line a prediction. Ctrl-C ends it with all outputs complete.
    """
    from co3d.cli.stream import stream_video
    from co3d.cli.watch import stream_sources

    options = StreamOptions(
        source=sources[0],
        model=model,
        weights=weights,
        window=window,
        top_k=top,
        threshold=threshold,
        smooth_seconds=smooth,
        output=output,
        timeline=timeline,
        as_json=as_json,
        policy=policy,
        gap=gap,
        rate_hz=rate_hz,
        rotate=rotate,
        flip=flip,
        crop=crop,
        record=record,
        record_seconds=record_seconds,
        reconnect_seconds=reconnect,
        rtsp_transport=rtsp_transport,
        poll_hz=poll_hz,
        folder_rate_hz=folder_rate,
        threads=threads,
        backend=backend,
        precision=precision,
        device=device,
    )
    several = len(sources) > 1
    raise typer.Exit(stream_sources(sources, options) if several else stream_video(options))


@streaming_app.command(epilog=DEBUG_HINT)
def demo(
    output_dir: Annotated[Path, typer.Option(help="Where to write; made if absent.")] = Path(
        "demo"
    ),
) -> None:
    """Stream the bundled sample, compare with its truth, and time it against the clip network."""
    from co3d.cli.demo import run_demo

    run_demo(output_dir)
