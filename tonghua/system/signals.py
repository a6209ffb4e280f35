"""Stop on a signal: the first one ends the work at a point where nothing is lost, a second one ends it at once.

    with stopping(Text(...)) as stop:        SIGINT, SIGTERM, SIGHUP, SIGUSR1 (SIGBREAK on Windows)
        ...                                  here the first signal raises `Asked` at once
        with stop.held():
            ...                              here it only sets a flag
            stop.look()                      raises `Asked` if the flag is set

The end of the `stopping` block turns `Asked` into `Stopped`. Only the main thread receives signals; in another
thread the block handles none.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..errors import Stopped
from ..text import Text

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGBREAK")
"""Signals that ask for a stop, except those that the system lacks. Slurm can send SIGUSR1 before it ends a job."""

SAME_S = 0.3
"""Signals within this many seconds are one request: a closing terminal may send its signal twice."""


class Asked(BaseException):
    """A stop was requested, and nothing is lost by stopping here."""


class Stop:
    """State of a stop request; `asked` is True if a signal has come."""

    def __init__(self) -> None:
        self.asked = False
        self._since = 0.0
        self._held = False

    def look(self) -> None:
        """Raise Asked if a signal has come."""
        if self.asked:
            raise Asked

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside the block, a signal waits for `look`."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal. Raises Asked at the first unless held, KeyboardInterrupt at a second.

        Ignores a later signal within SAME_S seconds, and every later SIGHUP.
        """
        now = time.monotonic()
        if self.asked:
            if now - self._since < SAME_S or number == getattr(signal, "SIGHUP", None):
                return
            raise KeyboardInterrupt
        self.asked, self._since = True, now
        if not self._held:
            raise Asked


@contextmanager
def stopping(what: Text) -> Iterator[Stop]:
    """Handle signals inside the block. Raises Stopped with this text after one, KeyboardInterrupt at a second."""
    stop = Stop()
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        known = (getattr(signal, name) for name in NAMES if hasattr(signal, name))
        # An ignored signal stays ignored: `nohup` keeps a program running that way when its terminal closes.
        numbers = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
        handlers = {number: signal.signal(number, stop.receive) for number in numbers}
    try:
        yield stop
    except Asked:
        raise Stopped(*what) from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
