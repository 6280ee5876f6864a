from pathlib import Path

import pytest
import torch

import co3d
from support.networks import Classifier, stem
from support.videos import cut_short, write_video

LABELS = ("still", "left", "right", "up", "down")


@pytest.fixture(scope="session")
def network() -> Classifier:
    """A small network of five labels with a delay of one step."""
    torch.manual_seed(0)
    network = Classifier(stem()).eval()
    network.card = co3d.ModelCard("small", 4, 8.0, 16, 16, (0.45,) * 3, (0.225,) * 3, labels=LABELS)
    return network


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos (one in a subfolder), a damaged one, a short one, and a file that is no video."""
    folder = tmp_path_factory.mktemp("archive") / "videos"
    (folder / "below").mkdir(parents=True)
    write_video(folder / "a.mp4", 24)
    whole = write_video(folder / "below" / "a.mkv", 64)
    cut_short(whole, folder / "cut.mkv")
    write_video(folder / "short.mp4", 4)
    (folder / "none.mp4").write_bytes(b"no video")
    return folder
