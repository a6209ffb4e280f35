"""A lock for those who take turns."""

import threading
from collections import deque


class FairLock:
    """A lock that goes to whoever waits longest; threading.Lock lets the one that releases it take it again."""

    def __init__(self) -> None:
        self._inner = threading.Lock()
        self._is_held = False
        self._waiting: deque[threading.Event] = deque()

    def __enter__(self) -> None:
        with self._inner:
            if not self._is_held:
                self._is_held = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def __exit__(self, *raised: object) -> None:
        with self._inner:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_held = False
