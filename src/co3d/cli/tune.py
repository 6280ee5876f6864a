"""`co3d tune`: start a search from the command line's words, and print its result."""

import json
from pathlib import Path
from typing import Any, Literal

from co3d.cli.exit_codes import STOPPED, SUCCESS
from co3d.cli.train import name_folder, print_way_to_play
from co3d.console import Console
from co3d.packages import require_package


def run_search(
    recipe_name: str,
    overrides: list[str],
    search: list[str],
    *,
    trials: int,
    pruner: Literal["median", "hyperband", "none"],
    output: Path | None,
    resume: bool,
    as_json: bool,
) -> int:
    """Search, print the result, and return the exit code.

    Raises:
        Co3dError: see `co3d.training.tune`.
    """
    for package in ("lightning", "pydantic", "yaml"):
        require_package(package, extra="training")
    require_package("optuna", extra="tune")
    from co3d.training.recipe_file import read_recipe
    from co3d.training.search import declare_search
    from co3d.training.tune import tune

    recipe = declare_search(read_recipe(recipe_name, overrides), search)
    folder = output or name_folder(recipe.name, resume=resume)
    console = Console(stderr=True)
    console.print(f"Searching {', '.join(recipe.search)} in {folder}", highlight=False)

    def report(trial: dict[str, Any]) -> None:
        console.print(_describe(trial), highlight=False, soft_wrap=True, markup=False)

    found = tune(recipe, folder, trials=trials, pruner=pruner, resume=resume, report=report)
    if as_json:
        described = {"folder": str(folder), "best": found.best, "trials": found.trials}
        print(json.dumps({**described, "was_stopped": found.was_stopped}))
    else:
        if found.best is not None:
            console.print(f"Best is {_describe(found.best)}", soft_wrap=True, markup=False)
            print_way_to_play(console, folder, recipe.model.name)
        if found.was_stopped:
            again = f"co3d tune {folder}/recipe.yaml --output {folder} --trials {trials} --resume"
            console.print(f"Go on with: {again}", highlight=False, soft_wrap=True)
    return STOPPED if found.was_stopped else SUCCESS


def _describe(trial: dict[str, Any]) -> str:
    settings = ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={json.dumps(value)}"
        for key, value in trial["settings"].items()
    )
    score = "" if trial["score"] is None else f" at {100 * trial['score']:.1f} %"
    reason = f" ({trial['reason']})" if "reason" in trial else ""
    return f"trial {trial['number']}: {trial['state']}{score}{reason}: {settings}"
