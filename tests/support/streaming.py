"""Running programs the way a stream runs, and comparing with the clip network."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from co3d.compiler import StepProgram, convert
from co3d.runtime import open_stream


def randomise_(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every weight and statistic values that matter, so that no error can hide.

    Fresh networks hide much: zero-initialised norms switch branches off, and a fresh classifier
    gives every input nearly the same probabilities.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return torch.rand(like.shape, generator=generator, dtype=torch.float64) * (high - low) + low

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.weight.copy_(uniform(module.weight, 0.7, 1.3))
                module.bias.copy_(uniform(module.bias, -0.2, 0.2))
                module.running_mean.copy_(uniform(module.running_mean, -0.2, 0.2))
                module.running_var.copy_(uniform(module.running_var, 0.7, 1.3))
            elif isinstance(module, nn.Linear):
                module.weight.copy_(uniform(module.weight, -0.3, 0.3))
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[2] == "alpha":  # scales a branch, and starts at zero
                parameter.copy_(uniform(parameter, 0.5, 1.0))
    return model.eval()


def make_clips(
    lengths: Sequence[int], frame_shape: Sequence[int], dtype: torch.dtype, seed: int = 1
) -> list[Tensor]:
    """Signed random clips (C, T, H, W), one per length."""
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = frame_shape
    return [
        torch.randn((channels, t, height, width), generator=generator, dtype=torch.float64).to(
            dtype
        )
        for t in lengths
    ]


def run_steps(
    program: StepProgram,
    clips: list[Tensor],
    dtype: torch.dtype | None = None,
    backend: str = "auto",
) -> list[list[Tensor]]:
    """Step and flush one slot per clip, each ending when its clip ends; all results per slot.

    Frames of slots that have ended are garbage on purpose.
    """
    precision = str(dtype or program.dtype).removeprefix("torch.")
    stream = open_stream(program, backend=backend, precision=precision, slots=len(clips))
    lengths = [clip.shape[1] for clip in clips]
    outputs: list[list[Tensor]] = [[] for _ in clips]
    for step in range(max(lengths)):
        frames = torch.stack(
            [
                clip[:, step] if step < clip.shape[1] else torch.full_like(clip[:, 0], 1e3)
                for clip in clips
            ]
        )
        active = torch.tensor([step < length for length in lengths])
        result = stream.step(frames, active=active)
        for slot in result.fresh.nonzero().flatten().tolist():
            outputs[slot].append(result.output[slot])
        for slot, length in enumerate(lengths):
            if length == step + 1:
                outputs[slot] += [r.output[slot] for r in stream.flush(slot) if r.fresh[slot]]
    return outputs


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Relative L2 error; infinite where something is not a number, which no comparison passes."""
    error = float((actual - expected).norm() / expected.norm())
    return error if error == error else float("inf")


def clip_reference(model: nn.Module, program: StepProgram, clip: Tensor) -> Tensor:
    """What the clip network computes for one clip (C, T, H, W), batch removed.

    Where the program approximates nothing this is the user's model itself; else the rewritten clip
    network, exported for the clip's length.
    """
    network = model
    if program.approximations:
        same_length = clip.shape[1] == program.clip_frames
        network = (program if same_length else convert(model, clip.shape, edges="none")).clip_graph
    with torch.inference_mode():
        return network(clip[None])[0]


def first_result(program: StepProgram) -> int:
    """Which of a stream's results is the clip's first element."""
    return program.delay // (program.temporal_stride if program.rate == "native" else 1)


def result_stride(program: StepProgram) -> int:
    """How many results lie between neighbouring elements of the clip."""
    return program.temporal_stride if program.rate == "dense" else 1


def worst_error(
    model: nn.Module,
    program: StepProgram,
    lengths: Sequence[int],
    time_axis: int | None = None,
    *,
    rewritten: bool = True,
    backend: str = "auto",
) -> float:
    """Largest relative error over clips of these lengths: steps + flush against the clip network.

    With `time_axis` (of the output without batch) the network gives one element per frame, and all
    are compared; without, the result after the last step is. The clip network is `rewritten` where
    the program approximates it; else it is the model itself.
    """
    clips = make_clips(lengths, program.frame_shape, program.dtype)
    worst = 0.0
    for clip, outputs in zip(clips, run_steps(program, clips, backend=backend), strict=True):
        with torch.inference_mode():
            expected = clip_reference(model, program, clip) if rewritten else model(clip[None])[0]
        if time_axis is None:
            actual = outputs[-1]
        else:
            actual = torch.stack(
                outputs[first_result(program) :: result_stride(program)], time_axis
            )
        assert actual.shape == expected.shape
        worst = max(worst, relative_error(actual, expected))
    return worst


def without_masks(program: StepProgram) -> StepProgram:
    """The same program with its masks removed: a mutation that parity must notice."""
    phases = tuple(replace(phase, masked=None) for phase in program.phases)
    return replace(program, phases=phases)
