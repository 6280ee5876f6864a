"""What a search may vary, as a recipe or the command line says it."""

import pytest

from co3d.errors import RecipeError
from co3d.training.recipe import Recipe
from co3d.training.recipe_file import check_recipe
from co3d.training.search import Choice, Range, apply, declare_search, read_space


def space(*words):
    return read_space(declare_search(Recipe(), words))


def test_ranges_and_choices_are_read():
    assert space(
        "optimiser.learning_rate=log:1e-4..1e-1",
        "optimiser.weight_decay=.5..1.5",
        "epochs=3..10",
        "schedule.kind=[cosine, one_cycle]",
        "ema_decay=[null, 0.9]",
    ) == {
        "optimiser.learning_rate": Range(1e-4, 0.1, is_log=True),
        "optimiser.weight_decay": Range(0.5, 1.5, is_log=False),
        "epochs": Range(3, 10, is_log=False),
        "schedule.kind": Choice(("cosine", "one_cycle")),
        "ema_decay": Choice((None, 0.9)),
    }
    whole = space("epochs=3..10")["epochs"]
    assert all(isinstance(end, int) for end in whole.ends)


def test_the_command_line_adds_to_the_recipe():
    recipe = check_recipe({"search": {"epochs": "2..3", "seed": "1..2"}}, "here")
    assert declare_search(recipe, ["epochs=[4, 5]"]).search == {"epochs": (4, 5), "seed": "1..2"}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("optimiser.learning_rte=1e-4..1", "did you mean learning_rate?"),
        ("epochs=0..3", "epochs: got 0, expected greater than or equal to 1"),
        ("epochs=1..2.5", "epochs: got 1.0, expected a valid integer"),
        ("optimiser.weight_decay=nan..1", "weight_decay: got nan, expected a finite number"),
        ("epochs=3..a", "expected LOW..HIGH, log:LOW..HIGH or [VALUE, VALUE]"),
        ("epochs=few", "expected LOW..HIGH"),
        ("epochs=3..2", "expected the lower number first"),
        ("optimiser.weight_decay=log:0..1", "expected numbers above 0, the lower first"),
        ("schedule.kind=[cosine, square]", "schedule.kind: got 'square'"),
        ("epochs=[]", "search.epochs"),
        ("epochs=[[1]]", "search.epochs"),
        ("epochs=3", "search.epochs"),
        ("epochs", "expected key=value"),
        ("epochs.x=1..2", "epochs is no section"),
    ],
)
def test_mistakes_are_reported_by_name(word, message):
    with pytest.raises(RecipeError) as error:
        space(word)
    assert message in str(error.value)


def test_nothing_to_vary_is_a_mistake():
    with pytest.raises(RecipeError, match="nothing is to vary; add --search"):
        read_space(Recipe())


def test_a_kind_is_set_before_its_own_keys():
    changed = apply(Recipe(), {"form.chunk_frames": 8, "form.kind": "stream", "seed": 4})
    assert (changed.form.kind, changed.form.chunk_frames, changed.seed) == ("stream", 8, 4)
    assert changed.search == {}
