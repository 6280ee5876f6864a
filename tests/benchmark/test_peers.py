import os
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn

import co3d
from co3d.benchmark.peers.continual_inference import build_peer, count_state_bytes
from co3d.benchmark.peers.pytorchvideo import build_clip_peer
from co3d.errors import MissingPackageError, OptionError
from support.installed_packages import load_package
from support.streaming import randomise_

SIZE_PX = 64
LAYERS = (nn.Conv3d, nn.Linear)


def build_or_skip(build: Callable[..., nn.Module], *arguments: object) -> nn.Module:
    """Build a peer; without its package the test is skipped, and fails in CI."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return build(*arguments)
        except MissingPackageError as error:
            if os.environ.get("CI") == "true":
                pytest.fail(str(error))
            pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rate"), [("x3d_s", "dense"), ("slow_r50", "dense"), ("i3d_r50", "native")]
)
def test_steady_outputs_equal_those_of_the_step_program(name, rate):
    torch.manual_seed(0)
    model = co3d.create_model(name, weights="random")
    randomise_(model)
    model.double()  # so that nothing but rounding to 53 bits may differ
    program = co3d.convert(model, (3, model.card.clip_frames, SIZE_PX, SIZE_PX), rate=rate)
    assert program.window is not None
    peer = build_or_skip(build_peer, model, SIZE_PX, program.window).double()
    stream = co3d.open_stream(program, backend="torch", precision="float64")
    compared = 0
    with torch.inference_mode():
        for index in range(program.masked_steps + program.window + 20):
            frame = torch.randn(1, *program.frame_shape, dtype=torch.float64)
            ours, theirs = stream.step(frame), peer.forward_step(frame)
            if index >= program.masked_steps + program.window * program.temporal_stride:
                assert bool(ours.fresh[0]) == (theirs is not None)
                if theirs is not None:
                    torch.testing.assert_close(ours.output, theirs, atol=1e-9, rtol=0)
                    compared += 1
    assert compared >= 5
    assert count_state_bytes(peer) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x3d_s", "x3d_l"])
def test_the_clip_networks_have_the_same_layers(name):
    load_package("pytorchvideo.models.x3d")
    model = co3d.create_model(name, weights="random")
    peer = build_or_skip(build_clip_peer, model, model.card.crop_px)
    ours, theirs = (
        sorted(tuple(m.weight.shape) for m in one.modules() if isinstance(m, LAYERS))
        for one in (model, peer)
    )
    assert ours == theirs
    with torch.inference_mode():
        assert peer(torch.randn(1, *model.card.clip_shape)).shape == (1, 400)


@pytest.mark.parametrize("build", [build_peer, build_clip_peer])
def test_another_network_is_refused(build):
    model = co3d.create_model("camera_motion", weights="random")
    with pytest.raises((OptionError, MissingPackageError)):
        build(model, SIZE_PX, *([8] if build is build_peer else []))


@pytest.mark.slow
def test_the_fill_of_the_paper_s_protocol_is_close_to_the_library_s():
    """At the 92nd frame, which predicts with a window of 64.

    The library's layers each repeat their own first input; the protocol repeats the first frame.
    """
    torch.manual_seed(0)
    model = co3d.create_model("x3d_s", weights="random")
    randomise_(model)
    model.double()
    program = co3d.convert(model, (3, 13, SIZE_PX, SIZE_PX), window=64)
    frames = list(torch.randn(92, 1, 3, SIZE_PX, SIZE_PX, dtype=torch.float64))
    ours = {}
    for fill, copies in (("zeros", 0), ("replicate", program.receptive_field - 1)):
        stream = co3d.open_stream(program, backend="torch", precision="float64")
        for frame in [frames[0]] * copies + frames:
            ours[fill] = stream.step(frame).output
    theirs = {}
    for fill in ours:
        peer = build_or_skip(build_peer, model, SIZE_PX, 64).double()
        for layer in peer.modules():
            if fill == "replicate" and hasattr(layer, "_make_padding"):
                layer._make_padding = torch.clone
        with torch.inference_mode():
            for frame in frames:
                theirs[fill] = peer.forward_step(frame)
    torch.testing.assert_close(ours["zeros"], theirs["zeros"], atol=1e-9, rtol=0)
    between_fills = (ours["replicate"] - ours["zeros"]).abs().max()
    between_kinds = (ours["replicate"] - theirs["replicate"]).abs().max()
    assert between_kinds < 0.1 * between_fills
