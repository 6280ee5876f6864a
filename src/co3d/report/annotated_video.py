"""The annotated video: every frame of the source with the prediction that describes it."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path

from co3d.engine import Labeller, Prediction
from co3d.report.annotate import annotate_frame
from co3d.report.colours import label_colours
from co3d.video import VideoFrame, VideoReader, VideoWriter
from co3d.video.every_frame import EveryFrame
from co3d.video.frame_queue import WAKE_SECONDS, FrameQueue

PATIENCE_SECONDS = 30.0
"""A remote recording is reopened for this long; it exists, as the network is already reading it."""

WAITING_PREDICTIONS = 4
"""The most queued predictions. Each holds a picture, of 25 MB for 4K."""


class AnnotatedVideo:
    """Draws predictions on frames and writes them, in a separate thread.

    A network only processes some frames of a fast source. Given all frames of the source, this also
    writes those in between, each with the latest prediction at or before its time. Otherwise (a
    live source may drop some), it only writes the frames that the network processed.

    Args:
        writer: takes the frames; opened and closed by the caller.
        colours: label -> "#rrggbb".
        rows: the most labels of a prediction.
        sample_aspect_ratio: width of a pixel by its height.
        every_frame: all frames of the source, held until they are drawn; None to write only the
            network's frames.
        drops_late: drop pictures when writing is slower than prediction; otherwise predictions
            wait.
    """

    def __init__(
        self,
        writer: VideoWriter,
        colours: dict[str, str],
        rows: int,
        sample_aspect_ratio: Fraction,
        every_frame: EveryFrame | None,
        *,
        drops_late: bool,
    ) -> None:
        self._writer = writer
        self._colours = colours
        self._rows = rows
        self._sample_aspect_ratio = sample_aspect_ratio
        self._every_frame = every_frame
        self._ahead: VideoFrame | None = None
        self._latest: Prediction | None = None
        self._failure: Exception | None = None
        self._queue = FrameQueue[Prediction](WAITING_PREDICTIONS, drop_oldest=drops_late)
        self._thread = threading.Thread(target=self._draw, name="co3d draws", daemon=True)
        self._thread.start()

    @property
    def dropped_pictures(self) -> int:
        """Pictures that were dropped because writing was too slow."""
        return self._queue.dropped_frames

    def add(self, prediction: Prediction) -> None:
        """Queue the frames up to the one that this prediction describes for writing.

        Raises an error that occurred with an earlier one.
        """
        if not self._queue.put(prediction) and self._failure is not None:
            raise self._failure

    def finish(self, described_seconds: float) -> None:
        """Write all queued frames, and those of this long a time after the last prediction."""
        self._queue.finish(None)
        self._wait()
        if self._failure is not None:
            raise self._failure
        if self._latest is not None:
            self._catch_up(self._latest.frame.pts_seconds + described_seconds)

    def stop(self) -> None:
        """End the thread without writing queued frames; does nothing after `finish`."""
        self._queue.close()
        if self._every_frame is not None:
            self._every_frame.close()
        self._wait()

    def _wait(self) -> None:
        """Wait for the thread, in short waits, since Ctrl-C cannot end a long one everywhere."""
        while self._thread.is_alive():
            self._thread.join(WAKE_SECONDS)

    def _draw(self) -> None:
        """Draw and write queued predictions; runs in the thread."""
        try:
            for prediction in self._queue.take_all():
                self._take(prediction)
        except Exception as error:  # noqa: BLE001 (raised in `add`)
            self._failure = error
            self._queue.close()

    def _take(self, prediction: Prediction) -> None:
        if self._every_frame is not None:
            self._catch_up(prediction.frame.pts_seconds)
        # A slow source's newest frame may be predicted more than once; it is written once.
        elif self._latest is None or prediction.frame.index > self._latest.frame.index:
            self._write(prediction.frame, prediction)
        self._latest = prediction

    def _catch_up(self, pts_seconds: float) -> None:
        """Write the source's frames up to this time, with the latest prediction."""
        if self._every_frame is None or self._latest is None:
            return
        while True:
            frame = self._ahead or self._every_frame.take()
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

    If the block raises, also for a full disk, the file holds what was written until then.

    Args:
        path: where to write.
        reader: the network's source, not yet iterated; if it can be reopened, all of its frames are
            written. It is only reopened if holding its frames takes too much memory.
        labeller: makes the predictions.
        is_stopped: called at the end: whether the video continued after the last prediction. If
            not, the remaining frames are written with that prediction.

    Raises:
        OutputError: the file cannot be written.
    """
    with ExitStack() as stack:
        rate_hz, every_frame = labeller.rate_hz, None
        if reader.can_open_again:
            rate_hz = reader.source_rate_hz or rate_hz
            every_frame = reader.hold_every_frame(PATIENCE_SECONDS)
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
