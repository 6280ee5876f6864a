"""The rule that the documentation adds works as it is printed."""

import re
from pathlib import Path

import pytest

from co3d.compiler.rules import registry
from co3d.errors import ParityError

PAGE = Path(__file__).parents[2] / "docs" / "compiler.md"


def _block() -> str:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return block


@pytest.fixture(autouse=True)
def _forget_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))


def test_the_documented_rule_passes_its_test() -> None:
    exec(compile(_block(), str(PAGE), "exec"), {"__name__": "documented"})


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [("order", "now, before)", "before, now)"), ("fill", "fill=0.0", "fill=1.0")],
)
def test_its_test_fails_for_wrong_rules(name: str, right: str, wrong: str) -> None:
    # An operator's name can be taken once in a process.
    block = _block().replace("demo", f"demo_{name}")
    assert right in block
    with pytest.raises(ParityError):
        exec(compile(block.replace(right, wrong), str(PAGE), "exec"), {"__name__": "documented"})
