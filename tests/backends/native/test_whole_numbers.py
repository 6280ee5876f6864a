"""Elements of state may be integers, which must not be taken for clocks."""

import pytest
import torch
from torch import Tensor, nn

import co3d
from support.streaming import relative_error


class Weighted(nn.Module):
    """Multiplies a temporal convolution by integers of its centre frame, which are thus state."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 8, (1, 3, 3), padding=(0, 1, 1))
        self.second = nn.Conv3d(8, 8, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, clip: Tensor) -> Tensor:
        made = self.first(clip)
        return self.second(torch.relu(made)) * (made * 3).long()


@pytest.mark.parametrize("edges", ["start", "both"])
def test_networks_with_integer_state_step(edges: str) -> None:
    torch.manual_seed(0)
    program = co3d.convert(Weighted().eval(), (3, 6, 8, 8), edges=edges)  # type: ignore[arg-type]
    assert torch.int64 in [state.dtype for state in program.states]
    frames = torch.randn(10, 1, 3, 8, 8)
    streams = [co3d.open_stream(program, backend=name) for name in ("torch", "native")]
    expected, made = (
        torch.stack([stream.step(frame).output for frame in frames]) for stream in streams
    )
    assert relative_error(made, expected) < 1e-5
