"""Attention and norms over the newest frames, on every backend of the CPU and from a file."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from co3d.backends.table import BACKENDS
from co3d.compiler import convert
from co3d.compiler.program import Program
from co3d.export import export_program, load_program
from co3d.runtime import open_stream
from support.networks import Apply, stem
from support.slow import slow_but
from support.streaming import make_clips, relative_error

SHAPE = (3, 4, 6, 6)
BACKENDS_OF_THE_CPU = sorted(BACKENDS.keys() & {"torch", "native", "onnxruntime", "openvino"})


def attention() -> nn.Module:
    """Multi-head attention of torch, then a non-local block over all positions."""
    torch.manual_seed(0)

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        y = m.stem(x)
        means = y.mean((3, 4)).transpose(1, 2)
        y = y + m.layer(means, means, means)[0].transpose(1, 2)[..., None, None]
        places = y.flatten(2)
        weights = (places.transpose(1, 2) @ places).softmax(-1)
        y = y + (weights @ places.transpose(1, 2)).transpose(1, 2).view_as(y)
        return m.fc(y.mean((2, 3, 4)))

    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    return Apply(forward, stem=stem(), layer=layer, fc=nn.Linear(4, 5)).eval()


def norms() -> nn.Module:
    torch.manual_seed(0)
    return Apply(
        lambda m, x: m.fc(m.instances(m.groups(m.stem(x)).relu()).mean((2, 3, 4))),
        stem=stem(),
        groups=nn.GroupNorm(2, 4),
        instances=nn.InstanceNorm3d(4),
        fc=nn.Linear(4, 5),
    ).eval()


NETWORKS = {"attention": attention, "norms": norms}


def run(program: Program, backend: str, video: Tensor) -> Tensor:
    """Results (T, slots, classes) of two slots, one of which is reset midway."""
    with open_stream(program, backend=backend, slots=2) as stream:
        results = []
        for index, frame in enumerate(video.unbind(1)):
            if index == 5:
                stream.reset(1)
            results.append(stream.step(torch.stack([frame, frame])).output.clone())
    return torch.stack(results)


@pytest.mark.parametrize("backend", slow_but(BACKENDS_OF_THE_CPU, "native", "torch"))
@pytest.mark.parametrize("name", NETWORKS)
def test_backends_agree(name: str, backend: str) -> None:
    model = NETWORKS[name]()
    program = convert(model, SHAPE, scope="window")
    (video,) = make_clips([11], (3, 6, 6), torch.float32)
    reference = run(convert(model.double(), SHAPE, scope="window"), "torch", video.double())
    assert relative_error(run(program, backend, video).double(), reference) < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_program_is_the_same(name: str, tmp_path: Path) -> None:
    program = convert(NETWORKS[name](), SHAPE, scope="window")
    path = tmp_path / "program.safetensors"
    export_program(program, path, format="torch")
    (video,) = make_clips([11], (3, 6, 6), torch.float32)
    expected = run(program, "torch", video)
    assert torch.equal(run(load_program(path).program, "torch", video), expected)
