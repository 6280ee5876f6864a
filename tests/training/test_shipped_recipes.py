"""The recipes for published data sets run, on miniatures of these, with all that is theirs.

What is changed is where they run, how many classes there are, and the size of clips.
"""

import pytest

from co3d.training.recipe_file import read_recipe
from co3d.training.run import try_out
from support.miniature import make_charades, make_kinetics

CLASSES = ("pan left", "zoom in")
HERE = (
    *("compute.accelerator=cpu", "compute.devices=1", "compute.strategy=auto", "compute.threads=1"),
    *("data.workers=0", "data.batch=2", "data.classes=null", "model.weights=random"),
    *("data.clip_frames=5", "data.crop_px=32", "data.short_side_px=[32, 40]"),
)


@pytest.fixture(scope="module")
def kinetics(tmp_path_factory):
    root = tmp_path_factory.mktemp("kinetics")
    for seed, split in enumerate(("train", "val")):
        make_kinetics(
            root, classes=CLASSES, per_class=2, kinds=("valid",), missing=0, split=split, seed=seed
        )
    return root


@pytest.fixture(scope="module")
def charades(tmp_path_factory):
    root = tmp_path_factory.mktemp("charades")
    make_charades(root, videos=4, frames=32, as_frames=True)
    heading, *lines = (root / "val.csv").read_text().splitlines()
    for name, ids in (("val", ("MINI0", "MINI1")), ("train", ("MINI2", "MINI3"))):
        own = [line for line in lines if line.startswith(ids)]
        (root / f"{name}.csv").write_text("\n".join([heading, *own]) + "\n")
    return root


@pytest.mark.parametrize("name", ["kinetics400_x3d_s", "kinetics400_x3d_m", "kinetics400_slow_r50"])
def test_kinetics_recipes_run(kinetics, name):
    recipe = read_recipe(name, [*HERE, f"data.path={kinetics}"])
    assert recipe.compute.precision == "bf16-mixed"
    try_out(recipe)


def test_the_charades_recipe_runs(charades):
    try_out(read_recipe("charades_slow_r50", [*HERE, f"data.path={charades}"]))
