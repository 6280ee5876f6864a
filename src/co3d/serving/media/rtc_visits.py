"""Visitors over WebRTC: from an offer to a labelled stream."""

import asyncio
import json
from typing import Any

from anyio import fail_after
from starlette.concurrency import run_in_threadpool

from co3d.engine import Prediction, TrackEnded
from co3d.engine.results import ResultItem
from co3d.errors import Co3dError, NotAVideoError, SandboxError
from co3d.serving.media.process import ANSWER_SECONDS, MediaProcess, read_picture
from co3d.serving.messages import describe_item
from co3d.serving.visits import Visit, Visits, open_visit, run_uncancelled


class RtcVisits:
    """Accepts WebRTC offers.

    Args:
        media: the process that speaks WebRTC. visits: places for visitors.

    Attributes:
        pictures, refused_pictures: counts over all visitors so far.
    """

    def __init__(self, media: MediaProcess, visits: Visits) -> None:
        self.pictures = self.refused_pictures = 0
        self._media, self._visits = media, visits

    async def accept(self, sdp: str, session_seconds: float) -> str:
        """Label the video of an offer; returns the answer.

        Raises:
            EngineFullError: there is no room.
            NotAVideoError: the offer cannot be answered.
            SandboxError: the media process died or does not answer.
        """
        visitor = _RtcVisit(self)
        try:
            return await visitor.open(self._media, self._visits, sdp, session_seconds)
        except BaseException:
            await run_uncancelled(visitor.close)
            raise


class _RtcVisit:
    def __init__(self, counts: RtcVisits) -> None:
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[str] = self._loop.create_future()
        self._media: MediaProcess | None = None
        self._visit: Visit | None = None
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    async def open(
        self, media: MediaProcess, visits: Visits, sdp: str, session_seconds: float
    ) -> str:
        self._visit = await open_visit(visits, self._take)
        self._media, self._number = media, media.join(self._on_message)
        offer = {"do": "offer", "id": self._number, "sdp": sdp, "rate_hz": self._visit.rate_hz}
        await run_in_threadpool(media.send, offer)
        try:
            with fail_after(ANSWER_SECONDS):
                answer = await self._answer
        except TimeoutError as error:
            raise SandboxError("the media process does not answer; try again") from error
        self._timer = self._loop.call_later(session_seconds, self._leave)
        return answer

    def close(self) -> None:
        """Free the visitor's place; may be called twice."""
        self._leave()
        if self._visit is not None:
            self._visit.close()

    def _leave(self) -> None:
        """End the connection; the process then reports that it is closed."""
        if self._media is not None and self._number:
            self._media.end(self._number)

    def _on_message(self, message: dict[str, Any], content: memoryview) -> None:
        """Handle a message of the media process; called in the thread that reads its pipe."""
        kind = message["is"]
        if kind == "picture":
            self._take_picture(message, content)
            return
        if kind == "gone":
            assert self._media is not None
            self._media.leave(self._number)
            if self._visit is not None:
                self._visit.close()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, message)

    def _settle(self, message: dict[str, Any]) -> None:
        if message["is"] == "gone" and self._timer is not None:
            self._timer.cancel()
        if self._answer.done():
            return
        if message["is"] == "answer":
            self._answer.set_result(str(message["sdp"]))
        elif message["is"] == "refused":
            reason = f"cannot answer the offer: {message['reason']}; offer one track of video"
            self._answer.set_exception(NotAVideoError(reason))
        else:
            self._answer.set_exception(SandboxError("the connection ended; try again"))

    def _take_picture(self, message: dict[str, Any], content: memoryview) -> None:
        if self._visit is None:
            return
        self._counts.pictures += 1
        try:
            pts_seconds = float(message["pts_seconds"])
            if self._visit.wants(pts_seconds):
                self._visit.push(pts_seconds, read_picture(message, content))
        except Co3dError:
            self._counts.refused_pictures += 1

    def _take(self, item: ResultItem) -> None:
        """Receive a result; called in a thread of the visits."""
        if self._media is None:
            return
        if isinstance(item, Prediction):
            self._media.say(self._number, json.dumps(describe_item(item.track, item)))
        elif isinstance(item, TrackEnded) and item.error is not None:
            message = {"type": "error", "message": "the stream failed; start again"}
            self._media.say(self._number, json.dumps(message))
