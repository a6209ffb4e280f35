"""A lock for those who take turns."""

import threading
from typing import Any

import pytest

from tonghua.inference.turns import FairLock


@pytest.mark.parametrize("kind", [FairLock, threading.Lock])
def test_a_fair_lock_alternates(kind: Any) -> None:
    """Two threads that ask again at once: each waits for one turn of the other. An ordinary lock promises nothing."""
    lock, order = kind(), []
    meet = threading.Barrier(2)

    def take(name: str) -> None:
        meet.wait()
        for _ in range(200):
            with lock:
                order.append(name)

    threads = [threading.Thread(target=take, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(order) == ["a"] * 200 + ["b"] * 200
    if kind is FairLock:
        lock.__enter__()
        waiting = [threading.Thread(target=lambda name=name: _note(lock, order, name)) for name in "xyz"]
        for at, thread in enumerate(waiting, 1):
            thread.start()
            while len(lock._waiting) < at:
                pass
        lock.__exit__()
        for thread in waiting:
            thread.join(60)
        assert order[-3:] == ["x", "y", "z"]


def _note(lock: Any, order: list[str], name: str) -> None:
    with lock:
        order.append(name)
