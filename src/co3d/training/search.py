"""The search space for a recipe's keys: ranges and choices."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from co3d.errors import RecipeError
from co3d.training.recipe import Recipe
from co3d.training.recipe_file import check_recipe, override, parse_override

FORMS = "LOW..HIGH, log:LOW..HIGH or [VALUE, VALUE]"


@dataclass(frozen=True)
class Range:
    """The numbers from low to high, integers if both are; drawn on a logarithmic scale if set."""

    low: float
    high: float
    is_log: bool

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values to check: if they are valid, all others are."""
        return self.low, self.high


@dataclass(frozen=True)
class Choice:
    """Some values."""

    ends: tuple[Any, ...]


Space = dict[str, Range | Choice]


def declare_search(recipe: Recipe, words: Sequence[str]) -> Recipe:
    """The recipe with more keys to search, or other values for those it searches already.

    Args:
        recipe: what it started from.
        words: `key=LOW..HIGH`, `key=log:LOW..HIGH` or `key=[VALUE, VALUE]`.

    Raises:
        RecipeError: a word has another form.
    """
    added = dict(map(parse_override, words))
    plain = recipe.model_dump(mode="json")
    return check_recipe({**plain, "search": {**plain["search"], **added}}, recipe.name)


def read_space(recipe: Recipe) -> Space:
    """The search space of a recipe.

    Raises:
        RecipeError: there is nothing to vary, a key is unknown (with the nearest one), or a value
            is invalid.
    """
    if not recipe.search:
        raise RecipeError(
            "cannot search: nothing is to vary; add --search optimiser.learning_rate=log:1e-4..1e-1"
        )
    space = {key: _read_values(key, value) for key, value in recipe.search.items()}
    for key, values in space.items():
        for end in values.ends:
            apply(recipe, {key: end})
    return space


def apply(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with these keys set, and no search section."""
    plain = recipe.model_dump(mode="json", exclude={"search"})
    # Set the kinds first, because they decide which other keys exist.
    for key in sorted(values, key=lambda key: not key.endswith("kind")):
        override(plain, key, values[key])
    return check_recipe(plain, recipe.name)


def _read_values(key: str, value: str | Sequence[Any]) -> Range | Choice:
    if not isinstance(value, str):
        return Choice(tuple(value))
    is_log = value.startswith("log:")
    try:
        low, high = map(_read_number, value.removeprefix("log:").split("..", 1))
    except ValueError:
        raise RecipeError(f"cannot search {key}: got {value!r}, expected {FORMS}") from None
    if low >= high or (is_log and low <= 0):
        need = "numbers above 0, the lower first" if is_log else "the lower number first"
        raise RecipeError(f"cannot search {key}: got {value!r}, expected {need}")
    both_whole = isinstance(low, int) and isinstance(high, int)
    return Range(low, high, is_log) if both_whole else Range(float(low), float(high), is_log)


def _read_number(text: str) -> float:
    return int(text) if re.fullmatch(r"\s*[-+]?\d+\s*", text) else float(text)
