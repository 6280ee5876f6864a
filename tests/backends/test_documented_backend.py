"""The backend that docs/backends.md shows how to write."""

from pathlib import Path

import pytest
import torch

import co3d
from co3d.backends import table
from co3d.compiler import StepProgram, convert
from co3d.runtime import opening
from support.networks import small_network
from support.rule_networks import two_pathways
from support.streaming import make_clips, randomise_

PAGE = Path(__file__).parents[2] / "docs" / "backends.md"


@pytest.fixture
def _interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the page's backend in the table."""
    text = PAGE.read_text()
    code = text.split("```python\n")[1].split("```")[0]
    scope: dict[str, object] = {}
    exec(compile(code, str(PAGE), "exec"), scope)
    known = {**table.BACKENDS, "interpreter": scope["INTERPRETER"]}
    monkeypatch.setattr(opening, "BACKENDS", known)
    monkeypatch.setattr("co3d.runtime.choice.BACKENDS", known)


def make_program(rate: str) -> StepProgram:
    torch.manual_seed(0)
    if rate == "native":
        return convert(randomise_(two_pathways()), (3, 8, 6, 6), rate="native", edges="both")
    return convert(randomise_(small_network()), (3, 4, 6, 6), edges="both")


@pytest.mark.usefixtures("_interpreter")
@pytest.mark.parametrize("rate", ["dense", "native"])
def test_the_documented_backend_steps_slots(rate: str) -> None:
    program = make_program(rate)
    streams = [
        co3d.open_stream(program, backend=backend, precision="float64", slots=3)
        for backend in ("interpreter", "torch")
    ]
    assert streams[0].backend == "interpreter, float64 on cpu (as asked)"
    clips = make_clips([20] * 3, (3, 6, 6), torch.float64)
    generator = torch.Generator().manual_seed(0)
    for t in range(20):
        active = torch.rand(3, generator=generator) < 0.7
        frames = torch.stack([clip[:, t] for clip in clips])
        made, expected = (stream.step(frames, active=active) for stream in streams)
        torch.testing.assert_close(made.output, expected.output, rtol=1e-10, atol=1e-12)
    streams[0].restore(streams[1].snapshot(1), slot=0)
    for made, expected in zip(streams[0].flush(2), streams[1].flush(2), strict=True):
        torch.testing.assert_close(made.output, expected.output, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("_interpreter")
def test_the_documented_backend_refuses_other_precisions_and_devices() -> None:
    with pytest.raises(co3d.errors.OptionError, match="'interpreter' has no precision 'float32'"):
        co3d.compile(make_program("dense"), backend="interpreter", precision="float32")
