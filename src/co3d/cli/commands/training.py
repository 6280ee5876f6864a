"""`co3d train`, `co3d finetune` and `co3d tune`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from co3d.cli.commands.declared import (
    DEBUG_HINT,
    ClassNamesOption,
    JsonOption,
    OnlyOption,
    RootOption,
)

TRAIN_EPILOG = """
**Examples**

```
co3d train camera_motion --output runs/camera_motion
co3d train recipe.yaml data.batch=4 optimiser.learning_rate=1e-3
co3d train recipe.yaml --fast-dev-run
co3d train recipe.yaml --find-learning-rate
co3d train runs/mine/recipe.yaml --output runs/mine --resume
co3d stream match.mp4 --model runs/mine
```

`co3d train --list` names the recipes that the package ships; docs/training.md explains their keys.
Ctrl-C ends a run after the current batch; `--resume` continues from its last finished epoch.
"""
FINETUNE_EPILOG = """
**Examples**

```
co3d finetune my_videos --model x3d_s
co3d finetune my_videos --background nothing_happens epochs=30
co3d finetune my_videos --model slow_r50 --weights checkpoint.pyth --output runs/mine
co3d finetune my_videos --model my_network.py:build
```

The folder holds a folder of videos for each class.
"""
TUNE_EPILOG = """
**Examples**

```
co3d tune camera_motion --search optimiser.learning_rate=log:1e-4..1e-1 epochs=3
co3d tune recipe.yaml --search schedule.kind='[cosine, one_cycle]' --search epochs=5..20 --trials 50
co3d tune runs/mine/recipe.yaml --output runs/mine --resume --trials 100
co3d stream match.mp4 --model runs/mine
```

A recipe's own `search` section may say what to vary too. The folder holds `study.json`,
`history.png`, a run's folder for each trial, and of the best trial `best.yaml` and the network.
Needs `pip install 'co3d[tune]'`.
"""
DEFAULT_OUTPUT = "The run's folder; a new one under `LOGS_PATH`, or `runs`, by default."

training_app = typer.Typer()

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Overrides of the recipe, such as epochs=3."),
]
OutputOption = Annotated[Path | None, typer.Option(help=DEFAULT_OUTPUT)]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue the run in that folder.")]
TryOption = Annotated[
    bool, typer.Option("--fast-dev-run", help="Run one batch of everything, and write nothing.")
]


@training_app.command(epilog="\n\n".join((TRAIN_EPILOG, DEBUG_HINT)))
def train(
    recipe: Annotated[
        str | None, typer.Argument(help="A YAML file, or the name of a recipe of the package.")
    ] = None,
    overrides: Overrides = None,
    output: OutputOption = None,
    resume: ResumeOption = False,
    fast_dev_run: TryOption = False,
    find_learning_rate: Annotated[
        bool,
        typer.Option(
            "--find-learning-rate",
            help="Try rising learning rates, suggest one, and draw learning_rate.png (into "
            "--output, if given).",
        ),
    ] = False,
    list_recipes: Annotated[
        bool, typer.Option("--list", help="List the recipes of the package.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a network as a recipe says, and leave a folder that `co3d stream` plays."""
    from co3d.cli.train import TrainOptions, print_recipes, run_training

    if list_recipes:
        print_recipes(as_json=as_json)
        return
    options = TrainOptions(
        recipe=recipe,
        overrides=overrides or [],
        output=output,
        resume=resume,
        fast_dev_run=fast_dev_run,
        find_learning_rate=find_learning_rate,
        as_json=as_json,
    )
    raise typer.Exit(run_training(options))


@training_app.command(epilog="\n\n".join((FINETUNE_EPILOG, DEBUG_HINT)))
def finetune(
    folder: Annotated[str, typer.Argument(help="A folder of class folders, or a manifest.")],
    overrides: Overrides = None,
    model: Annotated[
        str,
        typer.Option(
            help="A name that `co3d models` lists, the folder of a run, or FILE.py:FACTORY."
        ),
    ] = "x3d_s",
    weights: Annotated[
        str | None,
        typer.Option(
            help="A tag or a checkpoint file; by default the model's first tag, or those that "
            "FACTORY gives."
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(help="Folder of videos in which nothing of interest happens: a last class."),
    ] = None,
    head: Annotated[
        Literal["new", "part", "whole"],
        typer.Option(
            help="The classifier: new, the part of the weights' that the folder has classes for, "
            "or the weights' own with all classes."
        ),
    ] = "new",
    root: RootOption = None,
    labels: ClassNamesOption = None,
    only: OnlyOption = None,
    output: OutputOption = None,
    resume: ResumeOption = False,
    fast_dev_run: TryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Teach a trained network the classes of a folder of videos.

    Takes the recipe `finetune`: balanced classes, gradual unfreezing, frozen statistics.
    """
    from co3d.cli.train import TrainOptions, describe_finetuning, run_training

    choice = {"root": root, "labels": labels, "only": only}
    described = describe_finetuning(folder, model, weights, background, head, choice)
    options = TrainOptions(
        recipe="finetune",
        overrides=[*described, *(overrides or [])],
        output=output,
        resume=resume,
        fast_dev_run=fast_dev_run,
        find_learning_rate=False,
        as_json=as_json,
    )
    raise typer.Exit(run_training(options))


@training_app.command(epilog="\n\n".join((TUNE_EPILOG, DEBUG_HINT)))
def tune(
    recipe: Annotated[
        str, typer.Argument(help="A YAML file, or the name of a recipe of the package.")
    ],
    overrides: Overrides = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=SPACE",
            help="What to vary: KEY=LOW..HIGH, KEY=log:LOW..HIGH or KEY=[VALUE, VALUE]. Any "
            "number of times.",
        ),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Trials in all, including those of a resumed search.")
    ] = 20,
    pruner: Annotated[
        Literal["median", "hyperband", "none"],
        typer.Option(help="How poor trials are found and ended early."),
    ] = "median",
    output: OutputOption = None,
    resume: ResumeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Search for better settings of a recipe: trial after trial, with Optuna."""
    from co3d.cli.tune import run_search

    code = run_search(
        recipe,
        overrides or [],
        search or [],
        trials=trials,
        pruner=pruner,
        output=output,
        resume=resume,
        as_json=as_json,
    )
    raise typer.Exit(code)
