"""`co3d data`: check data sets, prepare them, fetch their annotations. The work stands beside."""

from pathlib import Path
from typing import Annotated, Literal

import typer

EPILOG = """
**Examples**

```
co3d data doctor /data/kinetics400 --split val
co3d data doctor /data/my_videos --json | jq .counts
```

`DATASETS_PATH` (where data sets lie), `LOGS_PATH` (where reports go, else `runs`) and `CO3D_CACHE`
come from the environment or from a file `.env`.
"""

data_app = typer.Typer(
    help="Check data sets, prepare them, fetch their annotations.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

LayoutName = Literal["auto", "kinetics", "charades", "folders", "manifest"]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
DataSet = Annotated[
    Path,
    typer.Argument(
        metavar="PATH", help="A data set's folder, list or manifest, here or in DATASETS_PATH."
    ),
]
LayoutOption = Annotated[LayoutName, typer.Option(help="How the data set lies on disk.")]
Split = Annotated[str | None, typer.Option(help="train, val or test, where there are several.")]
Classes = Annotated[
    str | None,
    typer.Option(help="Class names: kinetics400, kinetics600 or charades157; else the set's own."),
]


@data_app.command()
def doctor(
    path: DataSet,
    layout: LayoutOption = "auto",
    split: Split = None,
    classes: Classes = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the results; else LOGS_PATH/doctor/NAME.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Videos decoded at a time; else one per core.")
    ] = None,
    accuracy: Annotated[
        float, typer.Option(help="Accuracy on the usable videos to bound that on all for, 0 to 1.")
    ] = 0.75,
    as_json: Json = False,
) -> None:
    """Decode every file; report what is wrong and write a manifest without it.

    Lists entries that are missing, unreadable, without frames, truncated, mislabelled, duplicate or
    of the wrong length, and says what the losses mean for an accuracy. A run that was stopped goes
    on where it was. The data set itself is not touched.

    Example: `co3d data doctor /data/kinetics400 --split val --output doctor`
    """
    from co3d.cli.data_doctor import DoctorOptions, run_doctor

    options = DoctorOptions(path, layout, split, classes, output, workers, accuracy, as_json)
    raise typer.Exit(run_doctor(options))
