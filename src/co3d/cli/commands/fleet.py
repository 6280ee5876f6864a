"""`co3d label` and `co3d capacity`: archives of videos, and how large a fleet must be."""

from pathlib import Path
from typing import Annotated

import typer

from co3d.cli.commands.declared import (
    DEBUG_HINT,
    DeviceOption,
    JsonOption,
    LabelsOption,
    SandboxOption,
    WindowOption,
)

LABEL_EPILOG = """
**Examples**

```
co3d label videos/ --output labels/
co3d label list.txt --output labels/ --model x3d_s --weights kinetics400 --probabilities
co3d label videos/ --output features/ --model x3d_s --weights kinetics400 --layer head.dropout
co3d label /nfs/videos/ --output /nfs/labels/ --ray auto --cpus 2
```

A list has a path a line, or is a table (.csv, .tsv) with a column of paths; they are relative to
its folder. After an interruption, the same command continues. Exit code 130: stopped; 2: the folder
holds labels that were made with other options.
"""

CAPACITY_EPILOG = """
**In the fleet file**

```
cameras:                  # as for `co3d watch`: one of each kind, which is measured
  - {name: door, source: samples/door.mp4, rate_hz: 4}
  - {name: yard, source: "rtsp://10.0.0.5/stream"}
capacity:
  sites: 4000             # with the same cameras each
  counts: {door: 200, yard: 50}
  cores: 64               # of a machine; this one's by default
  bit_rate_kbps: 4000     # of sources that do not tell theirs
  events_per_day: 20      # of a camera; also clip_seconds, records; events.keep_days says how long
```

**Examples**

```
co3d capacity fleet.yaml
co3d capacity fleet.yaml --json | jq .fleet.machines
```
"""

fleet_app = typer.Typer()


@fleet_app.command(epilog="\n\n".join((LABEL_EPILOG, DEBUG_HINT)))
def label(
    videos: Annotated[
        list[str],
        typer.Argument(metavar="VIDEOS...", help="Videos, folders of them, lists or manifests."),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the Parquet files, one a video.")],
    model: Annotated[
        str,
        typer.Option(
            help="A name that `co3d models` lists, the folder of a run, FILE.py:FACTORY, or an "
            "exported file."
        ),
    ] = "camera_motion",
    weights: Annotated[
        str | None,
        typer.Option(help="A tag that `co3d models` lists, or a checkpoint; bundled if any."),
    ] = None,
    labels: LabelsOption = None,
    window: WindowOption = None,
    rate_hz: Annotated[
        float | None, typer.Option(help="Frames a second to sample; the model's own by default.")
    ] = None,
    probabilities: Annotated[
        bool,
        typer.Option("--probabilities", help="Write all probabilities, not the likeliest label."),
    ] = False,
    layer: Annotated[
        str | None,
        typer.Option(help="Path of a module in the network: write its features, not labels."),
    ] = None,
    backend: Annotated[
        str, typer.Option(help="auto (the default), native, triton, openvino, onnxruntime, torch.")
    ] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(
            help="Of weights, frames and state: float32, float64, bfloat16 or float16; float32, or "
            "that of an exported file, by default."
        ),
    ] = None,
    device: DeviceOption = "cpu",
    at_once: Annotated[
        int | None,
        typer.Option(
            help="Videos that are open at once; by default one more than there are cores, and 1 on "
            "a GPU, where they step together."
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Label on a Ray cluster: its address, auto for the one that this machine is part "
            "of, local for one on this machine alone.",
        ),
    ] = None,
    cpus: Annotated[int, typer.Option(help="On Ray: cores of each engine.")] = 1,
    gpus: Annotated[float, typer.Option(help="On Ray: GPUs of each engine.")] = 0.0,
    as_json: JsonOption = False,
    _sandbox: SandboxOption = False,
) -> None:
    """Label every video of an archive frame by frame, into Parquet.

    Each video has its own file, which appears when complete. Videos that cannot be read are named
    at the end and in _report.json. Ctrl-C stops; the same command continues.
    """
    from co3d.cli.label import label_videos

    code = label_videos(
        videos,
        output,
        model,
        weights,
        as_json=as_json,
        labels=labels,
        window=window,
        rate_hz=rate_hz,
        probabilities=probabilities,
        layer=layer,
        backend=backend,
        precision=precision,
        device=device,
        at_once=at_once,
        ray=ray,
        cpus=cpus,
        gpus=gpus,
    )
    raise typer.Exit(code)


@fleet_app.command(epilog="\n\n".join((CAPACITY_EPILOG, DEBUG_HINT)))
def capacity(
    fleet: Annotated[
        Path, typer.Argument(metavar="FLEET.YAML", help="A camera of each kind, with counts.")
    ],
    as_json: JsonOption = False,
    _sandbox: SandboxOption = False,
) -> None:
    """Measure what cameras cost here, and print the hardware that a fleet of them needs.

    Copies of a recording of each camera join an engine here until it is full, in 20 s each. From
    what they cost follow cameras per core and per GPU, machines, memory, network and storage for a
    site and for all sites (docs/fleet.md). Other programs on this machine lower the figures.
    """
    from co3d.cli.capacity import plan_capacity

    raise typer.Exit(plan_capacity(fleet, as_json=as_json))
