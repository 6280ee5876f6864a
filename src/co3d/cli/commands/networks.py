"""`co3d models`, `explain`, `check`, `export` and `bench`: commands about single networks."""

from pathlib import Path
from typing import Annotated

import typer

from co3d.cli.commands.declared import (
    DEBUG_HINT,
    ClipOption,
    DeviceOption,
    FallbackOption,
    JsonOption,
    LabelsOption,
    MeanOption,
    NetworkArgument,
    RateOption,
    SandboxOption,
    ScopeOption,
    ShortSideOption,
    SpreadOption,
    StdOption,
    WindowOption,
)
from co3d.cli.options import (
    CardOptions,
    CheckOptions,
    ConversionOptions,
    Edges,
    ExportFormat,
    ExportOptions,
    Strategy,
    split_names,
)

EXPLAIN_EPILOG = """
**Examples**

```
co3d explain x3d_m --picture x3d_m.svg
co3d explain slowfast_r50_8x8 --rate native
co3d explain my_network.py:build --clip 3,16,112,112 --json
```
"""
CHECK_EPILOG = """
**Examples**

```
co3d check camera_motion
co3d check x3d_m --weights X3D_M.pyth --clip 3,16,160,160
co3d check my_network.py:build --clip 3,16,112,112 --rate native --lengths 9,33
co3d check camera_motion --backend all
co3d check x3d_m --weights kinetics400 --backend openvino --precision bfloat16 --video match.mp4
```

Exit code 33: steps differ from clips, or float32 differs from float64 by more than rounding; 30:
the network cannot be converted.
"""
BENCH_EPILOG = """
**Examples**

```
co3d bench x3d_m --peer continual-inference --output results
co3d bench slowfast_r50_8x8 --rate native --precision float32,bfloat16
co3d bench camera_motion --backend openvino --batch 1,4,16 --threads 1
co3d bench x3d_m --device cuda --precision float32,bfloat16 --batch 1,16 --clips
co3d bench x3d_s --json | jq .records[].latency.median_ms
```
"""

EXPORT_EPILOG = """
**Examples**

```
co3d export camera_motion --output camera_motion.onnx
co3d export x3d_m --weights X3D_M.pyth --format openvino --precision bfloat16 --output x3d_m.xml
co3d export x3d_m --weights X3D_M.pyth --precision int8 --calibrate videos/ --output x3d_m.onnx
co3d export my_network.py:build --clip 3,16,112,112 --format torch --output mine.safetensors \\
    --rate-hz 8 --mean 0.45,0.45,0.45 --std 0.225,0.225,0.225 --labels names.txt
co3d export camera_motion --format triton --slots 32 --output model_repository
```

`docs/export.md` describes the files, and has programs of some forty lines that run them;
`docs/triton.md` is for a Triton Inference Server.
"""

networks_app = typer.Typer()


@networks_app.command(epilog=DEBUG_HINT)
def models(as_json: JsonOption = False) -> None:
    """List the registered networks and their published weights."""
    from co3d.cli.models import print_models

    print_models(as_json=as_json)


@networks_app.command(epilog="\n\n".join((EXPLAIN_EPILOG, DEBUG_HINT)))
def explain(
    model: NetworkArgument,
    clip: ClipOption = None,
    window: WindowOption = None,
    rate: RateOption = "dense",
    scope: ScopeOption = "frame",
    fallback: FallbackOption = False,
    spread: SpreadOption = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the network in time: .svg, .png or .pdf.")
    ] = None,
    as_json: JsonOption = False,
    _sandbox: SandboxOption = False,
) -> None:
    """Show the step program of a network: delay, state and cost of every value."""
    from co3d.cli.explain import print_explanation

    options = ConversionOptions(
        model, None, tuple(clip or ()), window, rate, scope, fallback, spread
    )
    print_explanation(options, picture=picture, as_json=as_json)


@networks_app.command(epilog="\n\n".join((CHECK_EPILOG, DEBUG_HINT)))
def check(
    model: NetworkArgument,
    weights: Annotated[
        str | None,
        typer.Option(help="A tag that `co3d models` lists, or a checkpoint file."),
    ] = None,
    clip: ClipOption = None,
    lengths: Annotated[
        str | None,
        typer.Option(
            help="Lengths of further clips to compare, in frames: 9,21; by default a shorter and "
            "a longer odd one."
        ),
    ] = None,
    window: WindowOption = None,
    rate: RateOption = "dense",
    scope: ScopeOption = "frame",
    fallback: FallbackOption = False,
    spread: SpreadOption = False,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help="Of the proof: float64 (the default), in which rounding hides no errors, or "
            "float32. With --backend: those to compare; by default all that it has."
        ),
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="List every value, not only those that differ most.")
    ] = False,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare on real streams instead: native, openvino, onnxruntime, torch, or all "
            "that are installed and open in seconds."
        ),
    ] = None,
    video: Annotated[
        list[str] | None,
        typer.Option(help="With --backend: a video to compare on; the bundled sample by default."),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(help="With --backend: frames to compare, 300 by default.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="With --backend: a torch device for the backends: cpu, cuda.")
    ] = "cpu",
    as_json: JsonOption = False,
    _sandbox: SandboxOption = False,
) -> None:
    """Prove on your own network and weights that steps equal clips, value by value.

    With --backend, compare instead how backends and precisions differ on real streams: the errors
    of logits and features, and on how many frames the likeliest label differs from float32's, which
    may be 0.5 % at most. Ctrl-C reports the frames that were compared. --backend, --precision and
    --video may be repeated, or the first two joined by commas.
    """
    from co3d.cli.check import check_network

    options = ConversionOptions(
        model, weights, tuple(clip or ()), window, rate, scope, fallback, spread
    )
    chosen = CheckOptions(
        backends=split_names(backend or []),
        precisions=split_names(precision or []),
        lengths=lengths,
        show_all=show_all,
        videos=video or [],
        frames=frames,
        device=device,
        as_json=as_json,
    )
    raise typer.Exit(check_network(options, chosen))


