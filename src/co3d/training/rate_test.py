"""The learning-rate range test (Smith 2015, arXiv:1506.01186)."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lightning.pytorch.tuner.tuning import Tuner

from co3d.errors import TrainingError
from co3d.training.failures import explain_failures
from co3d.training.pictures import draw_rates
from co3d.training.recipe import Recipe
from co3d.training.run import make_loaders, open_trainer, quiet_lightning
from co3d.training.setup import set_up

LOWEST, HIGHEST = 1e-6, 1.0


@dataclass(frozen=True)
class RateTest:
    """The result of a range test.

    Attributes:
        suggested: the rate at which the loss falls most steeply.
        rates, losses: that were tried, and the smoothed losses that they led to.
    """

    suggested: float
    rates: list[float]
    losses: list[float]


def find_learning_rate(recipe: Recipe, steps: int = 100, picture: Path | None = None) -> RateTest:
    """Train while the learning rate rises, and find the rate at which the loss falls fastest.

    Args:
        recipe: its own schedule and learning rate are ignored.
        steps: of the optimiser.
        picture: file to draw the losses into.

    Raises:
        TrainingError: the loss never falls.
    """
    with quiet_lightning(), explain_failures(recipe, None), TemporaryDirectory() as scratch:
        setup = set_up(recipe)
        loaders = make_loaders(setup, recipe)
        trainer = open_trainer(
            recipe,
            max_steps=steps,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            default_root_dir=scratch,
        )
        found = Tuner(trainer).lr_find(
            setup.module,
            *loaders,
            min_lr=LOWEST,
            max_lr=HIGHEST,
            num_training=steps,
            update_attr=False,
        )
    suggested = None if found is None else found.suggestion(skip_begin=min(10, steps // 4))
    if found is None or suggested is None:
        raise TrainingError(
            "cannot suggest a learning rate: the loss never fell; take more steps, or look at the "
            "data"
        )
    result = RateTest(suggested, found.results["lr"], found.results["loss"])
    if picture is not None:
        draw_rates(result.rates, result.losses, suggested, picture)
    return result
