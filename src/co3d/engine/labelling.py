"""Labelling one video as it plays: frames in, one prediction for every frame out."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from co3d.backends import Stream, open_stream
from co3d.errors import DamagedVideoError, OptionError
from co3d.models import ClipModel, ModelCard, create_model, has_own_weights
from co3d.stream import StepProgram, convert
from co3d.stream.program import SMALL_NETWORK_MACS
from co3d.video import VideoFrame, VideoReader
from co3d.weights import list_weights

MS_PER_SECOND = 1000.0
USUAL_TOP_K = 3


@dataclass(frozen=True)
class Prediction:
    """What the network says about one frame.

    Attributes:
        frame: the frame that is described, not the newest one.
        seen_pts_seconds: time of the newest frame that the network had seen; it is later than
            `frame.pts_seconds` by the network's delay.
        valid: whether the sliding window was full of real frames.
        probabilities: (K,) float32, in the order of the model's labels.
        top: the likeliest labels with their probabilities, likeliest first.
        preprocess_ms: scaling and normalising the newest frame; 0 for the last `delay` frames.
        step_ms: one step of the network. The last `delay` frames share the time of the flush.
        dropped_frames: frames given up so far.
    """

    frame: VideoFrame
    seen_pts_seconds: float
    valid: bool
    probabilities: np.ndarray
    top: tuple[tuple[str, float], ...]
    preprocess_ms: float
    step_ms: float
    dropped_frames: int

    @property
    def latency_ms(self) -> float:
        """Time from having the newest frame to having this prediction: preprocessing and step."""
        return self.preprocess_ms + self.step_ms


@dataclass(frozen=True)
class Labeller:
    """A network made ready to label one video.

    Attributes:
        model: the clip network. card: how it is fed. program: what it was converted to.
        stream: the running step program, with one slot.
        labels: K names, index 0 first.
        rate_hz: frames per second that the network sees.
        top_k: labels per prediction.
        has_end: whether the video ends, so that its last `delay` frames are described by a flush.
    """

    model: ClipModel
    card: ModelCard
    program: StepProgram
    stream: Stream
    labels: tuple[str, ...]
    rate_hz: float
    top_k: int
    has_end: bool

    def label(self, reader: VideoReader) -> Iterator[Prediction]:
        """Step through a video and yield a prediction for each of its frames, in order.

        The first `delay` steps describe moments before the first frame and yield nothing. When a
        video with an end is over, the network is flushed to describe its last `delay` frames.

        Raises:
            DamagedVideoError: the video stopped decoding before its end; raised after the
                predictions for everything that could be decoded.
            InputShapeError: a frame is not an RGB picture of 8 bits per channel.
        """
        waiting: deque[VideoFrame] = deque()
        newest_pts_seconds = 0.0
        damage: DamagedVideoError | None = None
        try:
            for newest in reader:
                started = perf_counter()
                frame = self.card.preprocess(newest.image)
                preprocessed = perf_counter()
                result = self.stream.step(frame)
                stepped = perf_counter()
                newest_pts_seconds = newest.pts_seconds
                waiting.append(newest)
                if len(waiting) > self.program.delay:
                    yield self._predict(
                        waiting.popleft(),
                        newest_pts_seconds,
                        result.output[0],
                        bool(result.valid[0]),
                        (preprocessed - started) * MS_PER_SECOND,
                        (stepped - preprocessed) * MS_PER_SECOND,
                        reader.dropped_frames,
                    )
        except DamagedVideoError as error:
            damage = error
        if self.has_end and waiting:
            yield from self._flush(waiting, newest_pts_seconds, reader.dropped_frames)
        if damage is not None:
            raise damage

    def _flush(
        self, waiting: deque[VideoFrame], newest_pts_seconds: float, dropped_frames: int
    ) -> Iterator[Prediction]:
        started = perf_counter()
        results = self.stream.flush()
        step_ms = (perf_counter() - started) * MS_PER_SECOND / max(1, len(results))
        # In a video shorter than the delay, the first results describe moments before it began.
        early = self.program.delay - len(waiting)
        for frame, result in zip(waiting, results[early:], strict=False):
            yield self._predict(
                frame,
                newest_pts_seconds,
                result.output[0],
                bool(result.valid[0]),
                0.0,
                step_ms,
                dropped_frames,
            )

    def _predict(
        self,
        frame: VideoFrame,
        seen_pts_seconds: float,
        logits: Tensor,
        valid: bool,
        preprocess_ms: float,
        step_ms: float,
        dropped_frames: int,
    ) -> Prediction:
        probabilities = self.card.probabilities(logits)
        values, indices = probabilities.topk(self.top_k)
        return Prediction(
            frame,
            seen_pts_seconds,
            valid,
            probabilities.numpy(),
            tuple(
                (self.labels[index], value)
                for index, value in zip(indices.tolist(), values.tolist(), strict=True)
            ),
            preprocess_ms,
            step_ms,
            dropped_frames,
        )


def open_labeller(
    model_name: str = "camera_motion",
    *,
    weights: str | None = None,
    window: int | None = None,
    rate_hz: float | None = None,
    top_k: int | None = None,
    has_end: bool = True,
    backend: str = "auto",
    precision: str = "float32",
    threads: int | None = None,
) -> Labeller:
    """Build a registered model, convert it, and open a stream for one video.

    Args:
        model_name: a name that `list_models` gives, or the folder of a training run.
        weights: a tag or a path; None takes the weights in that folder, or those bundled with the
            package.
        window: feature frames that the last pooling averages; None takes the clip's own number.
        rate_hz: frames per second of the source, once sampled; None takes the model's.
        top_k: labels per prediction, 1 to the number of classes; None takes 3 if there are.
        has_end: the video ends (a file), so its end is reproduced exactly; False for live sources.
        backend, precision: as for `open_stream`.
        threads: processor threads for the whole process; None takes one for a small network, whose
            threads would wait for each other more than they compute, else leaves them as they are.

    Raises:
        MissingPackageError: the backend's package is not installed.
        UnknownModelError: no such model or weight tag.
        WeightError: the weights do not fit.
        OptionError: `window` or `top_k` is out of range, or no weights are given or bundled.
        ConversionError: the network cannot be converted.
    """
    if weights is None and not has_own_weights(model_name):
        tags = [entry.tag for entry in list_weights(model_name)]
        raise OptionError(
            f"cannot label with {model_name}: the package bundles no weights for it; give "
            f"--weights {' or --weights '.join([*tags, 'CHECKPOINT'])}"
        )
    model = create_model(model_name, weights=weights)
    card = model.card
    classes = model.get_parameter(f"{card.classifier}.weight").shape[0]
    labels = card.labels or tuple(f"class {index}" for index in range(classes))
    if top_k is None:
        top_k = min(USUAL_TOP_K, classes)
    if not 1 <= top_k <= classes:
        raise OptionError(
            f"cannot show the {top_k} likeliest labels: {model_name} has {classes}; "
            f"use --top 1 to --top {classes}"
        )
    edges = "both" if has_end else "start"
    program = convert(model, card.clip_shape, window=window, edges=edges)
    if threads is None and program.macs_per_frame < SMALL_NETWORK_MACS:
        threads = 1
    if threads is not None:
        torch.set_num_threads(threads)
    return Labeller(
        model=model,
        card=card,
        program=program,
        stream=open_stream(program, backend=backend, precision=precision),
        labels=labels,
        rate_hz=card.rate_hz if rate_hz is None else rate_hz,
        top_k=top_k,
        has_end=has_end,
    )
