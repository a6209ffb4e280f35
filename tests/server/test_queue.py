"""Turns: how many run and wait, whose turn comes next, and that none is lost when a client leaves."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tonghua.server.limits import Limits
from tonghua.server.queue import Turns
from tonghua.server.refusal import Refusal


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Line:
    """Requests of clients that take turns; `served` are those whose turn has come, in order."""

    def __init__(self, **limits: Any):
        self.turns = Turns(Limits(**limits))
        self.served: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, *names: str) -> None:
        """Ask for a turn each; the first letter of a name is its client."""
        for name in names:
            self.tasks[name] = asyncio.create_task(self._take(name))
            await settle()

    async def _take(self, name: str) -> None:
        await self.turns.acquire(name[0])
        self.served.append(name)

    async def release(self) -> None:
        self.turns.release()
        await settle()


def test_some_run_some_wait_and_more_are_refused() -> None:
    async def work() -> None:
        line = Line(running=1, waiting=16)
        await line.ask(*(f"a{i}" for i in range(17)))
        assert (line.turns.running, line.turns.waiting) == (1, 16)
        for _ in range(3):
            with pytest.raises(Refusal) as caught:
                await line.turns.acquire("b")
            assert (caught.value.status, caught.value.headers()) == (429, {"Retry-After": "5"})
        for _ in range(17):
            await line.release()
        assert line.served == [f"a{i}" for i in range(17)]
        assert (line.turns.running, line.turns.waiting) == (0, 0)

    run(work())


def test_a_client_that_asks_for_much_keeps_out_nobody() -> None:
    async def work() -> None:
        line = Line(running=1, waiting=16)
        await line.ask("a1", "a2", "a3", "a4", "b1", "c1", "b2")
        for _ in range(7):
            await line.release()
        assert line.served == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]

    run(work())


def test_who_leaves_the_line_leaves_no_gap() -> None:
    async def work() -> None:
        line = Line(running=1, waiting=3)
        await line.ask("a1", "b1", "c1", "d1")
        line.tasks["b1"].cancel()
        await settle()
        assert line.turns.waiting == 2
        # This one is cancelled at the moment when its turn comes.
        line.turns.release()
        line.tasks["c1"].cancel()
        await settle()
        assert line.served == ["a1", "d1"]
        await line.release()
        assert (line.turns.running, line.turns.waiting) == (0, 0)

    run(work())


def test_a_wait_has_an_end() -> None:
    async def work() -> None:
        line = Line(running=1, waiting=3, wait_s=0.01)
        await line.ask("a1")
        with pytest.raises(Refusal) as caught:
            await line.turns.acquire("b")
        assert (caught.value.status, line.turns.waiting) == (503, 0)

    run(work())


def test_a_line_that_closes_refuses_all_but_who_runs() -> None:
    async def work() -> None:
        line = Line(running=1, waiting=3)
        await line.ask("a1", "b1")
        line.turns.close()
        for late in (line.tasks["b1"], line.turns.acquire("c")):
            with pytest.raises(Refusal) as caught:
                await late
            assert (caught.value.status, caught.value.code) == (503, "server_stopping")
        idle = asyncio.create_task(line.turns.idle())
        await settle()
        assert line.turns.running == 1 and not idle.done()
        await line.release()
        await idle

    run(work())
