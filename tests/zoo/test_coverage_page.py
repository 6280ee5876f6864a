"""docs/coverage.md lists the families that the zoo has, and says of each what its test says."""

from pathlib import Path

from zoo.registry import FAMILIES

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"


def test_page_has_a_row_for_every_family() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| family |"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start + 2 :]]
    shown = [(row[0], row[3].partition(":")[0]) for row in rows]
    expected = [(family.name, family.kind) for family in FAMILIES]
    assert shown == expected, "run python scripts/coverage.py"
