"""`co3d stream` and `co3d demo`."""

from pathlib import Path
from typing import Annotated

import typer

from co3d.cli.commands.declared import (
    DEBUG_HINT,
    DeviceOption,
    LabelsOption,
    MeanOption,
    SandboxOption,
    ShortSideOption,
    StdOption,
    WindowOption,
)
from co3d.cli.options import (
    CardOptions,
    Flip,
    Gap,
    Policy,
    RtspTransport,
    StreamOptions,
    TlsMode,
    read_crop,
)

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
co3d stream match.mp4 --model my_network.py:build --clip 3,16,112,112 --rate-hz 8 \\
    --mean 0.45,0.45,0.45 --std 0.225,0.225,0.225 --labels names.txt
co3d stream frames/ --model x3d_m --weights kinetics400 --window 64
co3d stream match.mp4 --model runs/mine
co3d stream door.mp4 yard.mp4 rtsp://host/stream --json
```

`co3d help exit-codes` explains the exit codes of all commands.
"""

streaming_app = typer.Typer()


@streaming_app.command(epilog="\n\n".join((STREAM_EPILOG, DEBUG_HINT)))
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
            help="A name that `co3d models` lists, the folder of a training run, a file that "
            "`co3d export` wrote, or FILE.py:FACTORY: a Python file of yours and a function in it "
            "that returns the network. The file is run."
        ),
    ] = "camera_motion",
    weights: Annotated[
        str | None,
        typer.Option(help="A tag that `co3d models` lists, or a checkpoint file; bundled if any."),
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option(
            metavar="C,T,H,W",
            help="With FILE.py:FACTORY: clip that it was trained on; else its own card's.",
        ),
    ] = None,
    labels: LabelsOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    short_side: ShortSideOption = None,
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
            help="Average probabilities over about so many seconds, exponentially weighted. Labels "
            "flicker less, and show a change later by 0.7 times as long.",
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
            help="Also write the video's own packets there, without re-encoding, in Matroska files "
            "that each play alone and are named by their time; dropped frames are included.",
        ),
    ] = None,
    record_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Length of such a file, up to the next key frame; 60 by default.",
        ),
    ] = None,
    policy: Annotated[
        Policy | None,
        typer.Option(
            help="Live sources: take the latest frame and drop what comes too fast (the default "
            "except for pipes), or let the source wait until every frame is processed."
        ),
    ] = None,
    gap: Annotated[
        Gap,
        typer.Option(
            help="After a gap in the source's time: reset, so that no result mixes frames from "
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
            help="Rotate pictures clockwise by so many degrees, after any rotation that the file "
            "itself states.",
        ),
    ] = 0,
    flip: Annotated[
        Flip | None,
        typer.Option(
            help="Mirror the rotated pictures: left and right (horizontal), top and bottom."
        ),
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,WIDTH,HEIGHT",
            help="Keep only this part of the rotated and mirrored pictures, in pixels from their "
            "top left corner.",
        ),
    ] = None,
    reconnect: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long to retry when a network stream is not there or breaks off; 0 tries "
            "once. By default for ever, and for 30 s if a remote recording breaks off.",
        ),
    ] = None,
    rtsp_transport: Annotated[
        RtspTransport,
        typer.Option(help="What RTSP sends video over; auto takes UDP where TCP is refused."),
    ] = "auto",
    poll_hz: Annotated[
        float | None,
        typer.Option(
            help="How often to request an address that answers with a single picture; by default "
            "at the network's rate."
        ),
    ] = None,
    decode: Annotated[
        str,
        typer.Option(
            help="What decodes the video: cpu, a kind of device such as cuda or vaapi, or auto, "
            "which takes a device if one can. A device's pixels may differ from the CPU's."
        ),
    ] = "cpu",
    tls: Annotated[
        TlsMode,
        typer.Option(
            help="Whether the certificates of https and rtsps sources are verified; off takes any, "
            "such as one that a camera has signed itself."
        ),
    ] = "verify",
    ca_file: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="Authorities to trust instead of the system's."),
    ] = None,
    folder_rate: Annotated[
        float, typer.Option(metavar="HZ", help="Pictures a second of a folder of frames.")
    ] = 30.0,
    threads: Annotated[
        int | None,
        typer.Option(help="CPU threads; by default one for small networks, else all."),
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
    from co3d.engine.camera import Camera
    from co3d.video import hide_password

    camera = Camera(
        name=hide_password(sources[0]),
        source=sources[0],
        rate_hz=rate_hz,
        policy=policy,
        gap=gap,
        rotate=rotate,
        flip=flip,
        crop=None if crop is None else read_crop(crop),
        reconnect_seconds=reconnect,
        rtsp_transport=rtsp_transport,
        poll_hz=poll_hz,
        folder_rate_hz=folder_rate,
        decode=decode,
        tls=tls,
        ca_file=None if ca_file is None else str(ca_file),
        top_k=top,
        threshold=threshold,
        smooth_seconds=smooth,
    )
    options = StreamOptions(
        camera=camera,
        model=model,
        weights=weights,
        clip=clip,
        card=CardOptions(mean=mean, std=std, short_side_px=short_side, labels=labels),
        window=window,
        output=output,
        timeline=timeline,
        as_json=as_json,
        record=record,
        record_seconds=record_seconds,
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
    """Stream the bundled sample, compare with its true labels, and time it against clips."""
    from co3d.cli.demo import run_demo

    run_demo(output_dir)