@networks_app.command(epilog="\n\n".join((EXPORT_EPILOG, DEBUG_HINT)))
def export(
    model: NetworkArgument,
    output: Annotated[
        Path,
        typer.Option(
            help="File to write: .onnx, .xml (openvino) or .safetensors (torch); for triton the "
            "folder of models."
        ),
    ],
    format: Annotated[  # noqa: A002 - the word that users expect
        ExportFormat,
        typer.Option(
            help="One graph for ONNX Runtime or OpenVINO, a program for co3d, or a model of a "
            "Triton server's."
        ),
    ] = "onnx",
    weights: Annotated[
        str | None,
        typer.Option(help="A tag that `co3d models` lists, or a checkpoint file; bundled if any."),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="float32; int8 with --calibrate; bfloat16 for openvino and triton; float16 for "
            "triton."
        ),
    ] = "float32",
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(help="A video, or a folder of videos, to measure int8's ranges on; repeat."),
    ] = None,
    calibration_frames: Annotated[
        int, typer.Option(help="Frames of those videos to use, at most.")
    ] = 300,
    slots: Annotated[
        int | None, typer.Option(help="Videos that step together; 1 by default, 16 for triton.")
    ] = None,
    strategy: Annotated[
        Strategy | None,
        typer.Option(
            help="With triton: direct (the default) keeps a place in the batch for each sequence, "
            "oldest batches the frames that wait longest."
        ),
    ] = None,
    idle_seconds: Annotated[
        float | None,
        typer.Option(
            help="With triton: how long a sequence may send nothing until it is forgotten; 60 by "
            "default."
        ),
    ] = None,
    edges: Annotated[
        Edges, typer.Option(help="Clip edges to reproduce; both lets a stream be flushed.")
    ] = "start",
    clip: ClipOption = None,
    window: WindowOption = None,
    rate: RateOption = "dense",
    scope: ScopeOption = "frame",
    fallback: FallbackOption = False,
    spread: SpreadOption = False,
    rate_hz: Annotated[
        float | None, typer.Option(help="Frames a second to show it; else its own card's.")
    ] = None,
    mean: MeanOption = None,
    std: StdOption = None,
    short_side: ShortSideOption = None,
    labels: LabelsOption = None,
    as_json: JsonOption = False,
    _sandbox: SandboxOption = False,
) -> None:
    """Write a network as one self-describing file, or as a model for Triton.

    It runs without the network's Python code.
    """
    from co3d.cli.export import export_network

    conversion = ConversionOptions(
        model, weights, tuple(clip or ()), window, rate, scope, fallback, spread
    )
    options = ExportOptions(
        format=format,
        precision=precision,
        slots=slots,
        edges=edges,
        output=output,
        strategy=strategy,
        idle_seconds=idle_seconds,
        calibrate=tuple(calibrate or ()),
        calibration_frames=calibration_frames,
        card=CardOptions(rate_hz, mean, std, short_side, labels),
        as_json=as_json,
    )
    export_network(conversion, options)


@networks_app.command(epilog="\n\n".join((BENCH_EPILOG, DEBUG_HINT)))
def bench(
    models: Annotated[
        list[str] | None, typer.Argument(help="Names that `co3d models` lists; x3d_m by default.")
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            help="native, triton, openvino, onnxruntime, torch, inductor; by default what is "
            "installed and runs on the device, inductor only when named."
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="float32 (the default), bfloat16, float16, int8 or float64."),
    ] = None,
    batch: Annotated[
        list[str] | None, typer.Option(help="Numbers of videos that step together; 1 by default.")
    ] = None,
    rate: RateOption = "dense",
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="The same network in another library: continual-inference (step), "
            "pytorchvideo (clip)."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Timed steps of each, at least.")] = 100,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads; by default as many as torch uses.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Side of the square input in pixels; the model's own by default."),
    ] = None,
    clips: Annotated[
        bool,
        typer.Option("--clips", help="Time the clip network on every engine, not only eagerly."),
    ] = False,
    memory: Annotated[
        bool,
        typer.Option("--memory", help="Also the peak memory of each, alone in a process."),
    ] = False,
    energy: Annotated[
        bool,
        typer.Option(
            "--energy",
            help="Also the energy of each: of the CPU package by RAPL, or of a GPU by NVML.",
        ),
    ] = False,
    device: DeviceOption = "cpu",
    output: Annotated[
        Path | None, typer.Option(help="Folder for bench.json, bench.md and bench.svg.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time the step of a network against its clip network, interleaved on the same machine.

    Options that take several values may be repeated, or the values joined by commas. Weights are
    random, which does not change speed. Ctrl-C reports the models that were finished.
    """
    from co3d.cli.bench import BenchOptions, run_bench

    options = BenchOptions(
        models=models or ["x3d_m"],
        backends=backend or [],
        precisions=precision or ["float32"],
        batches=batch or ["1"],
        rate=rate,
        peers=peer or [],
        steps=steps,
        threads=threads,
        size_px=size,
        clips=clips,
        memory=memory,
        energy=energy,
        device=device,
        output=output,
        as_json=as_json,
    )
    raise typer.Exit(run_bench(options))
