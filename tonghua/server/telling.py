"""One request being answered: a thread writes, the event loop reads, and either can end it.

    ServedModel.stream --thread--> Part, Part, ..., Finished (of each choice) --queue of the loop--> a response
                    ^
         cancel(), the time limit, a stop string: looked at before every token

The queue has no bound of its own: an answer has. So a client that reads slowly never keeps the model waiting.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass

from ..config.schema import Sampling
from ..inference.engine import Answer, StopReason, TokenLogs
from ..prompt.conversation import Message
from .models import ServedModel
from .queue import Turns
from .stops import StopFinder


@dataclass(frozen=True, slots=True)
class Order:
    """What to answer, and how: `choices` answers to the same conversation, one after another."""

    model: ServedModel
    messages: Sequence[Message]
    sampling: Sampling
    choices: int = 1
    stops: Sequence[str] = ()
    likeliest: int | None = None  # as in `Engine.tokens`


@dataclass(frozen=True, slots=True)
class Part:
    """Text that one choice goes on with, and what the model expected at the tokens that begin in it, if asked for."""

    choice: int
    text: str
    logs: tuple[TokenLogs, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """One choice has ended."""

    choice: int
    reason: StopReason
    tokens: int


@dataclass(frozen=True, slots=True)
class Broken:
    """The answer failed."""

    error: Exception


Event = Part | Finished | Broken


class Telling:
    """The events of an order as they come; they end after the last choice, after Broken, or after `cancel`."""

    def __init__(self, order: Order, longest_s: float):
        self._order = order
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._cancelled = threading.Event()
        self._deadline = time.monotonic() + longest_s
        self._has_ended = False

    @staticmethod
    async def begin(order: Order, turns: Turns, client: str, threads: Executor) -> "Telling":
        """Wait for a turn, then let a thread write. The turn ends with the thread. Raises what `acquire` raises."""
        await turns.acquire(client)
        # No await from here on: a cancelled request would keep the turn.
        telling = Telling(order, turns.limits.answer_s)
        try:
            done = telling._loop.run_in_executor(threads, telling._write)
        except BaseException:
            turns.release()
            raise
        done.add_done_callback(lambda _: turns.release())
        return telling

    def cancel(self) -> None:
        """Stop before the next token."""
        self._cancelled.set()

    async def next(self, seconds: float | None = None) -> Event | None:
        """Return the next event, or None at the end. Raises TimeoutError if none comes in time; it is not lost."""
        if self._has_ended:
            return None
        async with asyncio.timeout(seconds):
            event = await self._events.get()
        self._has_ended = event is None
        return event

    async def events(self) -> AsyncIterator[Event]:
        """Yield the events up to the end."""
        while (event := await self.next()) is not None:
            yield event

    def _put(self, event: Event | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:  # the loop has ended, and nobody reads any more
            self._cancelled.set()

    def _write(self) -> None:
        """Run in a thread of its own."""
        try:
            for choice in range(self._order.choices):
                if self._cancelled.is_set():
                    break
                self._write_choice(choice)
        except Exception as error:
            self._put(Broken(error))
        finally:
            self._put(None)

    def _write_choice(self, choice: int) -> None:
        order, finder = self._order, StopFinder(self._order.stops)
        text, unshown = "", _UnshownLogs()
        sampling = order.sampling
        if sampling.seed is not None:
            # Else all choices of one seed would be the same.
            sampling = sampling.model_copy(update={"seed": (sampling.seed + choice) % 2**32})

        def show(shown: str) -> None:
            if shown:
                self._put(Part(choice, shown, unshown.released(shown)))

        with closing(order.model.stream(order.messages, sampling, order.likeliest)) as pieces:
            for piece in pieces:
                if self._cancelled.is_set():
                    return
                if isinstance(piece, Answer):
                    show(finder.end())
                    self._put(Finished(choice, piece.stop, piece.tokens))
                    return
                unshown.add(len(text), piece.logs)
                text += piece.text
                show(finder.add(piece.text))
                if finder.found or time.monotonic() > self._deadline:
                    # The engine counts an answer at its end only; this one has none.
                    show(finder.end())
                    reason: StopReason = "stop" if finder.found else "length"
                    self._put(Finished(choice, reason, order.model.text_tokens(text)))
                    return


class _UnshownLogs:
    """What the model expected at tokens whose text is not shown yet: a stop string may take it away."""

    def __init__(self) -> None:
        self._logs: deque[tuple[int, TokenLogs]] = deque()
        self._shown = 0

    def add(self, start: int, logs: TokenLogs) -> None:
        """Add a token whose text begins after `start` characters of the answer."""
        if logs:
            self._logs.append((start, logs))

    def released(self, shown: str) -> tuple[TokenLogs, ...]:
        """Return those of the tokens that begin in the text that is shown next."""
        self._shown += len(shown)
        found: list[TokenLogs] = []
        while self._logs and self._logs[0][0] < self._shown:
            found.append(self._logs.popleft()[1])
        return tuple(found)
