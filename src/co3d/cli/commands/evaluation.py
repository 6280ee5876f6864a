"""`co3d eval`, `co3d features` and `co3d reproduce`: networks on data sets."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from co3d.cli.commands.declared import (
    DEBUG_HINT,
    DeviceOption,
    JsonOption,
    SandboxOption,
    WindowOption,
)

EVAL_EPILOG = """
**Examples**

```
co3d eval --data videos/ --mode stream
co3d eval --data k400/ --split val --model x3d_m --weights kinetics400 --mode clip --views 10x3 \\
    --rule pyslowfast
co3d eval --data k400/ --model x3d_m --weights kinetics400 --mode stream --window 64 --rate-hz 3
co3d eval --data k400/ --model x3d_m --weights kinetics400 --protocol paper --window 64
co3d eval --data videos/ --model mine.int8.onnx --mode stream
co3d eval --data Charades/ --model slow_r50 --weights charades157 --mode clip --views 10x3
torchrun --nproc-per-node 2 -m co3d eval --data videos/ --mode stream
```

Videos are judged one by one, and each result is on the disk before the next begins: run the same
command again after an interruption, and it goes on. Exit code 130: stopped; 16: the data set cannot
be used, or a video is bad and `--strict` was given.
"""
FEATURES_EPILOG = """
**Examples**

```
co3d features --data videos/ --layer blocks.1 --mode stream
co3d features --data k400/ --model x3d_m --weights kinetics400 --layer head.dropout --clips 10
co3d features --data k400/ --model slow_r50 --weights kinetics400 --layer trunk --format numpy
```
"""
REPRODUCE_EPILOG = """
**Examples**

