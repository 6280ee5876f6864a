"""The Python of README and of the notebooks, which repeat two pages, runs as it stands there."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def list_blocks(page: Path) -> list[str]:
    """The blocks of Python of a page, or the cells of a notebook."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return BLOCK.findall(text)
    cells = json.loads(text)["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_notebooks_say_what_their_pages_say() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_notebooks.py"))
    for name in script["TUTORIALS"]:
        page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        notebook = ROOT / "examples" / "notebooks" / f"{name}.ipynb"
        assert notebook.read_text(encoding="utf-8") == script["make_notebook"](page), (
            f"{notebook} is older than its page; run python scripts/make_notebooks.py"
        )


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("README.md", r"^ +\d+\.\d\d s  pan left  \d+%$"),
        ("examples/notebooks/first_steps.ipynb", r"^turned left in [1-9]\d* of the frames$"),
        ("examples/notebooks/own_network.ipynb", r" s  (walk|run|jump)$"),
    ],
)
def test_python_runs_word_for_word(
    page: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = list_blocks(ROOT / page)
    assert blocks
    names: dict[str, Any] = {"__name__": "documented"}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    assert re.search(said, capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target
