"""Frames of cameras and network streams, read by a thread of their own."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from av.container import InputContainer

from co3d.errors import Co3dError
from co3d.video.connection import POLL_HZ, Connection
from co3d.video.container import report_faults
from co3d.video.damage import Damage
from co3d.video.delivery import deliver
from co3d.video.frame import VideoFrame
from co3d.video.frame_queue import WAKE_SECONDS, FrameQueue
from co3d.video.limits import DEFAULT_LIMITS, VideoLimits
from co3d.video.packet_tap import PacketTap
from co3d.video.packets import JOIN_SECONDS
from co3d.video.source_state import SourceState, StateListener

STALLED_PERIOD_SECONDS = 0.5
"""Four times as long without a frame is a stall, as for gaps; slower sources get more."""


class LiveSource:
    """A camera or network stream as a `FrameSource`.

    Args:
        open_container: connects; called again to reconnect.
        name: of the source, for messages.
        drop_oldest: what comes faster than it is decoded is dropped (see `LatestPackets`), and a
            full queue throws its oldest frame away; else the source has to wait. Of a file far away
            (see `Connection`) nothing is ever thrown away.
        queue_frames: frames that wait for the consumer at most.
        reconnect_seconds, may_be_recording, is_camera, is_pipe, poll_hz, recorder, limits,
            decoder_threads: see `Connection`.
        on_state: called in the thread that constructs or iterates with what the source is doing,
            before each frame and every 0.2 s while none comes.

    Raises:
        What `Connection.connect` raises.
    """

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
    ) -> None:
        self._on_state, self._decoder_threads = on_state, decoder_threads
        self._stopping = threading.Event()
        self._connection = Connection(
            open_container,
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
        )
        self._state = self._connection.state
        self._connect(name)
        is_live = self._connection.is_live
        self._queue = FrameQueue[VideoFrame](queue_frames, drop_oldest=drop_oldest and is_live)
        self._thread: threading.Thread | None = None
        self._is_left = False  # nobody waits for the thread any more
        self.info = self._connection.decoder.describe(is_live=is_live)
        self.pace = self.info.make_pace()
        self.damage: Damage | None = None

    @property
    def dropped_frames(self) -> int:
        """Frames thrown away because the consumer was late."""
        return self._queue.dropped_frames + self._connection.dropped_frames

    @property
    def notices(self) -> Sequence[str]:
        """What is odd about the source's clock."""
        return self._connection.decoder.clock.notices

    def frames(self, rate_hz: float | None, *, fill_gaps: bool) -> Iterator[VideoFrame]:
        """Frames as they come, sampled to `rate_hz`; starts the thread."""
        self._thread = threading.Thread(
            target=self._pump,
            args=(rate_hz, fill_gaps),
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
        """Stop, and wait for the thread a little."""
        self.stop()
        if self._thread is None:
            self._connection.close()
        elif not self._is_left:
            self._thread.join(JOIN_SECONDS)
            self._is_left = True

    def _connect(self, name: str) -> None:
        """Connect in a thread, so that Ctrl-C need not wait for a server that says nothing."""
        failures: list[BaseException] = []

        def connect() -> None:
            try:
                self._connection.connect()
            except BaseException as error:  # noqa: BLE001 (the waiting thread raises it)
                failures.append(error)
            else:
                if self._stopping.is_set():
                    self._connection.close()

        thread = threading.Thread(target=connect, name=f"co3d connects to {name}", daemon=True)
        try:
            self._report()
            thread.start()
            while thread.is_alive():
                thread.join(WAKE_SECONDS)
                self._report()
        except BaseException:
            self._stopping.set()
            raise
        if failures:
            raise failures.pop()

    def _report(self, waited_seconds: float = 0.0) -> None:
        """Tell the listener what has changed, or what still is."""
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
        """Whether frames usually take less long to come."""
        if silent_seconds <= 0:  # while it connects there is no pace yet
            return False
        return silent_seconds > self.pace.longest_without_gap(STALLED_PERIOD_SECONDS)

    def _pump(self, rate_hz: float | None, fill_gaps: bool) -> None:
        """Fill the queue; runs in the thread."""
        outcome: Exception | None = RuntimeError(
            f"the thread that reads {self.info.name} died of a bug; its traceback stands above"
        )
        try:
            decoded = self._connection.frames()
            with report_faults(self.info.name):
                frames = deliver(
                    decoded,
                    self.info,
                    self.pace,
                    rate_hz,
                    fill_gaps=fill_gaps,
                    threads=self._decoder_threads,
                )
                for frame in frames:
                    if not self._queue.put(frame):
                        break
            outcome = self._damage_error()
        except Co3dError as error:
            outcome = error
        finally:
            self._connection.close()
            self._queue.finish(outcome)

    def _damage_error(self) -> Co3dError | None:
        """What a file far away lost; a live source has no end to compare with."""
        if self.info.is_live or self._stopping.is_set():
            return None
        self.damage = self._connection.decoder.losses.damage()
        return self.damage.to_error(self.info.name) if self.damage else None
