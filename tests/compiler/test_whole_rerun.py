"""`fallback=True` on networks that cannot be cut: they are rerun as a whole, exactly."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import co3d
from co3d.compiler import StepProgram, convert
from co3d.compiler.packing import list_tensors
from co3d.errors import ConversionError, OptionError
from co3d.export.artefact import export_program, load_program
from co3d.packages import is_installed
from support.networks import Apply, stem
from support.streaming import make_clips, relative_error

FRAMES = 6
SHAPE = (3, FRAMES, 6, 6)


def loop_over_batch(m: nn.Module, x: Tensor) -> Tensor:
    means = m.stem(x).mean((3, 4))
    return m.fc(torch.stack([means[i].flip(1)[:, :4].mean(1) for i in range(len(x))]))


def mix_all_axes(m: nn.Module, x: Tensor) -> Tensor:
    rows = m.stem(x).permute(0, 2, 3, 4, 1).flatten(0, 3)
    return F.normalize(m.fc(rows).softmax(1), p=1, dim=0)


def return_much(m: nn.Module, x: Tensor) -> dict[str, object]:
    y = m.stem(x).flip(2)
    return {"maps": [y, y.mean((1, 2))], "weight": m.fc.weight * 2, "nothing": None}


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "a loop over the batch": lambda: Apply(loop_over_batch, stem=stem(), fc=nn.Linear(4, 5)),
    "rows of all axes": lambda: Apply(mix_all_axes, stem=stem(), fc=nn.Linear(4, 5)),
    "outputs of all kinds": lambda: Apply(return_much, stem=stem(), fc=nn.Linear(4, 5)),
    "a clip played backwards": lambda: Apply(lambda m, x: m.stem(x.flip(2)), stem=stem()),
}


def rows(model: nn.Module, clip: Tensor) -> list[Tensor]:
    """The outputs for one clip, without the batch axis if they have one."""
    with torch.inference_mode():
        made = list_tensors(model(clip[None]))
    return [output[0] if output.shape[0] == 1 else output for output in made]


def check_windows(
    model: nn.Module, program: StepProgram, backend: str, precision: str, tolerance: float
) -> None:
    """Three slots that start one step apart equal the newest clip from frame T on."""
    clips = make_clips([FRAMES + 3] * 3, SHAPE[:1] + SHAPE[2:], program.dtype)
    with co3d.open_stream(program, backend=backend, precision=precision, slots=3) as stream:
        compared = 0
        for step in range(FRAMES + 2):
            ages = [step - slot for slot in range(3)]
            frames = torch.stack(
                [clip[:, max(age, 0)] for clip, age in zip(clips, ages, strict=True)]
            )
            result = stream.step(frames, active=torch.tensor([age >= 0 for age in ages]))
            made = program.unpack_outputs(result.output)
            for slot, age in enumerate(ages):
                assert bool(result.valid[slot]) == (age >= FRAMES - 1)
                if age < FRAMES - 1:
                    continue
                expected = rows(model, clips[slot][:, age - FRAMES + 1 : age + 1])
                for output, wanted in zip(made, expected, strict=True):
                    assert output[slot].shape == wanted.shape
                    assert relative_error(output[slot].to(wanted.dtype), wanted) < tolerance
                    compared += 1
    assert compared >= 6


@pytest.mark.parametrize("edges", ["start", "both", "none"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_whole_network_equals_the_newest_clip(name: str, edges: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS[name]().double().eval()
    program = convert(model, SHAPE, edges=edges, fallback=True)  # type: ignore[arg-type]
    assert (program.graph_slots, program.delay, program.window) == (1, 0, FRAMES)
    assert any("whole network" in line for line in program.fallbacks)
    assert program.recomputed_macs == program.macs_per_frame == program.clip_macs
    check_windows(model, program, "torch", "float64", 1e-12)


BACKENDS = [
    pytest.param(
        name,
        marks=[
            pytest.mark.skipif(not is_installed(package), reason=package),
            *([pytest.mark.slow] if name == "inductor" else []),
        ],
    )
    for name, package in {
        "native": "torch",
        "onnxruntime": "onnxruntime",
        "openvino": "openvino",
        "inductor": "torch",
    }.items()
]


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_reruns_the_network(backend: str) -> None:
    torch.manual_seed(0)
    model = NETWORKS["a loop over the batch"]().eval()
    check_windows(model, convert(model, SHAPE, fallback=True), backend, "float32", 1e-4)


def test_results_are_packed_as_the_model_packs_them() -> None:
    model = NETWORKS["outputs of all kinds"]().eval()
    program = convert(model, SHAPE, fallback=True)
    with co3d.open_stream(program, backend="torch") as stream:
        output = stream.step(torch.zeros(1, 3, 6, 6)).output
    assert output.keys() == {"maps", "weight", "nothing"}
    assert output["nothing"] is None
    assert [tuple(value.shape) for value in output["maps"]] == [(1, 4, 6, 6, 6), (1, 6, 6)]
    assert torch.equal(output["weight"][0], model.fc.weight * 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_verification_passes(name: str) -> None:
    torch.manual_seed(0)
    found = co3d.verify(NETWORKS[name](), SHAPE, fallback=True)
    found.require()
    assert found.lengths == (FRAMES,)


def test_a_snapshot_continues_in_another_stream() -> None:
    torch.manual_seed(0)
    model = NETWORKS["rows of all axes"]().double().eval()
    program = convert(model, SHAPE, fallback=True)
    (clip,) = make_clips([FRAMES], (3, 6, 6), torch.float64)
    here = co3d.open_stream(program, backend="torch", precision="float64")
    there = co3d.open_stream(program, backend="torch", precision="float64", slots=2)
    for frame in clip[None, :, :4].unbind(2):
        here.step(frame)
    there.restore(here.snapshot(), slot=1)
    for frame in clip[None, :, 4:].unbind(2):
        result = there.step(frame.expand(2, -1, -1, -1), active=torch.tensor([False, True]))
    (expected,) = rows(model, clip)
    assert relative_error(result.output[1], expected) < 1e-12


def test_a_window_is_refused() -> None:
    with pytest.raises(ConversionError, match="leave window out"):
        convert(NETWORKS["a loop over the batch"](), SHAPE, fallback=True, window=4)


def test_a_network_with_step_forms_is_not_rerun() -> None:
    model = Apply(lambda m, x: m.stem(x).mean((2, 3, 4)), stem=stem())
    program = convert(model, SHAPE, fallback=True)
    assert program.fallbacks == ()
    assert program.graph_slots is None


def test_exported_files_rerun_the_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = NETWORKS["a loop over the batch"]().eval()
    program = convert(model, SHAPE, fallback=True)
    export_program(program, tmp_path / "net.safetensors", format="torch")
    read = load_program(tmp_path / "net.safetensors").program
    assert read.graph_slots == 1
    check_windows(model, read, "torch", "float32", 1e-4)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="leave slots out"):
        export_program(program, tmp_path / "net.onnx", format="onnx", slots=2)
