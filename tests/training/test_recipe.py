"""Recipes: what is read is what is written, and mistakes are named with the key that was meant."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from co3d.errors import RecipeError
from co3d.training.recipe import Recipe, StreamForm, VideoData
from co3d.training.recipe_file import (
    check_recipe,
    format_recipe,
    list_recipes,
    read_recipe,
    write_recipe,
)


def recipe_from(tmp_path, text, *overrides):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return read_recipe(path, overrides)


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_are_valid_and_survive_a_round_trip(tmp_path, name):
    recipe = read_recipe(name)
    write_recipe(recipe, tmp_path / "again.yaml")
    assert read_recipe(tmp_path / "again.yaml") == recipe
    assert format_recipe(read_recipe(tmp_path / "again.yaml")) == format_recipe(recipe)


@given(
    rate=st.floats(1e-8, 10),
    lengths=st.lists(st.integers(1, 99), min_size=1, max_size=4),
    decay=st.none() | st.floats(0.001, 0.999),
    name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=9),
)
@settings(max_examples=40, deadline=None)
def test_random_recipes_survive_a_round_trip(tmp_path_factory, rate, lengths, decay, name):
    values = {
        "name": name,
        "ema_decay": decay,
        "optimiser": {"learning_rate": rate},
        "data": {"kind": "camera_motion", "clip_lengths": lengths},
    }
    recipe = check_recipe(values, "here")
    path = tmp_path_factory.mktemp("recipes") / "recipe.yaml"
    write_recipe(recipe, path)
    assert read_recipe(path) == recipe


def test_an_empty_recipe_equals_the_default(tmp_path):
    assert recipe_from(tmp_path, "") == Recipe()


def test_overrides_are_yaml_and_reach_into_sections(tmp_path):
    recipe = recipe_from(
        tmp_path,
        "epochs: 3\ndata: {kind: camera_motion, workers: 0}\n",
        "optimiser.learning_rate=1e-2",
        "data.kind=videos",
        "data.short_side_px=[64, 80]",
        "form.kind=stream",
        "form.loss=last",
        "optimiser.clip_norm=null",
    )
    assert recipe.epochs == 3
    assert recipe.optimiser.learning_rate == 0.01
    assert recipe.optimiser.clip_norm is None
    assert recipe.data == VideoData(short_side_px=(64, 80))
    assert recipe.form == StreamForm(loss="last")


def test_changing_the_kind_keeps_the_common_keys(tmp_path):
    text = "optimiser: {kind: adamw, learning_rate: 0.5}\nschedule: {kind: cosine, warm_up: 0.3}"
    recipe = recipe_from(tmp_path, text, "optimiser.kind=sgd", "schedule.kind=constant")
    assert (recipe.optimiser.kind, recipe.optimiser.learning_rate) == ("sgd", 0.5)
    assert (recipe.schedule.kind, recipe.schedule.warm_up) == ("constant", 0.3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.kind=sgd", "unknown key optimizer: did you mean optimiser?"),
        ("optimiser.learning_rte=1", "optimiser.learning_rte: did you mean learning_rate?"),
        ("data.frames_per_bach=1", "data.frames_per_bach: did you mean frames_per_batch?"),
        ("qqq=1", "unknown key qqq: known are name, seed"),
        ("epochs=ten", "epochs: got 'ten', expected a valid integer"),
        ("seed=1.5", "seed: got 1.5, expected a valid integer"),
        ("epochs=0", "epochs: got 0, expected greater than or equal to 1"),
        ("optimiser.learning_rate=.nan", "learning_rate: got nan, expected a finite number"),
        ("data.kind=tapes", "data.kind: got 'tapes', expected 'camera_motion', 'videos'"),
        ("model=x3d_s", "model: got 'x3d_s', expected"),
        ("epochs", "expected key=value"),
        ("epochs.x=1", "epochs is no section"),
        ("name=[", "is no YAML"),
    ],
)
def test_mistakes_are_reported_by_name(tmp_path, override, message):
    with pytest.raises(RecipeError) as error:
        recipe_from(tmp_path, "epochs: 1\ndata: {kind: camera_motion}\n", override)
    assert message in str(error.value)


def test_chunks_must_fill_the_video(tmp_path):
    text = "form: {kind: stream, chunk_frames: 7, video_frames: 96}"
    with pytest.raises(RecipeError, match="video_frames 96 is no multiple of chunk_frames 7"):
        recipe_from(tmp_path, text)


def test_incompatible_sections_are_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"expected compute\.compile false in stream form"):
        recipe_from(tmp_path, "", "form.kind=stream", "compute.compile=true")
    with pytest.raises(RecipeError, match=r"expected data\.mixup and data\.cutmix 0"):
        recipe_from(tmp_path, "", "form.kind=stream", "data.kind=videos", "data.cutmix=1.0")
    with pytest.raises(RecipeError, match=r"expected freezing\.unfreeze_every null"):
        recipe_from(tmp_path, "", "freezing.unfreeze_every=1", "compute.devices=2")


@pytest.mark.parametrize(
    "text", ["- 1", "a: [", "!!python/object:os.system {}", "a: &a [*a]", "\x00"]
)
def test_files_without_a_recipe_are_refused(tmp_path, text):
    with pytest.raises(RecipeError):
        recipe_from(tmp_path, text)


def test_a_misspelt_name_of_a_recipe_is_corrected(tmp_path):
    with pytest.raises(RecipeError, match="did you mean"):
        read_recipe("camera_moton")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot read"):
        read_recipe(tmp_path / "binary.yaml")
