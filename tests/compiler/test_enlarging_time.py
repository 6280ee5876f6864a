"""Networks that enlarge time again: U-Nets, decoders, autoencoders, by steps and by clips."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import co3d
from co3d.compiler import convert
from co3d.compiler.trainable import convert_trainable
from co3d.compiler.unroll import unroll_clip
from co3d.errors import ConversionError
from co3d.export import export_program, load_program
from support.enlarging_networks import Autoencoder, PulseDecoder, UNet, look
from support.networks import Apply, stem
from support.streaming import make_clips, randomise_, relative_error, worst_error

SHAPE = (3, 8, 8, 8)
FRAMEWISE = {
    "U-Net, transposed": (lambda: UNet("transposed"), 1),
    "U-Net, transposed, added": (lambda: UNet("transposed", add=True), 1),
    "U-Net, nearest": (lambda: UNet("nearest"), 1),
    "U-Net, trilinear, added": (lambda: UNet("trilinear", add=True), 1),
    "pulse decoder": (PulseDecoder, 0),
    "autoencoder": (Autoencoder, 1),
    "back to the clip's size": (
        lambda: Apply(
            lambda m, x: (
                m.stem(x) + F.interpolate(m.pool(m.stem(x)), x.shape[2:], mode="trilinear")
            ),
            stem=stem(),
            pool=nn.MaxPool3d((4, 2, 2)),
        ),
        1,
    ),
    "down, up, down and up": (
        lambda: nn.Sequential(
            stem(),
            nn.Conv3d(4, 4, 3, (4, 1, 1), 1),
            nn.ConvTranspose3d(4, 4, (4, 1, 1), (2, 1, 1), (1, 0, 0)),
            nn.MaxPool3d((2, 1, 1)),
            look(),
            nn.Upsample(scale_factor=(4, 1, 1), mode="trilinear"),
            look(),
        ),
        1,
    ),
}


def _make(name: str) -> tuple[nn.Module, int]:
    torch.manual_seed(0)
    make, time_axis = FRAMEWISE[name]
    return randomise_(make()).double(), time_axis


@pytest.mark.parametrize("name", FRAMEWISE)
def test_every_frame_has_its_result(name: str) -> None:
    model, time_axis = _make(name)
    for rate, spread in (("dense", False), ("native", False), ("native", True)):
        program = convert(model, SHAPE, edges="both", rate=rate, spread=spread)
        assert program.temporal_stride == 1
        assert all(phase.is_fresh for phase in program.phases)
        # Slots of unequal age and end; lengths of whole blocks, which all of these take.
        assert worst_error(model, program, (8, 4, 16, 12), time_axis) <= 1e-10


def test_clips_may_end_within_a_block() -> None:
    """Steps end where the clip network ends, unless a skip requires whole blocks."""
    model, _ = _make("autoencoder")
    program = convert(model, SHAPE, edges="both")
    assert worst_error(model, program, (8, 5, 7, 10, 3), 1) <= 1e-10
    # A network whose skip requires an odd length.
    padded = Apply(
        lambda m, x: m.stem(x) + F.pad(m.up(m.pool(m.stem(x))), (0, 0, 0, 0, 0, 1)),
        stem=stem(),
        up=nn.Upsample(scale_factor=(2, 1, 1)),
        pool=nn.MaxPool3d((2, 1, 1)),
    ).double()
    program = convert(padded, (3, 9, 6, 6), edges="both")
    assert worst_error(padded, program, (9, 5, 11), 1) <= 1e-10


def test_pools_over_enlarged_time() -> None:
    model = randomise_(Autoencoder(labels=5)).double()
    program = convert(model, SHAPE, edges="both", window=16)
    assert worst_error(model, program, (16, 8, 12, 5, 7)) <= 1e-10


@pytest.mark.parametrize("name", FRAMEWISE)
def test_verification_passes(name: str) -> None:
    model, _ = _make(name)
    found = co3d.verify(model, SHAPE)
    found.require()
    assert len(found.lengths) == 3
    assert not found.notes


def test_verification_passes_for_two_rates() -> None:
    def both(m: nn.Module, clip: torch.Tensor) -> dict[str, torch.Tensor]:
        coarse = m.encoder(clip)
        return {"clip": m.decoder(coarse), "label": coarse.mean((2, 3, 4)), "coarse": coarse}

    parts = randomise_(Autoencoder())
    model = Apply(both, encoder=parts.encoder, decoder=parts.decoder)
    with pytest.raises(ConversionError, match=r'decoder\.0 enlarges time.* rate="native"'):
        convert(model, SHAPE)
    co3d.verify(model, SHAPE, rate="native", window=8).require()


def test_clips_unroll() -> None:
    for name in ("U-Net, trilinear, added", "pulse decoder", "down, up, down and up"):
        model, _ = _make(name)
        clip = torch.randn(2, *SHAPE, dtype=torch.float64)
        with torch.inference_mode():
            (actual,) = unroll_clip(convert(model, SHAPE))(*clip.unbind(2))
            assert relative_error(actual, model(clip)) <= 1e-10


def test_gradients_flow_through_steps() -> None:
    model = randomise_(Autoencoder()).double()
    clip = torch.stack(make_clips([8], (3, 8, 8), torch.float64))
    live = convert_trainable(model, SHAPE, edges="both")
    frames = torch.cat((clip, torch.full_like(clip[:, :, :1], 9).repeat(1, 1, 9, 1, 1)), 2)
    outputs, _ = live.run(frames, live.derive(model), last_frame=7)
    delay = live.program.delay
    results = outputs[:, delay : delay + 8].transpose(1, 2)
    weights = torch.randn_like(results)
    expected = torch.autograd.grad((model(clip) * weights).sum(), list(model.parameters()))
    actual = torch.autograd.grad((results * weights).sum(), list(model.parameters()))
    for one, other in zip(actual, expected, strict=True):
        assert relative_error(one, other) <= 1e-8


def test_work_is_even_and_only_coarse_frames_are_kept() -> None:
    """A tick computes only the taps of its own elements, from the coarse frames."""
    model = nn.Sequential(
        nn.AvgPool3d((2, 1, 1)), nn.ConvTranspose3d(3, 64, (2, 4, 4), (2, 4, 4), bias=False)
    )
    program = convert(model, (3, 8, 4, 4), rate="native")
    assert len({phase.macs for phase in program.phases}) == 1
    # One past frame for the mean, and the mean for the second variant.
    assert program.state_bytes == 2 * 3 * 4 * 4 * 4
    assert program.clip_macs == 8 * program.macs_per_frame


def test_the_explanation_lists_where_time_is_enlarged() -> None:
    text = convert(randomise_(PulseDecoder()), SHAPE).explain()
    assert "time is enlarged again by decoder.0 (stride 4 to 2), decoder.3 (stride 2 to 1)" in text


def test_exported_programs_step_alike(tmp_path: Path) -> None:
    model = _make("U-Net, transposed")[0].float()
    program = convert(model, SHAPE, edges="both")
    file = tmp_path / "network.safetensors"
    export_program(program, file, format="torch")
    read = load_program(file).program
    assert read.timing == program.timing
    assert worst_error(model, read, (8, 4), 1, rewritten=False, backend="torch") <= 1e-5


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: F.interpolate(x, scale_factor=(3, 1, 1)), "3 elements of one that stands for 2"),
        (lambda x: F.interpolate(x, size=(6, 6, 6)), "6 frames of 4"),
        (lambda x: F.interpolate(x, size=(3, 6, 6), mode="trilinear"), "3 frames of 4"),
        (
            lambda x: F.interpolate(
                x, scale_factor=(2, 1, 1), mode="trilinear", align_corners=True
            ),
            "aligns the first and last",
        ),
        (lambda x: F.interpolate(x.mean(2, True), size=(8, 6, 6)), "collapsed"),
        (lambda x: x.repeat_interleave(2, 0), "batch"),
    ],
)
def test_networks_that_cannot_stream_are_refused_or_rerun(function, reason: str) -> None:
    model = Apply(
        lambda m, x: function(m.pool(m.stem(x))), stem=stem(), pool=nn.MaxPool3d((2, 1, 1))
    )
    with pytest.raises(ConversionError, match=reason):
        convert(model, (3, 8, 6, 6))
    if "batch" not in reason:
        convert(model, (3, 8, 6, 6), fallback=True)
