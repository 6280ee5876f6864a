"""The command line: its commands, and errors as one line with an exit code.

What a command needs is imported when it runs, so that `co3d --help` need not wait for torch.
"""

import sys
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer
from typer.main import get_command

from co3d import __version__
from co3d.cli.exit_codes import describe_exit_codes
from co3d.cli.options import ConversionOptions, Policy, Precision, Rate, Scope, StreamOptions
from co3d.cli.weights import weights_app
from co3d.errors import Co3dError

STREAM_EPILOG = """
**Examples**

```
co3d stream match.mp4 --output annotated.mp4 --timeline timeline.png
co3d stream 0 --policy latest
co3d stream rtsp://host/stream --json | jq .top
co3d stream frames/ --model x3d_m --weights kinetics400 --window 64
```

**Exit codes**
"""
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
```

Exit code 33: steps differ from clips; 30: the network cannot be converted.
"""
BENCH_EPILOG = """
**Examples**

```
co3d bench x3d_m --peer continual-inference --output results
co3d bench slowfast_r50_8x8 --rate native --precision float32,bfloat16
co3d bench camera_motion --backend openvino --batch 1,4,16 --threads 1
co3d bench x3d_s --json | jq .records[].latency.median_ms
```
"""
DEBUG_HINT = "Add `--debug` to any command for the traceback of an error."

app = typer.Typer(
    help="Networks trained on clips see video one frame at a time.",
    epilog=DEBUG_HINT,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)

WindowOption = Annotated[
    int | None,
    typer.Option(help="Feature frames that the last pooling averages; the clip's own by default."),
]
NetworkArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL|FILE.py:FACTORY",
        help="A name that `co3d models` lists, or a Python file of yours and a function in it that "
        "returns the network. The file is run.",
    ),
]
ClipOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="C,T,H,W",
        help="Clip that the network was trained on; the model's own by default. Once per input.",
    ),
]
RateOption = Annotated[
    Rate, typer.Option(help="A result at every frame, or at the network's own temporal stride.")
]
ScopeOption = Annotated[
    Scope, typer.Option(help="What gates pool instead of the clip: each frame, or a window.")
]
FallbackOption = Annotated[
    bool, typer.Option("--fallback", help="Rerun what has no step form on the newest clip.")
]
SpreadOption = Annotated[
    bool, typer.Option("--spread", help="With --rate native: even the work out over the frames.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def _print_version(requested: bool) -> None:
    if requested:
        print(f"co3d {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Declare what comes before the command."""


@app.command(epilog="\n\n".join((STREAM_EPILOG, describe_exit_codes(), DEBUG_HINT)))
def stream(
    source: Annotated[
        str,
        typer.Argument(help="A file, camera number, rtsp:// or http:// URL, or folder of frames."),
    ],
    model: Annotated[str, typer.Option(help="A name that `co3d models` lists.")] = "camera_motion",
    weights: Annotated[
        str | None,
        typer.Option(help="A tag that `co3d models` lists, or a checkpoint file; bundled if any."),
    ] = None,
    window: WindowOption = None,
    top: Annotated[int | None, typer.Option(help="How many labels to show; 3 by default.")] = None,
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
            help="Print one object a line: frame_index, pts_seconds, valid, top, latency_ms "
            "(preprocessing and step), dropped_frames.",
        ),
    ] = False,
    policy: Annotated[
        Policy,
        typer.Option(help="Live sources: see the latest frame and drop others, or queue every."),
    ] = "latest",
    rate_hz: Annotated[
        float | None, typer.Option(help="Frames a second to sample; the model's own by default.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Processor threads; by default one for small networks, else all."),
    ] = None,
    backend: Annotated[
        str,
        typer.Option(help="What runs the network: auto, openvino, onnxruntime or torch."),
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="Of weights, frames and state: float32, float64 or bfloat16.")
    ] = "float32",
) -> None:
    """Label a video as it plays, one prediction per sampled frame.

    Each prediction carries the time of the frame that it describes. In a terminal it shows a live
    view, else one line a prediction. Ctrl-C ends it with all outputs complete.
    """
    from co3d.cli.stream import stream_video

    options = StreamOptions(
        source=source,
        model=model,
        weights=weights,
        window=window,
        top_k=top,
        output=output,
        timeline=timeline,
        as_json=as_json,
        policy=policy,
        rate_hz=rate_hz,
        threads=threads,
        backend=backend,
        precision=precision,
    )
    raise typer.Exit(stream_video(options))


@app.command(epilog=DEBUG_HINT)
def demo(
    output_dir: Annotated[Path, typer.Option(help="Where to write; made if absent.")] = Path(
        "demo"
    ),
) -> None:
    """Stream the bundled sample, compare with its truth, and time it against the clip network."""
    from co3d.cli.demo import run_demo

    run_demo(output_dir)


@app.command(epilog=DEBUG_HINT)
def models(as_json: JsonOption = False) -> None:
    """List the registered networks and their published weights."""
    from co3d.cli.models import print_models

    print_models(as_json=as_json)


@app.command(epilog="\n\n".join((EXPLAIN_EPILOG, DEBUG_HINT)))
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
) -> None:
    """Show what a network becomes as a step program: delays, state and cost of every value."""
    from co3d.cli.explain import print_explanation

    options = ConversionOptions(
        model, None, tuple(clip or ()), window, rate, scope, fallback, spread
    )
    print_explanation(options, picture=picture, as_json=as_json)


@app.command(epilog="\n\n".join((CHECK_EPILOG, DEBUG_HINT)))
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
        Precision, typer.Option(help="float64 leaves rounding no room to hide errors in.")
    ] = "float64",
    show_all: Annotated[
        bool, typer.Option("--all", help="List every value, not only those that differ most.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Prove on your own network and weights that steps equal clips, value by value."""
    from co3d.cli.check import check_network

    options = ConversionOptions(
        model, weights, tuple(clip or ()), window, rate, scope, fallback, spread
    )
    check_network(options, lengths=lengths, precision=precision, show_all=show_all, as_json=as_json)


@app.command(epilog="\n\n".join((BENCH_EPILOG, DEBUG_HINT)))
def bench(
    models: Annotated[
        list[str] | None, typer.Argument(help="Names that `co3d models` lists; x3d_m by default.")
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="openvino, onnxruntime or torch; those that are installed by default."),
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="float32 (the default), bfloat16 or float64.")
    ] = None,
    batch: Annotated[
        list[str] | None, typer.Option(help="Numbers of videos that step together; 1 by default.")
    ] = None,
    rate: RateOption = "dense",
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="The same network by another library: continual-inference (step), "
            "pytorchvideo (clip)."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Timed steps of each, at least.")] = 100,
    threads: Annotated[
        int | None, typer.Option(help="Processor threads; by default as many as torch uses.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Side of the square input in pixels; the model's own by default."),
    ] = None,
    memory: Annotated[
        bool,
        typer.Option("--memory", help="Also the peak memory of each, alone in a process."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder for bench.json, bench.md and bench.svg.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time the step of a network against its clip network, in turn on the same machine.

    Options that take several values may be repeated, or the values joined by commas. Weights are
    random, which changes no speed. Ctrl-C reports the models that were finished.
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
        memory=memory,
        output=output,
        as_json=as_json,
    )
    raise typer.Exit(run_bench(options))


app.add_typer(weights_app, name="weights")


def run(arguments: list[str] | None = None) -> None:
    """Entry point: run a command and exit with its code.

    Args:
        arguments: the command line without the program's name; None takes the process's own.

    Raises:
        SystemExit: always; its code is one of those that `co3d stream --help` lists.
    """
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    if not debug:
        sys.excepthook = _report_bug
    try:
        get_command(app)([word for word in given if word != "--debug"], prog_name="co3d")
    except Co3dError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _report_bug(
    kind: type[BaseException], error: BaseException, _trace: TracebackType | None
) -> None:
    print(
        f"error: unexpected {kind.__name__}: {error}; run again with --debug and report it",
        file=sys.stderr,
    )
