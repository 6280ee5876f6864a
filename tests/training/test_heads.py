"""Training on a part of the classes, with a new classifier, a part of the old one or the whole."""

import pytest
import torch

import co3d
from co3d.errors import DataError, OptionError, RecipeError
from co3d.models.camera_motion import CAMERA_MOTIONS
from co3d.training.run import train
from co3d.training.setup import set_up
from support.noise_videos import videos, write_noise

PART = ("zoom_in", "pan left")  # spelt as folders are; they come in alphabetical order
PLACES = [CAMERA_MOTIONS.index(name) for name in ("pan left", "zoom in")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for index, name in enumerate(PART):
        for number in range(2):
            write_noise(root / name / f"{number}.mp4", 10 * index + number)
    return root


def model(head, **changes):
    return {"name": "camera_motion", "weights": None, "head": head, **changes}


def test_a_subset_of_classes_starts_from_its_classifier_rows(tiny, folder):
    setup = set_up(tiny(data=videos(folder), model=model("part")))
    assert setup.net.card.labels == setup.data.class_names == ("pan left", "zoom_in")
    whole = co3d.create_model("camera_motion").classifier
    assert torch.equal(setup.net.classifier.weight, whole.weight[PLACES])
    assert torch.equal(setup.net.classifier.bias, whole.bias[PLACES])


def test_without_a_subset_every_class_is_kept(tmp_path, tiny, folder):
    recipe = tiny(
        epochs=1,
        data=videos(folder),
        model=model("whole"),
        loss={"class_weights": "balanced", "label_smoothing": 0.1},
    )
    setup = set_up(recipe)
    assert setup.data.class_names == CAMERA_MOTIONS
    counts = dict(zip(CAMERA_MOTIONS, setup.data.counts, strict=True))
    assert {name: count for name, count in counts.items() if count} == {"pan left": 1, "zoom in": 1}
    assert torch.isfinite(setup.module.class_weights).all()
    train(recipe, tmp_path / "run")
    assert co3d.create_model(str(tmp_path / "run")).card.labels == CAMERA_MOTIONS
    # The names are in the checkpoints of the run, too.
    kept = co3d.create_model("camera_motion", weights=tmp_path / "run" / "best.ckpt")
    assert kept.card.labels == CAMERA_MOTIONS


def test_names_that_do_not_match_are_refused(tmp_path, tiny, folder):
    for number in range(2):
        write_noise(tmp_path / "jump" / f"{number}.mp4", number)
        write_noise(tmp_path / "static" / f"{number}.mp4", 10 + number)
    with pytest.raises(OptionError, match="got jump, expected some of its 9, such as 'static'"):
        set_up(tiny(data=videos(tmp_path), model=model("part")))
    with pytest.raises(DataError, match="a folder 'jump', expected"):
        set_up(tiny(data=videos(tmp_path), model=model("whole")))
    with pytest.raises(RecipeError, match=r"do not name their classes; set model\.labels"):
        set_up(tiny(data=videos(folder), model=model("whole", weights="random")))
    with pytest.raises(RecipeError, match=r"set model\.head=new"):
        set_up(tiny(data=videos(folder, background=str(tmp_path)), model=model("whole")))


def test_label_files_name_and_select_classes(tmp_path, tiny, folder):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(reversed(CAMERA_MOTIONS)))
    setup = set_up(
        tiny(data=videos(folder), model=model("whole", weights="random", labels=str(names)))
    )
    assert setup.data.class_names == CAMERA_MOTIONS[::-1]
    listed = tmp_path / "list.csv"
    listed.write_text(
        "\n".join(f"/gone/{name}/{i}.mp4 {k}" for k, name in enumerate(PART) for i in range(2))
    )
    own = tmp_path / "own.txt"
    own.write_text("zoom in\npan left\n")
    data = videos(listed, root=str(folder), labels=str(own))
    setup = set_up(tiny(data=data, model=model("part")))
    assert setup.data.class_names == ("zoom in", "pan left")
    only = tmp_path / "only.txt"
    only.write_text("pan left\n")
    with pytest.raises(DataError, match="one class, pan left, expected two"):
        set_up(tiny(data={**data, "only": str(only)}, model=model("part")))