```
co3d reproduce cox3d
co3d reproduce cox3d --model x3d_s,x3d_m --json
co3d reproduce cox3d --data k400/ --split val --output cox3d/
```
"""

Data = Annotated[
    Path,
    typer.Option(help="A data set's folder or annotation file, or a manifest: see `co3d data`."),
]
Model = Annotated[
    str,
    typer.Option(
        help="A name that `co3d models` lists, the folder of a run, FILE.py:FACTORY, or, for eval, "
        "an exported file."
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(help="A tag that `co3d models` lists, or a checkpoint file; bundled if any."),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="Part of the data set, or all; where there are several, eval takes test (of Kinetics "
        "val), and features all."
    ),
]
RateHz = Annotated[
    float | None, typer.Option(help="Frames a second to sample; the model's own by default.")
]
Limit = Annotated[
    int | None, typer.Option(help="At most so many videos, drawn evenly, always the same ones.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first bad video.")]
Backend = Annotated[
    str | None,
    typer.Option(help="Streams: auto (the default), native, triton, openvino, onnxruntime, torch."),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        help="Of weights, frames and state: float32, float64, bfloat16 or float16; float32, or "
        "that of an exported file, by default."
    ),
]

evaluation_app = typer.Typer()


@evaluation_app.command("eval", epilog="\n\n".join((EVAL_EPILOG, DEBUG_HINT)))
def evaluate(
    data: Data,
    mode: Annotated[
        Literal["clip", "stream"] | None, typer.Option(help="Whole clips, or every frame a step.")
    ] = None,
    protocol: Annotated[
        Literal["paper"] | None,
        typer.Option(
            help="In place of a mode: streams as the CoX3D paper measured them (arXiv:2106.00050)."
        ),
    ] = None,
    model: Model = "camera_motion",
    weights: Weights = None,
    split: Split = None,
    views: Annotated[
        str | None,
        typer.Option(
            metavar="KxM", help="Clips: K in time, M (1 or 3) squares of each; 1x1 by default."
        ),
    ] = None,
    rule: Annotated[
        Literal["time", "pyslowfast"] | None,
        typer.Option(
            help="Clips: take frames by time (the default), or count them as PySlowFast does, by "
            "which published figures were measured."
        ),
    ] = None,
    window: WindowOption = None,
    fill: Annotated[
        Literal["zeros", "replicate"] | None,
        typer.Option(
            help="Streams: what the network has seen before a video begins: nothing (the "
            "default), or its first frame."
        ),
    ] = None,
    init_frames: Annotated[
        int | None,
        typer.Option(
            "--init",
            help="Streams: frames of each video before its warm prediction; by default as many as "
            "fill the network.",
        ),
    ] = None,
    rate_hz: RateHz = None,
    backend: Backend = None,
    slots: Annotated[
        int | None,
        typer.Option(
            help="Streams: videos that are open at once; by default one more than there are cores, "
            "and 1 on a GPU, where they step together."
        ),
    ] = None,
    frame_scores: Annotated[
        bool,
        typer.Option(
            "--frame-scores",
            help="Streams: keep the probabilities of every frame, in frames.parquet too; of data "
            "with times of classes, measure online detection.",
        ),
    ] = False,
    precision: PrecisionOption = None,
    device: DeviceOption = "cpu",
    limit: Limit = None,
    output: Annotated[
        Path, typer.Option(help="Folder for the report, the predictions and the log.")
    ] = Path("evaluation"),
    strict: Strict = False,
    as_json: JsonOption = False,
    _sandbox: SandboxOption = False,
) -> None:
    """Measure a network on a data set, clip by clip or frame by frame.

    Writes report.md with pictures, summary.json and the predictions of every video. A video that
    cannot be read is left out of the measures, counted and named. Ctrl-C stops; what was judged is
    kept.
    """
    from co3d.cli.evaluate import EvalOptions, evaluate_data

    options = EvalOptions(
        data=data,
        split=split,
        model=model,
        weights=weights,
        mode=mode,
        protocol=protocol,
        views=views,
        rule=rule,
        window=window,
        fill=fill,
        init_frames=init_frames,
        backend=backend,
        slots=slots,
        frame_scores=frame_scores,
        rate_hz=rate_hz,
        precision=precision,
        device=device,
        limit=limit,
        output=output,
        strict=strict,
        as_json=as_json,
    )
    raise typer.Exit(evaluate_data(options))


@evaluation_app.command(epilog="\n\n".join((FEATURES_EPILOG, DEBUG_HINT)))
def features(
    data: Data,
    layer: Annotated[
        str, typer.Option(help="Path of a module in the network, such as blocks.1 or head.dropout.")
    ],
    mode: Annotated[
        Literal["clip", "stream"], typer.Option(help="A row per clip, or a row per frame.")
    ] = "clip",
    model: Model = "camera_motion",
    weights: Weights = None,
    split: Split = None,
    clips: Annotated[
        int | None, typer.Option(help="Clips: how many of each video, spread evenly; 1 by default.")
    ] = None,
    rate_hz: RateHz = None,
    backend: Backend = None,
    precision: Annotated[
        str | None, typer.Option(help="Streams: float32 (the default), float64 or bfloat16.")
    ] = None,
    limit: Limit = None,
    kind: Annotated[
        Literal["parquet", "numpy"],
        typer.Option("--format", help="features.parquet, written as it comes, or features.npz."),
    ] = "parquet",
    projection: Annotated[
        Literal["pca", "umap"],
        typer.Option(help="Of the picture; umap needs pip install 'co3d[umap]'."),
    ] = "pca",
    output: Annotated[Path, typer.Option(help="Folder for the features and their picture.")] = Path(
        "features"
    ),
    strict: Strict = False,
    as_json: JsonOption = False,
    _sandbox: SandboxOption = False,
) -> None:
    """Write what a layer says of each clip or frame, averaged over height and width.

    Each row has the time that it describes. Draws them in the plane. A video that
    cannot be read is left out, counted and named. Ctrl-C stops; the same command goes on.
    """
    from co3d.cli.features import FeatureOptions, extract_features

    options = FeatureOptions(
        data=data,
        split=split,
        model=model,
        weights=weights,
        layer=layer,
        mode=mode,
        clips=clips,
        rate_hz=rate_hz,
        backend=backend,
        precision=precision,
        limit=limit,
        output=output,
        kind=kind,
        projection=projection,
        strict=strict,
        as_json=as_json,
    )
    raise typer.Exit(extract_features(options))


@evaluation_app.command(epilog="\n\n".join((REPRODUCE_EPILOG, DEBUG_HINT)))
def reproduce(
    table: Annotated[
        Literal["cox3d"], typer.Argument(help="CoX3D on Kinetics-400 (arXiv:2106.00050).")
    ],
    model: Annotated[
        list[str] | None, typer.Option(help="x3d_s, x3d_m, x3d_l; all three by default.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Kinetics-400, for accuracies; they are left out without.")
    ] = None,
    split: Split = None,
    weights: Annotated[
        str, typer.Option(help="For accuracies: a tag that `co3d models` lists, or a checkpoint.")
    ] = "kinetics400",
    limit: Limit = None,
    backend: Annotated[
        str, typer.Option(help="auto (the default), native, openvino, onnxruntime, torch.")
    ] = "auto",
    steps: Annotated[int, typer.Option(help="Timed steps of each row, at least.")] = 100,
    output: Annotated[
        Path, typer.Option(help="Folder for the reports of accuracies, one a row.")
    ] = Path("reproduction"),
    as_json: JsonOption = False,
) -> None:
    """Measure the rows of a paper's table, and print them beside its figures.

    Multiply-accumulates, parameters, state and frames a second are measured always, accuracies by
    the paper's protocol where data are given. What the figures of the paper are of, and why ours
    may differ, is printed with them.
    """
    from co3d.cli.reproduce import ReproduceOptions, reproduce_cox3d

    del table  # there is but one
    options = ReproduceOptions(
        models=model or [],
        data=data,
        split=split,
        weights=weights,
        limit=limit,
        backend=backend,
        steps=steps,
        output=output,
        as_json=as_json,
    )
    raise typer.Exit(reproduce_cox3d(options))
