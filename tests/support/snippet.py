"""A random network as a Python file of its own: what a test runs is what it prints."""

from collections.abc import Sequence
from dataclasses import dataclass

_IMPORTS = """\
import torch
import torch.nn.functional as F
from torch import nn

from co3d.runtime import open_stream
from co3d.compiler import convert
"""

_GATES = '''

def pool(x, scope, elements):
    """What a gate sees: the clip; in a stream each frame, or the newest elements."""
    if scope == "clip":
        return x.mean((2, 3, 4), keepdim=True)
    frames = x.mean((3, 4), keepdim=True)
    if scope == "frame":
        return frames
    newest = [frames[:, :, max(0, t + 1 - elements) : t + 1] for t in range(x.shape[2])]
    return torch.stack([part.mean(2) for part in newest], 2)


def peak(x, scope):
    return x.amax((2, 3, 4) if scope == "clip" else (3, 4), keepdim=True)


def dense_gate(layer, x, scope, elements):
    """A gate by a linear layer, without the axes that its pool has collapsed."""
    if scope == "clip":
        return layer(x.mean((2, 3, 4)))[:, :, None, None, None]
    seen = pool(x, scope, elements).permute(0, 2, 3, 4, 1)
    return layer(seen).permute(0, 4, 1, 2, 3)


def norm(x, groups, scope, elements):
    """A group norm by the statistics of the clip; in a stream of the newest elements."""
    if scope == "clip":
        return F.group_norm(x, groups)
    apart = x.unflatten(1, (groups, -1))
    results = []
    for t in range(x.shape[2]):
        seen = apart[:, :, :, max(0, t + 1 - elements) : t + 1].flatten(2)
        sizes = (*seen.shape[:2], *(1,) * (x.dim() - 2))
        mean, variance = seen.mean(2), seen.var(2, correction=0)
        scale = (variance + 1e-5).rsqrt().reshape(sizes)
        results.append(((apart[:, :, :, t] - mean.reshape(sizes)) * scale).flatten(1, 2))
    return torch.stack(results, 2)


def attend(x, kind, scope, elements):
    """Places attend to those of the clip; in a stream to those of the newest elements."""
    places = x.shape[3:].numel()
    tokens = x.flatten(2).transpose(1, 2)
    if scope == "clip":
        mixed = mix(tokens, tokens, kind, elements * places)
    else:
        parts = []
        for t in range(x.shape[2]):
            seen = tokens[:, max(0, t + 1 - elements) * places : (t + 1) * places]
            own = tokens[:, t * places : (t + 1) * places]
            parts.append(mix(own, seen, kind, elements * places))
        mixed = torch.cat(parts, 1)
    return mixed.transpose(1, 2).reshape(x.shape)


def mix(queries, keys, kind, count):
    if kind == "one":
        return F.scaled_dot_product_attention(queries, keys, keys)
    products = queries @ keys.transpose(1, 2)
    return (products / count if kind == "counted" else products.softmax(-1)) @ keys
'''

