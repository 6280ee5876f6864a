"""The Python of README and of pages that say how to begin runs as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("README.md", r"^ +\d+\.\d\d s  pan left  \d+%$"),
        ("docs/first_steps.md", r"^turned left in [1-9]\d* of the frames$"),
        ("docs/own_network.md", r" s  (walk|run|jump)$"),
    ],
)
def test_python_runs_word_for_word(
    page: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    assert blocks
    names: dict[str, Any] = {"__name__": "documented"}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    assert re.search(said, capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target
