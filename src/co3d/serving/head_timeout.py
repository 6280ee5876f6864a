"""HTTP connections that end if a request's head is slow, so that silent clients hold no place."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0


class HeadTimeoutProtocol(H11Protocol):
    """Uvicorn's protocol, with ten seconds for the whole head of a request."""

    _deadline: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait_for_head()
        else:
            self._deadline = None

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def _wait_for_head(self) -> None:
        if self.timeout_keep_alive_task is not None:
            return  # between two requests
        if self._deadline is None:
            self._deadline = self.loop.time() + HEAD_SECONDS
        self.timeout_keep_alive_task = self.loop.call_at(
            self._deadline, self.timeout_keep_alive_handler
        )
