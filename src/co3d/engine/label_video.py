"""`label_video`: label a source in one call."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import nn

from co3d.arguments import check_arguments
from co3d.engine.labelling import Labeller
from co3d.engine.opening import find_network, open_labeller
from co3d.engine.prediction import Prediction
from co3d.video import VideoReader, read_video


@check_arguments()
def label_video(
    source: str | int | Path,
    *,
    model: str | nn.Module = "camera_motion",
    weights: str | Path | None = None,
    window: int | None = None,
    labels: Sequence[str] | None = None,
    rate_hz: float | None = None,
    top_k: int | None = None,
    threshold: float = 0.0,
    smooth_seconds: float = 0.0,
    backend: str = "auto",
    precision: str | None = None,
    device: str = "cpu",
) -> Iterator[Prediction]:
    """Label a video, camera or network stream as it plays.

    Frames are sampled at the rate that the network was trained at. Each prediction has the time of
    the frame that it describes, which is earlier than the newest frame by the network's delay.
    Predictions start when the window is full of frames. At the end of a file the last frames are
    described too; a gap in a live source resets the network.

    Args:
        source: as for `read_video`. For its further options, use `read_video` and `open_labeller`.
        model, weights, window, labels: as for `open_labeller`. The default network names the
            motion of the camera.
        rate_hz: frames per second to sample; None takes the network's own.
        top_k, threshold, smooth_seconds, backend, precision, device: as for `open_labeller`.

    Returns:
        An iterator over predictions, in order; most programs need their `pts_seconds`, `label` and
        `probability`. The source is closed at the iterator's end, or when it is closed.

    Raises:
        Co3dError: the errors of `read_video` and `open_labeller`; while iterating, those of
            `Labeller.label`.
    """
    card, exported = find_network(model)
    rate_hz = card.rate_hz if rate_hz is None else rate_hz
    reader = read_video(source, rate_hz=rate_hz)
    try:
        labeller = open_labeller(
            model,
            weights=weights,
            window=window,
            labels=labels,
            rate_hz=rate_hz,
            top_k=top_k,
            has_end=not reader.is_live,
            threshold=threshold,
            smooth_seconds=smooth_seconds,
            backend=backend,
            precision=precision,
            device=device,
            meanwhile=True,
            exported=exported,
        )
    except BaseException:
        reader.close()
        raise
    return _label(reader, labeller)


def _label(reader: VideoReader, labeller: Labeller) -> Iterator[Prediction]:
    with reader:
        yield from (made for made in labeller.label(reader) if made.valid)
