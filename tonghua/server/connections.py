"""Connections that are cut off when their client is too slow; uvicorn's own time limit counts only idle ones.

    head_s      from the connection, or the last response, until the head of a request is there
    stalled_s   while the client reads nothing of a response

The time of a body is limited where it is read, in `bodies`.
"""

import asyncio
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from .limits import Limits


def protocol(limits: Limits) -> type[H11Protocol]:
    """Return the class of connections with these limits."""

    class Connection(H11Protocol):
        def __init__(self, config: Config, *given: Any, **named: Any):
            super().__init__(config, *given, **named)
            self._head: asyncio.TimerHandle | None = None
            self._stalled: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._await_head()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._await_head()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(limits.stalled_s, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._stalled is not None:
                self._stalled.cancel()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            for timer in (self._head, self._stalled):
                if timer is not None:
                    timer.cancel()

        def _await_head(self) -> None:
            if self._head is not None:
                self._head.cancel()
            self._head = self.loop.call_later(limits.head_s, self._head_is_due)

        def _head_is_due(self) -> None:
            # A request that came in time is being answered, or its body is still coming.
            is_answering = self.cycle is not None and not self.cycle.response_complete
            if not is_answering or self.conn.their_state is h11.IDLE:
                self.transport.abort()

    return Connection
