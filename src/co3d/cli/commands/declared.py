"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from co3d.cli.options import Rate, Scope

DEBUG_HINT = "Add `--debug` to any command for the traceback of an error."

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
    Scope,
    typer.Option(
        help="What gates pool instead of the clip: each frame, or a window of the newest frames. A "
        "window also limits attention over time and norms over a clip."
    ),
]
FallbackOption = Annotated[
    bool, typer.Option("--fallback", help="Rerun on the newest clip what has no step form.")
]
SpreadOption = Annotated[
    bool, typer.Option("--spread", help="With --rate native: even out work over the frames.")
]
MeanOption = Annotated[
    str | None,
    typer.Option(metavar="R,G,B", help="A network of yours: of pixels in 0 to 1; else its card's."),
]
StdOption = Annotated[str | None, typer.Option(metavar="R,G,B", help="As for --mean.")]
ShortSideOption = Annotated[
    int | None,
    typer.Option(
        help="A network of yours: scale pictures to it before the crop; else its card's, or the "
        "crop's side."
    ),
]
LabelsOption = Annotated[
    Path | None, typer.Option(help="File with a class name a line; else the network's own.")
]
RootOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the videos, where the lists of them lie elsewhere."),
]
ClassNamesOption = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help="File with a class name a line, for classes without names: the network's, or indices "
        "of the data set.",
    ),
]
OnlyOption = Annotated[
    Path | None,
    typer.Option(help="File with a class name a line: use only these classes of the data set."),
]


def _open_sandbox(context: typer.Context, is_wanted: bool) -> bool:
    """Read in a sandbox until the command has ended."""
    if is_wanted:
        from co3d.sandbox import read_in_sandbox  # help does not wait for numpy

        context.with_resource(read_in_sandbox())
    return is_wanted


SandboxOption = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        callback=_open_sandbox,
        help="Read checkpoints and videos in separate processes of limited memory and time: "
        "for files from strangers.",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="A torch device: cpu, cuda.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
