"""The search for better settings of a recipe, with Optuna."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer

from co3d.errors import Co3dError, OptionError, TrainingError
from co3d.files import output_file
from co3d.models.saved import CARD, WEIGHTS
from co3d.packages import require_package
from co3d.training.batches import mix_seeds
from co3d.training.failures import explain_failures
from co3d.training.module import ClipTraining
from co3d.training.pictures import draw_search
from co3d.training.recipe import Recipe
from co3d.training.recipe_file import write_recipe
from co3d.training.run import train
from co3d.training.run_folder import LAST, RECIPE, RunFolder, open_folder
from co3d.training.search import Choice, Range, Space, apply, read_space

Pruner = Literal["median", "hyperband", "none"]
STUDY = "study.log"
# The exceptions of Optuna for a journal that is damaged or was written by something else.
_JOURNAL_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
# Attributes of a trial: the earlier trial that it resumes, and the reason of a failure.
_BEGAN_AS, _REASON = "began_as", "reason"


@dataclass(frozen=True)
class Search:
    """The result of a search.

    Attributes:
        folder: of the study; it is also a model folder for `co3d stream`.
        trials: number, state, score, settings and folder of each.
        best: the complete trial with the best score; None if there is none yet.
        was_stopped: whether a signal ended it.
    """

    folder: Path
    trials: list[dict[str, Any]]
    best: dict[str, Any] | None
    was_stopped: bool


def tune(
    recipe: Recipe,
    folder: Path,
    *,
    trials: int,
    pruner: Pruner = "median",
    resume: bool = False,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> Search:
    """Train with one setting after another, and keep the network of the best trial.

    The study's folder holds `recipe.yaml`, `study.log` (Optuna's journal), and each trial's run
    folder. After each trial it also gets `study.json`, `history.png`, and the best trial's recipe
    `best.yaml` and network, so that `co3d stream --model FOLDER` plays it.

    Args:
        recipe: its `search` section says what to vary; see `co3d.training.search`.
        folder: new or empty; with `resume`, of an earlier search.
        trials: total number of trials, including those of an earlier search.
        pruner: Optuna's name of the method that ends poor trials early.
        resume: continue; an interrupted trial continues after its last finished epoch.
        report: called with each trial that ends.

    Raises:
        MissingPackageError: Optuna is not installed.
        RecipeError: the search space is missing or invalid.
        OptionError: the recipe trains on several devices.
        OutputError: the folder is not empty, or the disk is full.
        TrainingError: no trial could be finished, or there is nothing to resume.
    """
    optuna = require_package("optuna", extra="tune")
    space = read_space(recipe)
    if recipe.compute.devices * recipe.compute.nodes > 1:
        raise OptionError("cannot search on several devices; set compute.devices=1")
    with (
        open_folder(folder, recipe, STUDY, resume=resume),
        _quiet_optuna(optuna),
        explain_failures(recipe, RunFolder(folder)),
    ):
        write_recipe(recipe, folder / RECIPE)
        try:
            study = _open_study(optuna, recipe, folder, pruner)
            found = [_describe(trial) for trial in _ended(study)]
        except _JOURNAL_ERRORS as error:
            if not resume or isinstance(error, Co3dError):
                raise
            raise TrainingError(
                f"cannot resume {folder}: its {STUDY} is damaged, or Optuna's of something else "
                f"({type(error).__name__}: {str(error)[:200]}); start anew in an empty folder"
            ) from error
        was_stopped = False
        while len(found) < trials:
            was_stopped = _run_trial(optuna, study, recipe, space, folder)
            if was_stopped:
                break
            _write(study, recipe, folder)
            found = [_describe(trial) for trial in _ended(study)]
            if report is not None:
                report(found[-1])
    best = _find_best(found)
    if best is None and not was_stopped:
        reasons = {str(trial.get(_REASON, trial["state"])) for trial in found}
        raise TrainingError(f"cannot search: no trial was finished: {'; '.join(sorted(reasons))}")
    return Search(folder, found, best, was_stopped)


class _Watch(Callback):
    """Reports a trial's score to the study after each epoch, and ends the trial if it is poor."""

    def __init__(self, trial: Any) -> None:
        self.is_hopeless = False
        self._trial = trial

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See `Callback`."""
        assert isinstance(pl_module, ClipTraining)
        score = float(trainer.callback_metrics[pl_module.monitored])
        self._trial.report(score, trainer.current_epoch)
        if self._trial.should_prune():
            self.is_hopeless = trainer.should_stop = True


def _run_trial(optuna: Any, study: Any, recipe: Recipe, space: Space, folder: Path) -> bool:
    """Run one trial; returns whether a signal stopped it."""
    states = optuna.trial.TrialState
    trial = study.ask()
    values = {key: _suggest(trial, key, choice) for key, choice in space.items()}
    run = folder / _name_folder(trial)
    goes_on = (run / LAST).exists()
    if not goes_on:
        shutil.rmtree(run, ignore_errors=True)  # of a trial interrupted in its first epoch
    watch = _Watch(trial)
    try:
        result = train(apply(recipe, values), run, resume=goes_on, callbacks=[watch])
    except TrainingError as error:  # extreme settings may diverge
        trial.set_user_attr(_REASON, str(error))
        study.tell(trial, state=states.FAIL)
        return False
    if result.was_stopped:
        return True  # the trial stays "running" in the study, so that the next run resumes it
    if watch.is_hopeless:
        study.tell(trial, state=states.PRUNED)  # with the score reported last
    else:
        study.tell(trial, result.scores[result.monitored])
    return False


def _suggest(trial: Any, key: str, values: Range | Choice) -> Any:
    if isinstance(values, Choice):
        return trial.suggest_categorical(key, values.ends)
    draw = trial.suggest_int if isinstance(values.low, int) else trial.suggest_float
    return draw(key, values.low, values.high, log=values.is_log)


def _open_study(optuna: Any, recipe: Recipe, folder: Path, pruner: Pruner) -> Any:
    """Open the study; trials that were interrupted are queued to be resumed."""
    journal = optuna.storages.journal.JournalFileBackend(str(folder / STUDY))
    pruners = {
        "median": optuna.pruners.MedianPruner,
        "hyperband": lambda: optuna.pruners.HyperbandPruner(max_resource=recipe.epochs),
        "none": optuna.pruners.NopPruner,
    }
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(journal),
        study_name=recipe.name,
        direction="maximize",
        pruner=pruners[pruner](),
        load_if_exists=True,
    )
    # The seed differs from those of earlier starts, but is the same after the same history.
    seed = mix_seeds(recipe.seed, len(study.trials)) % 2**32
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        began_as = trial.user_attrs.get(_BEGAN_AS, trial.number)
        study.enqueue_trial(trial.params, user_attrs={_BEGAN_AS: began_as})
    return study


def _ended(study: Any) -> list[Any]:
    """The trials that ended, in the order of ending; without interrupted ones."""
    ended = [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state.name in ("COMPLETE", "PRUNED") or _REASON in trial.user_attrs
    ]
    return sorted(ended, key=lambda trial: trial.datetime_complete)


def _describe(trial: Any) -> dict[str, Any]:
    described = {
        "number": trial.number,
        "state": trial.state.name.lower().replace("fail", "failed"),
        "score": trial.value,
        "settings": trial.params,
        "folder": _name_folder(trial),
    }
    if _REASON in trial.user_attrs:
        described[_REASON] = trial.user_attrs[_REASON]
    return described


def _find_best(trials: list[dict[str, Any]]) -> dict[str, Any] | None:
    complete = [trial for trial in trials if trial["state"] == "complete"]
    return max(complete, key=lambda trial: trial["score"], default=None)


def _write(study: Any, recipe: Recipe, folder: Path) -> None:
    """Write the results of all trials so far, and the network of the best one."""
    trials = [_describe(trial) for trial in _ended(study)]
    best = _find_best(trials)
    with output_file(folder / "study.json") as temporary:
        values = {"search": recipe.search, "best": best, "trials": trials}
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    draw_search(trials, folder / "history.png")
    if best is None or best != trials[-1]:
        return
    run = folder / best["folder"]
    for source, target in ((RECIPE, "best.yaml"), (WEIGHTS, WEIGHTS), (CARD, CARD)):
        with output_file(folder / target) as temporary:
            shutil.copyfile(run / source, temporary)


def _name_folder(trial: Any) -> str:
    return f"trial-{int(trial.user_attrs.get(_BEGAN_AS, trial.number)):03d}"


@contextmanager
def _quiet_optuna(optuna: Any) -> Iterator[None]:
    """Silence the line that Optuna logs for each trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
