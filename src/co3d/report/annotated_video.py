"""The annotated video: every frame of the source under the prediction that describes it."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path

from co3d.engine import Labeller, Prediction
from co3d.errors import DamagedVideoError
from co3d.report.annotate import annotate_frame
from co3d.report.colours import label_colours
from co3d.video import VideoFrame, VideoReader, VideoWriter, read_video

PATIENCE_SECONDS = 30.0
"""For so long a recording far away is tried again, whose frames the network reads already."""


class AnnotatedVideo:
    """Draws predictions on frames and writes them, in step with the predictions.

    A network sees only some frames of a fast source. Given all frames of the source, this writes
    those in between too, each under the latest prediction at or before its time. Without them (a
    live source cannot be read twice), it writes the frames that the network saw.

    Args:
        writer: takes the frames; opened and closed by the caller.
        colours: label -> "#rrggbb".
        rows: labels of a prediction, at most.
        sample_aspect_ratio: width of a pixel by its height.
        every_frame: a second iteration over the source, or None.
    """

    def __init__(
        self,
        writer: VideoWriter,
        colours: dict[str, str],
        rows: int,
        sample_aspect_ratio: Fraction,
        every_frame: Iterator[VideoFrame] | None,
    ) -> None:
        self._writer = writer
        self._colours = colours
        self._rows = rows
        self._sample_aspect_ratio = sample_aspect_ratio
        self._every_frame = every_frame
        self._ahead: VideoFrame | None = None
        self._latest: Prediction | None = None

    def add(self, prediction: Prediction) -> None:
        """Write the frames before the one that this prediction describes, or that one itself."""
        if self._every_frame is not None:
            self.catch_up(prediction.frame.pts_seconds)
        # The newest frame of a slow source may be predicted more than once; it is written once.
        elif self._latest is None or prediction.frame.index > self._latest.frame.index:
            self._write(prediction.frame, prediction)
        self._latest = prediction

    def catch_up(self, pts_seconds: float) -> None:
        """Write the frames of the source up to this time, under the latest prediction."""
        if self._every_frame is None or self._latest is None:
            return
        while True:
            frame = self._ahead or next(self._every_frame, None)
            if frame is None or frame.pts_seconds >= pts_seconds:
                self._ahead = frame
                return
            self._ahead = None
            self._write(frame, self._latest)

    def finish(self, described_seconds: float) -> None:
        """Write the frames of this long a time after the last prediction, under it."""
        if self._latest is not None:
            self.catch_up(self._latest.frame.pts_seconds + described_seconds)

    def _write(self, frame: VideoFrame, prediction: Prediction) -> None:
        image = annotate_frame(
            frame.image,
            prediction,
            self._colours,
            frame.pts_seconds,
            rows=self._rows,
            sample_aspect_ratio=self._sample_aspect_ratio,
        )
        self._writer.write(image, frame.pts_seconds)


@contextmanager
def annotated_video(
    path: Path,
    source: str,
    reader: VideoReader,
    labeller: Labeller,
    *,
    is_stopped: Callable[[], bool],
) -> Iterator[AnnotatedVideo]:
    """Yield an annotated video to add predictions to; the file appears when the block ends well.

    Args:
        path: where to write.
        source: what `reader` reads; opened a second time unless it is live.
        reader: feeds the network.
        labeller: makes the predictions.
        is_stopped: asked at the end: whether the video went on after the last prediction. If not,
            the frames that are left belong to that prediction.

    Raises:
        OutputError: the file cannot be written.
    """
    with ExitStack() as stack:
        rate_hz, every_frame = labeller.rate_hz, None
        if not reader.is_live:
            rate_hz = reader.source_rate_hz or rate_hz
            again = read_video(source, reconnect_seconds=PATIENCE_SECONDS, **vars(reader.framing))
            every_frame = _decodable(stack.enter_context(again))
        aspect = reader.sample_aspect_ratio
        writer = stack.enter_context(VideoWriter(path, rate_hz=rate_hz, sample_aspect_ratio=aspect))
        colours = label_colours(labeller.labels)
        video = AnnotatedVideo(writer, colours, labeller.top_k, aspect, every_frame)
        yield video
        video.finish(1 / labeller.rate_hz if is_stopped() else math.inf)


def _decodable(reader: VideoReader) -> Iterator[VideoFrame]:
    """The frames before any damage; who labels the same source reports the damage."""
    with suppress(DamagedVideoError):
        yield from reader
