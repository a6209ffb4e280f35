"""Turns: a bounded number of answers at the same time, and a bounded number of requests that wait.

Clients take turns: the next turn goes to the client whose last one is longest ago, so one that asks for much does not
keep out the others. All of it runs in one event loop.
"""

import asyncio
from typing import NamedTuple

from .limits import Limits
from .refusal import stopping, too_many, waited_too_long


class _Waiting(NamedTuple):
    client: str
    turn: asyncio.Future[None]


class Turns:
    """Hands out turns; `running` answers are being written, and `waiting` requests wait."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.running = 0
        self.is_closed = False
        self._queue: list[_Waiting] = []
        self._served: dict[str, int] = {}  # number of each client's last turn
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a turn."""
        return len(self._queue)

    async def acquire(self, client: str) -> None:
        """Wait for a turn; it lasts until `release`.

        Raises Refusal: 429 if too many wait, 503 if no turn came in time or the server is stopping.
        """
        if self.is_closed:
            raise stopping(self.limits.retry_s)
        if self.running < self.limits.running:
            self._begin(client)
            return
        if self.waiting >= self.limits.waiting:
            raise too_many(self.limits.retry_s)
        turn = asyncio.get_running_loop().create_future()
        entry = _Waiting(client, turn)
        self._queue.append(entry)
        try:
            async with asyncio.timeout(self.limits.wait_s):
                await turn
        except BaseException as error:
            if entry in self._queue:
                self._queue.remove(entry)
            elif turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release()  # the turn came at the moment when the wait ended
            if isinstance(error, TimeoutError):
                raise waited_too_long(self.limits.retry_s) from None
            raise

    def release(self) -> None:
        """End a turn; the next one begins."""
        self.running -= 1
        if self._queue:
            entry = min(self._queue, key=lambda entry: self._served.get(entry.client, 0))  # the first of equals
            self._queue.remove(entry)
            self._begin(entry.client)
            entry.turn.set_result(None)
        if not self.running:
            self._served.clear()
            self._idle.set()

    def close(self) -> None:
        """Take no more requests, and refuse those that wait; answers that are being written go on."""
        self.is_closed = True
        for entry in self._queue:
            if not entry.turn.done():
                entry.turn.set_exception(stopping(self.limits.retry_s))
        self._queue.clear()

    async def idle(self) -> None:
        """Wait until no answer is being written."""
        await self._idle.wait()

    def _begin(self, client: str) -> None:
        self.running += 1
        self._count += 1
        self._served[client] = self._count
        self._idle.clear()
