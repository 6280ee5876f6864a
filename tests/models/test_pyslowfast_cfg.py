"""A PySlowFast checkpoint says in its `cfg` how the network was fed."""

from pathlib import Path

import pytest
import torch

from co3d.models import create_model, get_card

# As `cfg.dump()` writes it, less the sections that say nothing of the pictures.
CFG = """BN:
  NORM_TYPE: batchnorm
DATA:
  INPUT_CHANNEL_NUM:
  - 3
  MEAN:
  - 0.45
  - 0.4
  - 0.35
  NUM_FRAMES: 10
  PATH_TO_DATA_DIR: ''
  SAMPLING_RATE: 5
  STD: [0.225, 0.225, 0.225]
  TARGET_FPS: 25
  TEST_CROP_SIZE: 128
  TRAIN_CROP_SIZE: 112
MODEL:
  ARCH: x3d
  NUM_CLASSES: 3
"""


def load(folder: Path, cfg: object):
    state = create_model("x3d_xs", "random", num_classes=3).state_dict()
    torch.save({"epoch": 3, "model_state": state, "cfg": cfg}, folder / "mine.pyth")
    return create_model("x3d_xs", folder / "mine.pyth")


def test_the_card_follows_the_cfg(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    card = load(tmp_path, CFG).card
    assert (card.clip_frames, card.rate_hz) == (10, 5)
    assert (card.crop_px, card.short_side_px) == (112, 128)
    assert (card.mean, card.std) == ((0.45, 0.4, 0.35), (0.225, 0.225, 0.225))
    assert "fed as their cfg says: clip_frames 10, rate_hz 5.0" in caplog.text


@pytest.mark.parametrize(
    "cfg",
    [
        "…",
        "DATA:\n",
        CFG.replace("NUM_FRAMES: 10", "NUM_FRAMES: many"),
        CFG.replace("NUM_FRAMES: 10", "NUM_FRAMES: 0"),
        CFG.replace("NUM_FRAMES: 10", "NUM_FRAMES: 1000000"),
        CFG.replace("[0.225,", "[0,"),
        CFG.replace("  - 0.35\n", ""),
        {"DATA": {"NUM_FRAMES": 3}},
        CFG + "x" * (1 << 17),
    ],
)
def test_another_cfg_leaves_the_card_unchanged(tmp_path: Path, cfg: object) -> None:
    card = load(tmp_path, cfg).card
    assert card.clip_shape == get_card("x3d_xs").clip_shape
    assert card.mean == get_card("x3d_xs").mean
