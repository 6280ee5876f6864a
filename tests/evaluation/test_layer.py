"""Features of a layer, as clips and frame by frame."""

import pytest
import torch
from torch import nn

import co3d
from co3d.errors import OptionError
from co3d.evaluation.layer import LayerFeatures


@pytest.mark.parametrize("layer", ["stem", "blocks.1", "blocks.2.conv1", "classifier"])
def test_features_of_a_clip_equal_the_layer_s_output(model, layer):
    given = []
    module = model.get_submodule(layer)
    hook = module.register_forward_hook(lambda _m, _i, output: given.append(output))
    clip = torch.randn(2, 3, 8, 64, 64)
    with torch.inference_mode():
        model(clip)
        hook.remove()
        features = LayerFeatures(model, layer)(clip)
    expected = given[0] if given[0].ndim == 2 else given[0].mean((3, 4))
    assert torch.equal(features, expected)


@pytest.mark.parametrize("layer", ["stem", "blocks.1"])
def test_steps_give_the_features_of_the_clip(model, layer):
    network = LayerFeatures(model, layer)
    program = co3d.convert(network, model.card.clip_shape, edges="both")
    clip = torch.randn(1, 3, 11, 64, 64)
    stream = co3d.open_stream(program, backend="torch")
    results = [stream.step(frame) for frame in clip.unbind(2)] + stream.flush()
    with torch.inference_mode():
        expected = network(clip)
    steps = torch.stack([r.output for r in results[program.delay :]], 2)
    torch.testing.assert_close(steps, expected, rtol=1e-4, atol=1e-5)
    assert program.window is None


def test_operators_after_the_layer_do_not_run(model, program):
    stem = co3d.convert(LayerFeatures(model, "stem"), model.card.clip_shape)
    assert stem.macs_per_frame < program.macs_per_frame / 2
    assert stem.delay == 1


class Odd(nn.Module):
    """Layers that give no features, each in its way."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = nn.Identity()
        self.unused = nn.Identity()
        self.flat = nn.Flatten(0, 1)

    def forward(self, clip):
        self.pair((clip, clip))
        return self.flat(clip).mean()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("pear", "did you mean pair"),
        ("", "did you mean pair or unused or flat"),
        ("pair", "gives tuple"),
        ("unused", "never calls it"),
        ("flat", r"expected one tensor \(N, C, T, H, W\)"),
    ],
)
def test_layers_without_features_are_refused(layer, message):
    with pytest.raises(OptionError, match=message):
        LayerFeatures(Odd(), layer)(torch.zeros(1, 3, 2, 4, 4, dtype=torch.float32))
