"""The commands of the tutorials, where a comment says so, run word for word."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.miniature import film_motion, write_mp4
from support.videos import write_video

DOCS = Path(__file__).parents[2] / "docs"
RUN = re.compile(r"^<!-- runs in the tests -->\n```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```yaml\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def list_commands(page: str) -> Iterator[list[str]]:
    """The arguments of each command of a page that runs here."""
    for block in RUN.findall((DOCS / page).read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            name, *arguments = shlex.split(line, comments=True)
            assert name == "co3d"
            yield arguments


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_many_cameras(co3d, folder: Path) -> None:
    page = "many_cameras.md"
    for name in ("door", "yard"):
        write_video(folder / f"{name}.mp4", 40)
    for name, text in FILE.findall((DOCS / page).read_text(encoding="utf-8")):
        (folder / name).write_text(text)
    outcomes = [co3d(*arguments) for arguments in list_commands(page)]
    assert [outcome.code for outcome in outcomes] == [0, 0, 0], outcomes
    for outcome in (outcomes[0], outcomes[2]):
        seen = {line.get("camera") for line in outcome.lines if line["type"] == "prediction"}
        assert seen == ({"door.mp4", "yard.mp4"} if outcome is outcomes[0] else {"door", "yard"})


@pytest.mark.slow
def test_training_on_a_folder_of_videos(co3d, folder: Path) -> None:
    for label, name in enumerate(("closing", "opening")):
        for number in range(2):
            path = folder / "my_videos" / name / f"{number:04}.mp4"
            write_mp4(path, film_motion(label + 1, 16, number))
    for arguments in list_commands("train_videos.md"):
        outcome = co3d(*arguments)
        assert outcome.code == 0, outcome.err
    assert [path.name for path in (folder / "runs").iterdir()] == ["doctor"]


@pytest.mark.slow
def test_the_costs_of_the_papers_table(co3d, folder: Path) -> None:
    (arguments,) = list_commands("paper_table.md")
    outcome = co3d(*arguments)
    assert outcome.code == 0, outcome.err
    (found,) = outcome.lines
    assert {row["model"] for row in found["rows"]} == {"x3d_s"}


@pytest.mark.slow
def test_a_file_that_runs_without_the_network(co3d, folder: Path) -> None:
    from co3d import sample_video

    shutil.copy(sample_video(), folder / "sample.mp4")
    export, stream = (co3d(*arguments) for arguments in list_commands("deploy.md"))
    assert export.code == stream.code == 0, (export.err, stream.err)
    labels = {line["top"][0]["label"] for line in stream.lines if line.get("top")}
    assert "pan left" in labels
