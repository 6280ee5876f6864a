"""Frames of cameras and network streams, which arrive whether or not anybody takes them."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from av.container import InputContainer

from co3d.errors import Co3dError
from co3d.video.connection import POLL_HZ, Connection
from co3d.video.container import translate_pyav_errors
from co3d.video.damage import Damage
from co3d.video.delivery import deliver
from co3d.video.frame import VideoFrame
from co3d.video.frame_queue import FrameQueue
from co3d.video.interruptible import InterruptibleEvent, run_interruptibly
from co3d.video.irregularities import Irregularities
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits
from co3d.video.packet_tap import PacketTap
from co3d.video.packets import JOIN_SECONDS
from co3d.video.picture import DecodedListener
from co3d.video.source_state import SourceState, StateListener

STALLED_PERIOD_SECONDS = 0.5
"""Silence for four usual intervals, as for gaps, but at least this long, is a stall."""


class _StoppedError(Exception):
    """Ends the current work of the iterating thread."""


class LiveSource:
    """A camera or network stream as a `FrameSource`.

    Args:
        open_container: connects; called again to reconnect.
        name: of the source, for messages.
        drop_oldest: drop what arrives faster than it is decoded (see `LatestPackets`), and the
            oldest frame of a full queue; else the source has to wait. Frames of a remote file (see
            `Connection`) are never dropped.
        queue_frames: the most decoded frames in the queue.
        reconnect_seconds, may_be_recording, is_camera, is_pipe, poll_hz, recorder, limits,
            decoder_threads: see `Connection`.
        on_state: called with the source's state, in the thread that constructs or iterates, before
            each frame and every 0.2 s while none arrives.
        decodes_ahead: see `read_video`.

    Raises:
        What `Connection.connect` raises.
    """

    shows_decoded = True
    elsewhere_seconds = 0.0

    def __init__(
        self,
        open_container: Callable[[], InputContainer],
        name: str,
        *,
        drop_oldest: bool,
        queue_frames: int,
        reconnect_seconds: float | None,
        may_be_recording: bool = False,
        is_camera: bool = False,
        is_pipe: bool = False,
        poll_hz: float = POLL_HZ,
        recorder: PacketTap | None = None,
        on_state: StateListener | None = None,
        limits: VideoLimits = DEFAULT_LIMITS,
        decoder_threads: int | None = None,
        decodes_ahead: bool = True,
    ) -> None:
        self._on_state, self._decoder_threads = on_state, decoder_threads
        self._decodes_ahead, self._opener_name = decodes_ahead, f"co3d connects to {name}"
        self._stopping = (
            threading.Event() if decodes_ahead else InterruptibleEvent(self._notify_or_stop)
        )
        self._connection = Connection(
            open_container if decodes_ahead else partial(self._open_interruptibly, open_container),
            name,
            reconnect_seconds,
            may_be_recording,
            self._stopping,
            is_camera=is_camera,
            is_pipe=is_pipe,
            poll_hz=poll_hz,
            drops_late=drop_oldest,
            recorder=recorder,
            limits=limits,
            decoder_threads=decoder_threads,
            on_wait=None if decodes_ahead else self._notify_or_stop,
        )
        self._state = self._connection.state
        self._connect()
        is_live = self._connection.is_live
        self._queue = FrameQueue[VideoFrame](queue_frames, drop_oldest=drop_oldest and is_live)
        self._thread: threading.Thread | None = None
        self._is_left = False  # the thread is left behind
        self.info = self._connection.decoder.describe(is_live=is_live)
        self.pace = self.info.make_pace()
        self.damage: Damage | None = None

    @property
    def dropped_frames(self) -> int:
        """Frames thrown away because the consumer was late."""
        return self._queue.dropped_frames + self._connection.dropped_frames

    @property
    def irregularities(self) -> Irregularities:
        """Jumps back in time and changes of picture size so far."""
        return self._connection.irregularities

    @property
    def notices(self) -> Sequence[str]:
        """What is odd about the source's clock and decoder."""
        return self._connection.decoder.notices

    def frames(
        self,
        rate_hz: float | None,
        *,
        fill_gaps: bool,
        on_decoded: DecodedListener | None = None,
    ) -> Iterator[VideoFrame]:
        """Frames as they arrive, sampled to `rate_hz`; starts a thread that decodes ahead."""
        if not self._decodes_ahead and self._connection.decoder.reads_ahead:
            return self._decode_here(rate_hz, fill_gaps, on_decoded)
        self._thread = threading.Thread(
            target=self._pump,
            args=(rate_hz, fill_gaps, on_decoded),
            name=f"co3d reads {self.info.name}",
            daemon=True,
        )
        self._thread.start()
        return self._queue.take_all(self._report)

    def stop(self) -> None:
        """End the thread and the iteration."""
        self._stopping.set()
        self._queue.close()

    def close(self) -> None:
        """Stop, and wait briefly for the thread."""
        self.stop()
        if self._thread is None:
            self._connection.close()
        elif not self._is_left:
            self._thread.join(JOIN_SECONDS)
            self._is_left = True

    def _connect(self) -> None:
        """Connect in another thread, so that Ctrl-C does not wait for a silent server."""
        if not self._decodes_ahead:
            self._connection.connect()
            return
        try:
            run_interruptibly(
                self._connection.connect,
                self._opener_name,
                self._report,
                lambda _: self._connection.close(),
            )
        except BaseException:
            self._stopping.set()
            raise

    def _open_interruptibly(self, open_container: Callable[[], InputContainer]) -> InputContainer:
        """Open a container in another thread, for attempts that the iterating thread makes."""
        return run_interruptibly(
            open_container, self._opener_name, self._notify_or_stop, lambda late: late.close()
        )

    def _notify_or_stop(self, waited_seconds: float = 0.0) -> None:
        """Call the listener while the iterating thread waits; raises when it is to stop."""
        self._report(waited_seconds)
        if self._stopping.is_set():
            raise _StoppedError

    def _report(self, waited_seconds: float = 0.0) -> None:
        """Call the listener with new states, or with the present one."""
        if self._on_state is None:
            return
        changes = self._connection.changes
        while changes:
            self._state = changes.popleft()
            self._on_state(self._state)
        if self._state.phase in ("live", "stalled"):
            now_seconds = time.time()  # the wait may have begun before the connection did
            silent_seconds = min(waited_seconds, now_seconds - self._connection.state.since_seconds)
            phase = "stalled" if self._is_too_long(silent_seconds) else "live"
            if phase != self._state.phase:
                self._state = SourceState(phase, since_seconds=now_seconds - silent_seconds)
        self._on_state(self._state)

    def _is_too_long(self, silent_seconds: float) -> bool:
        """Whether the silence is longer than this source's intervals usually are."""
        if silent_seconds <= 0:  # no pace is known while it connects
            return False
        return silent_seconds > self.pace.longest_without_gap(STALLED_PERIOD_SECONDS)

    def _deliver(
        self, rate_hz: float | None, fill_gaps: bool, on_decoded: DecodedListener | None
    ) -> Iterator[VideoFrame]:
        return deliver(
            self._connection.frames(),
            self.info,
            self.pace,
            rate_hz,
            fill_gaps=fill_gaps,
            threads=self._decoder_threads,
            on_decoded=on_decoded,
        )

    def _decode_here(
        self, rate_hz: float | None, fill_gaps: bool, on_decoded: DecodedListener | None
    ) -> Iterator[VideoFrame]:
        """Frames decoded in the iterating thread."""
        with suppress(_StoppedError):
            yield from self._deliver(rate_hz, fill_gaps, on_decoded)
        if (error := self._damage_error()) is not None:
            raise error

    def _pump(
        self, rate_hz: float | None, fill_gaps: bool, on_decoded: DecodedListener | None
    ) -> None:
        """Fill the queue; runs in the thread."""
        outcome: Exception | None = RuntimeError(
            f"the thread that reads {self.info.name} died of a bug; its traceback stands above"
        )
        try:
            with translate_pyav_errors(self.info.name):
                for frame in self._deliver(rate_hz, fill_gaps, on_decoded):
                    if not self._queue.put(frame):
                        break
            outcome = self._damage_error()
        except Co3dError as error:
            outcome = error
        finally:
            self._connection.close()
            self._queue.finish(outcome)

    def _damage_error(self) -> Co3dError | None:
        """The damage of a remote file; a live source has no stated end to compare with."""
        if self.info.is_live or self._stopping.is_set():
            return None
        self.damage = self._connection.decoder.losses.damage()
        return self.damage.to_error(self.info.name) if self.damage else None
