"""`co3d eval`, `average`, `features` and `reproduce`: networks on data sets."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from co3d.cli.commands.declared import (
    DEBUG_HINT,
    ClassNamesOption,
    DeviceOption,
    JsonOption,
    OnlyOption,
    RootOption,
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
co3d eval --data lists/test.csv --root videos/ --labels names.txt --mode clip
co3d eval --data k400/ --only mini_kinetics.txt --head part --model x3d_m --weights kinetics400 \\
    --mode clip
co3d eval --data Charades/ --model slow_r50 --weights charades157 --mode clip --views 10x3
torchrun --nproc-per-node 2 -m co3d eval --data videos/ --mode stream
```

Videos are evaluated one by one, and each result is on disk before the next begins: after an
interruption, the same command continues. Exit code 130: stopped; 16: the data set cannot be used,
or a video is bad and `--strict` was given.
"""
AVERAGE_EPILOG = """
**Example**

```
for n in 1 2 3; do
    co3d finetune ucf101/ --model x3d_s --output runs/$n data.train_split=train$n
    co3d eval --data ucf101/ --split test$n --model runs/$n --mode clip --output judged/$n
done
co3d average judged/1 judged/2 judged/3
```
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
    int | None, typer.Option(help="Use at most so many videos, drawn evenly, always the same.")
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
    root: RootOption = None,
    labels: ClassNamesOption = None,
    only: OnlyOption = None,
    head: Annotated[
        Literal["whole", "part"],
        typer.Option(
            help="Which classes compete: all of the network, or only those of the data set."
        ),
    ] = "whole",
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
            help="Streams: keep the probabilities of every frame, in frames.parquet too; for data "
            "with intervals of classes, measure online detection.",
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
    cannot be read is left out of the measures, counted and named. Ctrl-C stops; finished results
    are kept.
    """
    from co3d.cli.data_choice import DataChoice
    from co3d.cli.evaluate import EvalOptions, evaluate_data

    options = EvalOptions(
        data=data,
        split=split,
        choice=DataChoice(root, labels, only),
        head=head,
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


@evaluation_app.command(epilog="\n\n".join((AVERAGE_EPILOG, DEBUG_HINT)))
def average(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDERS...", help="Output folders of `co3d eval`.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Print the mean of evaluations, such as of the three divisions of UCF101 or HMDB51.

    All must have been made with the same settings; networks and splits may differ. Each counts
    alike, however many videos it has.
    """
    from co3d.cli.average import print_average

    raise typer.Exit(print_average(folders, as_json=as_json))


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
    root: RootOption = None,
    labels: ClassNamesOption = None,
    only: OnlyOption = None,
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
    """Write a layer's features for each clip or frame, averaged over height and width.

    Each row has the time that it describes. Also draws the features in the plane. A video that
    cannot be read is left out, counted and named. Ctrl-C stops; the same command continues.
    """
    from co3d.cli.data_choice import DataChoice
    from co3d.cli.features import FeatureOptions, extract_features

    options = FeatureOptions(
        data=data,
        split=split,
        choice=DataChoice(root, labels, only),
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

    Multiply-accumulates, parameters, state and frames a second are always measured, accuracies by
    the paper's protocol if data are given. The meaning of the paper's figures, and why ours may
    differ, are printed with them.
    """
    from co3d.cli.reproduce import ReproduceOptions, reproduce_cox3d

    del table  # there is only one
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