_RUN = '''

clip_shape = {clip_shape}
# Frames of each slot's videos; a negative one is cut off by a reset and not compared.
videos = {videos}
# Which slots step, row after row, over and over.
awake = {awake}
{engine}
# Stride of each output that has one element per frame; 0 where it has one for the clip.
strides = {strides}

torch.manual_seed({seed})
network = Net("clip").double().eval()
for tensor in network.state_dict().values():
    if tensor.dim() == 1:  # biases and batch norm
        tensor.add_(torch.rand_like(tensor) / 2)
options = {options}
program = convert(network, clip_shape, edges="both", **options)
reference = Net(options["scope"]).double().eval()
reference.load_state_dict(network.state_dict())


def unpack(outputs):
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return list(outputs.values() if isinstance(outputs, dict) else outputs)


def take(result, slot):
    return [output[slot] for output in unpack(result.output)]


def compare(results, video):
    """Largest relative error of a video's results, one error per output."""
    with torch.no_grad():
        expected = [output[0] for output in unpack(reference(video.transpose(0, 1)[None]))]
    slowest = program.temporal_stride
    pace = slowest if program.rate == "native" else 1
    first = program.delay % pace - program.delay
    described = {{first + i * pace: result for i, result in enumerate(results)}}
    errors = []
    for i, stride in enumerate(strides):
        wanted = expected[i]
        if not stride:
            # In dense rate later ones describe the clip without its first frames.
            whole = max(at for at in described if at % slowest == 0)
            actual = described[whole][i]
        else:
            # Outputs of several strides come at the pace of the coarsest.
            times = [j * stride for j in range(wanted.shape[1])]
            shared = [j for j, at in enumerate(times) if at in described or at % slowest == 0]
            actual = torch.stack([described[j * stride][i] for j in shared], 1)
            wanted = wanted[:, shared]
        assert actual.shape == wanted.shape, (actual.shape, wanted.shape)
        errors.append(float((actual - wanted).norm() / wanted.norm().clamp_min(1e-9)))
    return errors


stream = open_stream(program, **engine, slots=len(videos))
frame_shape = (clip_shape[0], *clip_shape[2:])
queues = [
    [(n > 0, torch.randn(abs(n), *frame_shape, dtype=torch.float64)) for n in lengths]
    for lengths in videos
]
results, frame, tick = [[] for _ in videos], [0 for _ in videos], 0
while any(queues):
    row = awake[tick % len(awake)]
    tick += 1
    active = torch.tensor([bool(queue) and on == "1" for queue, on in zip(queues, row)])
    reset = active & (torch.tensor(frame) == 0)
    frames = torch.full((len(videos), *frame_shape), 1e3, dtype=torch.float64)
    for slot in active.nonzero().flatten().tolist():
        frames[slot] = queues[slot][0][1][frame[slot]]
    result = stream.step(frames, active=active, reset=reset)
    for slot in active.nonzero().flatten().tolist():
        if reset[slot]:
            results[slot] = []
        if result.fresh[slot]:
            results[slot].append(take(result, slot))
        frame[slot] += 1
        is_compared, video = queues[slot][0]
        if frame[slot] == len(video):
            if is_compared:
                flushed = stream.flush(slot)
                results[slot] += [take(r, slot) for r in flushed if r.fresh[slot]]
                errors = compare(results[slot], video)
                what = f"slot {{slot}}, {{len(video)}} frames: relative errors {{errors}}"
                assert max(errors) <= tolerance, what
            queues[slot].pop(0)
            frame[slot] = 0
print("steps and flush equal the clip network")
'''


def _name_engine(backend: str, precision: str, tolerance: float) -> str:
    engine = {"backend": backend, "precision": precision}
    return f"engine, tolerance = {engine}, {tolerance}"


_REFERENCE = _name_engine("torch", "float64", 1e-9)


@dataclass(frozen=True)
class Snippet:
    """A Python file that defines a network, streams videos through it and compares.

    Attributes:
        text: the file; it needs torch and co3d only.
    """

    text: str

    def __repr__(self) -> str:
        return f"Snippet of {len(self.text.splitlines())} lines"

    def on(self, backend: str, precision: str, tolerance: float) -> "Snippet":
        """The same file on another engine, with the relative error that it may have."""
        assert _REFERENCE in self.text
        return Snippet(self.text.replace(_REFERENCE, _name_engine(backend, precision, tolerance)))

    def run(self) -> None:
        """Run it here; AssertionError with the whole text where it fails in any way."""
        try:
            exec(compile(self.text, "random_network.py", "exec"), {"__name__": "random_network"})
        except Exception as error:
            message = f"{type(error).__name__}: {error}\n\nin this network:\n\n{self.text}"
            raise AssertionError(message) from error


def write_snippet(
    modules: Sequence[str],
    forward: Sequence[str],
    *,
    clip_shape: tuple[int, ...],
    videos: list[list[int]],
    awake: list[str],
    strides: list[int],
    seed: int,
    options: dict[str, object],
) -> Snippet:
    """Put a file together from the lines of `__init__` and `forward` and the way to run them."""
    body = "\n".join(f"        {line}" for line in forward)
    init = "\n".join(f"        {line}" for line in ("super().__init__()", *modules))
    gates = _GATES if any("scope" in line for line in forward) else ""
    scope = "\n        self.scope = scope" if gates else ""
    network = (
        f"\n\nclass Net(nn.Module):\n    def __init__(self, scope):\n{init}{scope}\n\n"
        f"    def forward(self, x):\n{body}\n"
    )
    run = _RUN.format(
        clip_shape=clip_shape,
        videos=videos,
        awake=awake,
        strides=strides,
        seed=seed,
        options=options,
        engine=_REFERENCE,
    )
    return Snippet(_IMPORTS + gates + network + run)
