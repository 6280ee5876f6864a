"""`co3d train` and `co3d finetune`: start a run from the command line, and print its result."""

import json
import os
import re
import shlex
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from co3d.cli.exit_codes import STOPPED, SUCCESS
from co3d.console import Console
from co3d.environment import logs_path
from co3d.errors import OptionError, TrainingError
from co3d.files import make_folder
from co3d.models import get_card, has_own_weights
from co3d.models.file_networks import is_file_network
from co3d.models.saved import WEIGHTS
from co3d.packages import require_package
from co3d.weights import list_weights

PICTURE = "learning_rate.png"
RUN_FOLDER = "CO3D_RUN_FOLDER"


@dataclass(frozen=True)
class TrainOptions:
    """The options of `co3d train`, as the command line gives them.

    Attributes:
        recipe: file or name. overrides: key=value.
        output: folder of the run. resume: continue the run in that folder.
        fast_dev_run: one batch. find_learning_rate: a range test instead of a run.
        as_json: print JSON and nothing else.
    """

    recipe: str | None
    overrides: list[str]
    output: Path | None
    resume: bool
    fast_dev_run: bool
    find_learning_rate: bool
    as_json: bool


def run_training(options: TrainOptions) -> int:
    """Run what the options ask for, print the result, and return the exit code.

    Raises:
        OptionError: no recipe is given, or options exclude each other.
        Co3dError: see `co3d.training`.
    """
    if options.recipe is None:
        raise OptionError(
            "cannot train: no recipe is given; name a file, or see `co3d train --list`"
        )
    if sum((options.resume, options.fast_dev_run, options.find_learning_rate)) > 1:
        raise OptionError(
            "cannot train: --resume, --fast-dev-run and --find-learning-rate exclude each other"
        )
    for package in ("lightning", "pydantic", "yaml"):
        require_package(package, extra="training")
    from co3d.training.recipe_file import read_recipe

    recipe = read_recipe(options.recipe, options.overrides)
    console = Console(stderr=True)
    if options.fast_dev_run:
        from co3d.training.run import try_out

        try_out(recipe)
        _say(options, console, {"recipe": recipe.name}, f"The recipe {recipe.name} runs.")
        return SUCCESS
    if options.find_learning_rate:
        return _find_learning_rate(options, console, recipe)
    from co3d.training.run import train
    from co3d.training.run_folder import is_first_process

    folder = options.output or name_folder(recipe.name, resume=options.resume)
    console.quiet = not is_first_process()
    console.print(f"Training {recipe.model.name} into {folder}", highlight=False)
    try:
        result = train(recipe, folder, resume=options.resume, say=partial(_say_division, console))
    except TrainingError:
        if (folder / "last.ckpt").exists():
            console.print(f"The last finished epoch is kept in {folder}.", highlight=False)
        raise
    described = {
        "folder": str(folder),
        "epochs": result.epochs,
        "scores": result.scores,
        "was_stopped": result.was_stopped,
    }
    if options.as_json and not console.quiet:
        print(json.dumps(described))
    elif not options.as_json:
        _print_result(console, folder, recipe.model.name, described)
    return STOPPED if result.was_stopped else SUCCESS


def print_recipes(*, as_json: bool) -> None:
    """List the recipes of the package and what they train."""
    require_package("yaml", extra="training")
    require_package("pydantic", extra="training")
    from co3d.training.recipe_file import list_recipes, summarise_recipe

    found = {name: summarise_recipe(name) for name in list_recipes()}
    if as_json:
        print(json.dumps(found))
        return
    table = Table("recipe", "what it trains")
    for name, summary in found.items():
        table.add_row(name, summary)
    Console().print(table)


def describe_finetuning(
    folder: str,
    model: str,
    weights: str | None,
    background: str | None,
    head: str,
    choice: dict[str, Path | None],
) -> list[str]:
    """Overrides of the recipe `finetune` for one folder and network.

    Args:
        folder, model, weights, background, head: the options of the same names.
        choice: root, labels and only of the data.

    Raises:
        UnknownModelError: no such model.
        OptionError: the model has no known weights to start from.
    """
    has_weights = is_file_network(model) or has_own_weights(model)
    if weights is None and not has_weights:
        card = get_card(model)
        tags = [entry.tag for entry in list_weights(card.name)]
        if not tags:
            raise OptionError(
                f"cannot fine-tune {model}: no weights of it are published; give --weights FILE"
            )
        weights = tags[0]
    values: dict[str, Any] = {
        "name": Path(folder).resolve().stem,
        "model.name": model,
        "model.weights": weights,
        "data.path": folder,
        "data.background": background,
        "model.head": head,
        **{f"data.{key}": path and str(path) for key, path in choice.items()},
    }
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def _find_learning_rate(options: TrainOptions, console: Console, recipe: Any) -> int:
    from co3d.training.rate_test import find_learning_rate

    folder = options.output or Path()
    make_folder(folder)
    found = find_learning_rate(recipe, picture=folder / PICTURE)
    described = {"suggested": found.suggested, "rates": found.rates, "losses": found.losses}
    advice = (
        f"optimiser.learning_rate={found.suggested:.2g} is where the loss falls most steeply; see "
        f"{folder / PICTURE}"
    )
    _say(options, console, described, advice)
    return SUCCESS


def name_folder(name: str, *, resume: bool) -> Path:
    """A new folder's path, from the recipe's name.

    In distributed training Lightning starts further processes with the same command; they must find
    the name that the first one chose.
    """
    if resume:
        raise OptionError("cannot resume: name the folder of the run with --output")
    if RUN_FOLDER in os.environ and "LOCAL_RANK" in os.environ:
        return Path(os.environ[RUN_FOLDER])
    stem = re.sub(r"[^\w.-]+", "_", name).strip("._") or "run"
    base = logs_path() / stem
    number = 1
    while base.exists():
        number += 1
        base = logs_path() / f"{stem}-{number}"
    os.environ[RUN_FOLDER] = str(base)
    return base


def _say_division(console: Console, division: str) -> None:
    text = f"{division[0].upper()}{division[1:]}."
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _say(options: TrainOptions, console: Console, values: dict[str, Any], text: str) -> None:
    if options.as_json:
        print(json.dumps(values))
    else:
        console.print(text, highlight=False)


def _print_result(console: Console, folder: Path, model: str, result: dict[str, Any]) -> None:
    table = Table("score", "value")
    for name, value in result["scores"].items():
        is_share = not name.endswith("_loss")
        table.add_row(
            name.replace("_", " "), f"{100 * value:.1f} %" if is_share else f"{value:.4f}"
        )
    if result["scores"]:
        console.print(table)
    epochs = result["epochs"]
    how = "Stopped" if result["was_stopped"] else "Finished"
    console.print(f"{how} after {epochs} epoch{'s' * (epochs != 1)}: {folder}", highlight=False)
    if result["was_stopped"] and result["epochs"]:
        console.print(
            f"Go on with: co3d train {folder}/recipe.yaml --output {folder} --resume",
            highlight=False,
            soft_wrap=True,
        )
    if result["scores"]:
        print_way_to_play(console, folder, model)
    sys.stderr.flush()


def print_way_to_play(console: Console, folder: Path, model: str) -> None:
    """Say by which command the network in a run's folder is played.

    Args:
        model: its name in the recipe; a network of a user's file is built by that file.
    """
    words = [str(folder)]
    if is_file_network(model):
        words = [model, "--weights", str(folder / WEIGHTS)]
    console.print(
        f"Play it: co3d stream VIDEO --model {shlex.join(words)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
