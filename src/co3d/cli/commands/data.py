"""`co3d data`: check data sets, prepare them, fetch their annotations."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from co3d.cli.commands.declared import (
    ClassNamesOption,
    OnlyOption,
    RootOption,
    SandboxOption,
)

EPILOG = """
**Examples**

```
co3d data doctor /data/kinetics400 --split val
co3d data doctor /data/my_videos --json | jq .counts
co3d data annotations kinetics400 --output /data/kinetics400/splits
co3d data prepare /data/kinetics400 --split val --output val_manifest
co3d data prepare /data/kinetics400 --split val --output small --to video --short-side 256
```

`DATASETS_PATH` (where data sets lie) and `LOGS_PATH` (where reports go, else `runs`) come from the
environment or from a file `.env` in the working folder; `CO3D_CACHE` from the environment alone.
"""

data_app = typer.Typer(
    help="Check data sets, prepare them, fetch their annotations.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

FormName = Literal["video", "frames"]
SetName = Literal["kinetics400", "kinetics600", "kinetics700", "charades"]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
DataSet = Annotated[
    Path,
    typer.Argument(
        metavar="PATH", help="A data set's folder, list or manifest, here or in DATASETS_PATH."
    ),
]
LayoutOption = Annotated[
    str,
    typer.Option(
        help="How the data set lies on disk: auto, kinetics, charades, something, diving48, "
        "ucf101, hmdb51, thumos14, tvseries, epic-verbs, epic-nouns, manifest, lists or folders."
    ),
]
Split = Annotated[
    str | None, typer.Option(help="train, val or test, where there are several; else all.")
]
Classes = Annotated[
    str | None,
    typer.Option(
        help="Class names: kinetics400, kinetics600, kinetics700 or charades157; else the set's."
    ),
]


@data_app.command()
def doctor(
    path: DataSet,
    layout: LayoutOption = "auto",
    split: Split = None,
    classes: Classes = None,
    root: RootOption = None,
    labels: ClassNamesOption = None,
    only: OnlyOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the results; else LOGS_PATH/doctor/NAME.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Videos decoded at a time; else one per core.")
    ] = None,
    accuracy: Annotated[
        float, typer.Option(help="Accuracy on the usable videos to bound that on all for, 0 to 1.")
    ] = 0.75,
    sandbox: Annotated[
        bool,
        typer.Option(
            help="Decode in separate processes of limited memory and time, so that no file "
            "ends the run."
        ),
    ] = True,
    as_json: Json = False,
) -> None:
    """Decode every file; report what is wrong and write a manifest without it.

    Lists entries that are missing, unreadable, without frames, truncated, mislabelled, duplicate or
    of the wrong length, and says what the losses mean for an accuracy. A stopped run continues
    where it was. The data set itself is not touched.

    Example: `co3d data doctor /data/kinetics400 --split val --output doctor`
    """
    from co3d.cli.data_choice import DataChoice
    from co3d.cli.data_doctor import DoctorOptions, run_doctor

    choice = DataChoice(root, labels, only)
    options = DoctorOptions(
        path, layout, split, classes, choice, output, workers, accuracy, as_json, sandbox
    )
    raise typer.Exit(run_doctor(options))


@data_app.command()
def prepare(
    path: DataSet,
    output: Annotated[Path, typer.Option(help="New folder for manifest.jsonl and copies.")],
    layout: LayoutOption = "auto",
    split: Split = None,
    classes: Classes = None,
    root: RootOption = None,
    labels: ClassNamesOption = None,
    only: OnlyOption = None,
    to: Annotated[
        FormName | None, typer.Option(help="Copy as H.264 videos or JPEG frames; else no copies.")
    ] = None,
    short_side: Annotated[
        int | None, typer.Option(help="Scale larger pictures down to this short side, in pixels.")
    ] = None,
    rate_hz: Annotated[
        float | None, typer.Option(help="Sample copies to this rate; else all frames.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Videos copied at a time; else one per core.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at a bad video.")] = False,
    as_json: Json = False,
    _sandbox: SandboxOption = False,
) -> None:
    """Turn published annotations into a manifest, and videos into copies that are fast to read.

    Copies are cut to their part, and lie in the new folder as the originals lie in theirs, beside
    manifest.jsonl. Bad videos have no copy; left_out.jsonl says why. The data set itself is not
    touched, and a stopped run continues where it was.

    Example: `co3d data prepare charades --output charades_small --to video --short-side 256`
    """
    from co3d.cli.data_choice import DataChoice
    from co3d.cli.data_prepare import PrepareOptions, run_prepare

    options = PrepareOptions(
        path,
        output,
        layout,
        split,
        classes,
        DataChoice(root, labels, only),
        form=to,
        short_side_px=short_side,
        rate_hz=rate_hz,
        workers=workers,
        strict=strict,
        as_json=as_json,
    )
    raise typer.Exit(run_prepare(options))


@data_app.command()
def annotations(
    name: Annotated[SetName, typer.Argument(help="Whose annotations.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for them; else DATASETS_PATH/NAME/annotations.")
    ] = None,
) -> None:
    """Fetch official annotations, and say how to get the videos themselves.

    Example: `co3d data annotations charades --output /data/charades`
    """
    from co3d.cli.data_annotations import fetch_annotations

    fetch_annotations(name, output)
