"""Write the notebooks in examples/notebooks/ from the tutorials that they repeat.

    python scripts/make_notebooks.py

The text lives in docs/ alone: a cell for each block of Python, and one for what stands between. The
tests compare the notebooks with what this would write, and run the same blocks.
"""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "notebooks"
TUTORIALS = ("first_steps", "own_network")
BLOCK = re.compile(r"^```python\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)]+)\)")


def make_notebook(page: str) -> str:
    """A page of Markdown as a Jupyter notebook (nbformat 4.5), without results.

    Args:
        page: Markdown; the blocks of Python in it become cells that run.
    """
    cells = []
    # Pieces take turns: Markdown, Python, Markdown, …
    for number, piece in enumerate(BLOCK.split(page)):
        kind = "code" if number % 2 else "markdown"
        text = piece if number % 2 else LINK.sub(r"](../../docs/\1)", piece)
        if not text.strip():
            continue
        cell: dict[str, Any] = {
            "cell_type": kind,
            "id": f"cell-{number}",
            "metadata": {},
            "source": text.strip("\n").splitlines(keepends=True),
        }
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write a notebook for each tutorial."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in TUTORIALS:
        page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        (FOLDER / f"{name}.ipynb").write_text(make_notebook(page), encoding="utf-8")


if __name__ == "__main__":
    main()
