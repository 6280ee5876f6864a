"""What is frozen does not move, and the rest of a network learns at its own rates."""

import pytest
import torch

import co3d
from co3d.errors import RecipeError
from co3d.training.layers import Freezer, find_layer_groups
from co3d.training.optimisers import make_optimiser, make_schedule, rate_at
from co3d.training.recipe import FreezingSection, OptimiserSection, ScheduleSection
from co3d.training.run import train


def camera_motion():
    return co3d.create_model("camera_motion", "random").train()


def test_layer_groups_are_ordered_from_the_input_to_the_classifier():
    x3d = [f"stages.{index}" for index in range(4)]
    assert find_layer_groups(co3d.create_model("x3d_s", "random")) == ["stem", *x3d, "head"]
    blocks = [f"blocks.{index}" for index in range(3)]
    assert find_layer_groups(camera_motion()) == ["stem", *blocks, "classifier"]


@pytest.mark.parametrize("name", co3d.list_models())
def test_every_parameter_is_in_exactly_one_of_a_few_layer_groups(name):
    with torch.device("meta"):
        model = co3d.create_model(name, "random")
    groups = find_layer_groups(model)
    assert 4 <= len(groups) <= 24
    for parameter, _ in model.named_parameters():
        assert sum(parameter.startswith(f"{group}.") for group in groups) == 1, parameter


def run_and_compare(tmp_path, tiny, **changes):
    """Names of what a run changed, and of what it left."""
    recipe = tiny(**changes, keep="last")
    start = tmp_path / "start"
    train(tiny(epochs=1), start)
    recipe = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"name": str(start), "weights": None})}
    )
    train(recipe, tmp_path / "run")
    before, after = (co3d.create_model(str(tmp_path / n)).state_dict() for n in ("start", "run"))
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    return changed, set(before) - changed


def test_frozen_layers_keep_weights_and_statistics(tmp_path, tiny):
    changed, kept = run_and_compare(
        tmp_path, tiny, epochs=1, freezing={"layers": ["stem", "blocks.0"]}
    )
    assert kept == {key for key in kept | changed if key.startswith(("stem.", "blocks.0."))}


def test_frozen_batch_norm_keeps_statistics_and_learns_its_scale(tmp_path, tiny):
    changed, kept = run_and_compare(tmp_path, tiny, epochs=1, freezing={"batch_norm": True})
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert kept == {key for key in kept | changed if key.endswith(statistics)}


def test_gradual_unfreezing_begins_with_the_classifier(tmp_path, tiny):
    changed, _ = run_and_compare(tmp_path, tiny, epochs=2, freezing={"unfreeze_every": 1})
    assert {key.split(".")[0] for key in changed} == {"blocks", "classifier"}
    assert {key[:9] for key in changed if key.startswith("blocks")} == {"blocks.2."}


def test_everything_is_unfrozen_in_the_end():
    freezer = Freezer(camera_motion(), FreezingSection(unfreeze_every=2))
    assert len(freezer.frozen_paths(0)) == len(freezer.frozen_paths(1)) == 4
    assert len(freezer.frozen_paths(2)) == 3
    assert freezer.frozen_paths(8) == freezer.frozen_paths(99) == []


def test_a_misspelt_layer_is_corrected():
    with pytest.raises(RecipeError, match=r"did you mean blocks\.1"):
        Freezer(camera_motion(), FreezingSection(layers=("block.1",)))


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_learning_rates_fall_towards_the_input_and_norms_have_no_weight_decay(kind):
    model = camera_motion()
    optimiser = make_optimiser(
        model, OptimiserSection(kind=kind, learning_rate=0.1, layer_decay=0.5, weight_decay=0.3)
    )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    seen = {}
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            seen[names[id(parameter)]] = group["lr"], group["weight_decay"]
    assert seen.keys() == set(names.values())
    assert seen["classifier.weight"] == (0.1, 0.3)
    assert seen["classifier.bias"] == (0.1, 0.0)
    assert seen["blocks.2.norm1.weight"] == (0.05, 0.0)
    assert seen["stem.0.weight"] == (0.1 * 0.5**4, 0.3)


def rates(section, steps):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    schedule = make_schedule(optimiser, section, steps)
    found = []
    for _ in range(steps):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return found


def test_schedules_warm_up_and_decay():
    cosine = rates(ScheduleSection(kind="cosine", warm_up=0.1), 100)
    assert cosine[0] == pytest.approx(0.01)
    assert cosine[10] == max(cosine) == 1
    assert cosine[55] == pytest.approx(0.5)
    assert cosine[99] < 1e-3
    cycle = rates(ScheduleSection(kind="one_cycle", warm_up=0.2), 100)
    assert cycle.index(max(cycle)) == 19
    assert max(cycle) == pytest.approx(1)
    assert cycle[99] < 1e-5 < cycle[0]
    several = rates(ScheduleSection(kind="multi_step", warm_up=0, milestones=(0.5, 0.75)), 100)
    assert [several[step] for step in (0, 49, 50, 74, 75, 99)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    assert set(rates(ScheduleSection(kind="constant", warm_up=0), 9)) == {1}
    for kind in ("cosine", "one_cycle", "multi_step", "constant"):
        for steps in (1, 2, 3, 9):
            assert len(rates(ScheduleSection(kind=kind), steps)) == steps
    assert rate_at(200, 100, ScheduleSection(kind="cosine")) == 0
