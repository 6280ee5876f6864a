"""Networks with several inputs or outputs."""

import pytest
import torch
from torch import Tensor, nn

from co3d.compiler import StepProgram, convert
from co3d.errors import ConversionError, InputShapeError, OptionError
from co3d.runtime import open_stream
from support.networks import Apply, stem
from support.rule_networks import stem_after
from support.streaming import make_clips, randomise_, relative_error

RGB, FLOW = (3, 8, 6, 6), (2, 8, 6, 6)


class TwoStreams(nn.Module):
    """Pictures and motion, fused late."""

    def __init__(self) -> None:
        super().__init__()
        self.rgb = nn.Sequential(stem(), stem_after(5))
        self.flow = nn.Conv3d(2, 4, 3, padding=1)
        self.fc = nn.Linear(4, 5)

    def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
        return self.fc(self.rgb(rgb).mean((2, 3, 4))) + self.fc(self.flow(flow).mean((2, 3, 4)))


def _last(program: StepProgram, *clips: Tensor) -> object:
    stream = open_stream(program, precision="float64")
    for step in range(clips[0].shape[1]):
        frames = tuple(clip[None, :, step] for clip in clips)
        result = stream.step(frames if len(frames) > 1 else frames[0])
    return ([result, *stream.flush()])[-1].output


def test_two_inputs_step_together() -> None:
    torch.manual_seed(0)
    model = randomise_(TwoStreams()).double()
    program = convert(model, (RGB, FLOW), edges="both")
    (rgb,), (flow,) = (make_clips([8], (c, 6, 6), torch.float64) for c in (3, 2))
    with torch.inference_mode():
        expected = model(rgb[None], flow[None])
    output = _last(program, rgb, flow)
    assert isinstance(output, Tensor)
    assert relative_error(output, expected) <= 1e-10


def test_inputs_of_the_wrong_number_or_length_are_refused() -> None:
    program = convert(TwoStreams(), (RGB, FLOW))
    with pytest.raises(InputShapeError, match="got 1 arrays of frames for 1 slots, expected 2"):
        open_stream(program).step(torch.zeros(1, 3, 6, 6))
    with pytest.raises(OptionError, match="8, 4 frames, expected one length"):
        convert(TwoStreams(), (RGB, (2, 4, 6, 6)))


@pytest.mark.parametrize("rate", ["dense", "native"])
def test_outputs_of_unequal_delay_are_aligned(rate: str) -> None:
    """Features and logits of one result describe the same frame."""
    torch.manual_seed(0)

    def forward(m: nn.Module, x: Tensor) -> dict[str, Tensor]:
        early = m.stem(x)
        return {"early": early, "late": m.late(early)}

    model = randomise_(Apply(forward, stem=stem(), late=nn.Conv3d(4, 4, 3, (2, 1, 1), 1))).double()
    program = convert(model, RGB, edges="both", rate=rate)  # type: ignore[arg-type]
    (clip,) = make_clips([8], (3, 6, 6), torch.float64)
    with torch.inference_mode():
        expected = model(clip[None])
    stream = open_stream(program, precision="float64")
    results = [stream.step(clip[None, :, step]) for step in range(8)]
    results += stream.flush()
    made = {}
    frame = -program.delay
    for result in results:
        if bool(result.fresh):
            step = frame if rate == "dense" else None
            made[len(made) if step is None else step] = result.output
        frame += 1
    if rate == "native":
        first = program.delay // 2
        made = {2 * (index - first): output for index, output in made.items()}
    for position in (0, 2, 4, 6):
        for name, stride in (("early", 1), ("late", 2)):
            reference = expected[name][:, :, position // stride]
            assert relative_error(made[position][name], reference) <= 1e-10


def test_features_and_logits_equal_the_clip() -> None:
    torch.manual_seed(0)

    def forward(m: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        features = m.stem(x).mean((2, 3, 4))
        return features, m.fc(features)

    model = randomise_(Apply(forward, stem=stem(), fc=nn.Linear(4, 5))).double()
    program = convert(model, RGB, edges="both")
    (clip,) = make_clips([8], (3, 6, 6), torch.float64)
    output = _last(program, clip)
    assert isinstance(output, tuple)
    with torch.inference_mode():
        for made, expected in zip(output, model(clip[None]), strict=True):
            assert relative_error(made, expected) <= 1e-10


def test_outputs_that_are_no_tensors_or_constant_are_refused() -> None:
    with pytest.raises(ConversionError, match="not a tensor"):
        convert(Apply(lambda m, x: (m.stem(x), 3), stem=stem()), RGB)
    with pytest.raises(ConversionError, match="does not depend on the clip"):
        convert(Apply(lambda m, x: (m.stem(x), m.stem.weight * 2), stem=stem()), RGB)
