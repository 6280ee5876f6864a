"""The annotated video: every frame of the source under the prediction that describes it."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path

from co3d.engine import Labeller, Prediction
from co3d.errors import DamagedVideoError
from co3d.report.annotate import annotate_frame
from co3d.report.colours import label_colours
from co3d.video import VideoFrame, VideoReader, VideoWriter
from co3d.video.frame_queue import WAKE_SECONDS, FrameQueue

PATIENCE_SECONDS = 30.0
"""For so long a recording far away is tried again, whose frames the network reads already."""

WAITING_PREDICTIONS = 4
"""Each holds a picture, of 25 MB if that is 4K."""


class AnnotatedVideo:
    """Draws predictions on frames and writes them, in a thread of its own.

    A network sees only some frames of a fast source. Given all frames of the source, this writes
    those in between too, each under the latest prediction at or before its time. Without them (a
    live source cannot be read twice), it writes the frames that the network saw.

    Args:
        writer: takes the frames; opened and closed by the caller.
        colours: label -> "#rrggbb".
        rows: labels of a prediction, at most.
        sample_aspect_ratio: width of a pixel by its height.
        every_frame: a second iteration over the source, or None.
        drops_late: predictions never wait for the writing: pictures that come faster than they are
            written are left out. Else predictions wait.
    """

    def __init__(
        self,
        writer: VideoWriter,
        colours: dict[str, str],
        rows: int,
        sample_aspect_ratio: Fraction,
        every_frame: VideoReader | None,
        *,
        drops_late: bool,
    ) -> None:
        self._writer = writer
        self._colours = colours
        self._rows = rows
        self._sample_aspect_ratio = sample_aspect_ratio
        self._reader = every_frame
        self._every_frame = None if every_frame is None else _decodable(every_frame)
        self._ahead: VideoFrame | None = None
        self._latest: Prediction | None = None
        self._failure: Exception | None = None
        self._queue = FrameQueue[Prediction](WAITING_PREDICTIONS, drop_oldest=drops_late)
        self._thread = threading.Thread(target=self._draw, name="co3d draws", daemon=True)
        self._thread.start()

    @property
    def dropped_pictures(self) -> int:
        """Pictures that were left out because they came faster than they were written."""
        return self._queue.dropped_frames

    def add(self, prediction: Prediction) -> None:
        """Have the frames before the one that this prediction describes written, or that one.

        Raises what went wrong with an earlier one.
        """
        if not self._queue.put(prediction) and self._failure is not None:
            raise self._failure

    def finish(self, described_seconds: float) -> None:
        """Write all that waits, and the frames of this long a time after the last prediction."""
        self._queue.finish(None)
        self._wait()
        if self._failure is not None:
            raise self._failure
        if self._latest is not None:
            self._catch_up(self._latest.frame.pts_seconds + described_seconds)

    def stop(self) -> None:
        """End the thread without writing what waits; after `finish` there is nothing to do."""
        self._queue.close()
        if self._reader is not None:
            self._reader.close()
        self._wait()

    def _wait(self) -> None:
        """Wait for the thread; some systems do not deliver Ctrl-C to a wait without a limit."""
        while self._thread.is_alive():
            self._thread.join(WAKE_SECONDS)

    def _draw(self) -> None:
        """Draw and write what is added; runs in the thread."""
        try:
            for prediction in self._queue.take_all():
                self._take(prediction)
        except Exception as error:  # noqa: BLE001 (raised where predictions are added)
            self._failure = error
            self._queue.close()

    def _take(self, prediction: Prediction) -> None:
        if self._every_frame is not None:
            self._catch_up(prediction.frame.pts_seconds)
        # The newest frame of a slow source may be predicted more than once; it is written once.
        elif self._latest is None or prediction.frame.index > self._latest.frame.index:
            self._write(prediction.frame, prediction)
        self._latest = prediction

    def _catch_up(self, pts_seconds: float) -> None:
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
    reader: VideoReader,
    labeller: Labeller,
    *,
    is_stopped: Callable[[], bool],
) -> Iterator[AnnotatedVideo]:
    """Yield an annotated video to add predictions to; the file appears when the block ends.

    If that ends by an error, a full disk too, the file holds what was written until then.

    Args:
        path: where to write.
        reader: feeds the network; the source is opened a second time if it can be.
        labeller: makes the predictions.
        is_stopped: asked at the end: whether the video went on after the last prediction. If not,
            the frames that are left belong to that prediction.

    Raises:
        OutputError: the file cannot be written.
    """
    with ExitStack() as stack:
        rate_hz, every_frame = labeller.rate_hz, None
        if reader.can_open_again:
            rate_hz = reader.source_rate_hz or rate_hz
            every_frame = stack.enter_context(reader.open_again(PATIENCE_SECONDS))
        aspect = reader.sample_aspect_ratio
        writer = VideoWriter(path, rate_hz, sample_aspect_ratio=aspect, keeps_unfinished=True)
        stack.enter_context(writer)
        colours, rows = label_colours(labeller.labels), labeller.top_k
        video = AnnotatedVideo(
            writer, colours, rows, aspect, every_frame, drops_late=reader.drops_late
        )
        stack.callback(video.stop)
        yield video
        video.finish(1 / labeller.rate_hz if is_stopped() else math.inf)


def _decodable(reader: VideoReader) -> Iterator[VideoFrame]:
    """The frames before any damage; who labels the same source reports the damage."""
    with suppress(DamagedVideoError):
        yield from reader
