"""Leaving when asked to: the first signal ends the work at a place where nothing is lost, a second one at once.

    with stopping(Text(...)) as stop:        SIGINT, SIGTERM, SIGHUP, SIGUSR1 (SIGBREAK on Windows)
        ...                                  here the first ends the block at once with `Stopped`
        with stop.held():
            ...                              here it only sets a flag
            stop.look()                      and this is where it ends the block, with `Asked`

Signals come to the main thread alone; in another thread the block runs as if none came.
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
"""Those that a system does not have are left out. SIGUSR1 is what Slurm sends before it takes a machine away."""

SAME_S = 0.3
"""A terminal that closes may send its signal twice at once; that is one request."""


class Asked(BaseException):
    """Somebody asked the program to stop, and this is a good place to."""


class Stop:
    """Whether somebody asked, and whether that waits for `look`."""

    def __init__(self) -> None:
        self.asked = False
        self._since = 0.0
        self._held = False

    def look(self) -> None:
        """Raises Asked where a signal has come."""
        if self.asked:
            raise Asked

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, a signal waits for `look`."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def receive(self, number: int, frame: FrameType | None) -> None:
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
    """Raises Stopped with this text where a signal ended the block; KeyboardInterrupt at a second signal."""
    stop = Stop()
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        known = (getattr(signal, name) for name in NAMES if hasattr(signal, name))
        # What is ignored stays so: that is how `nohup` keeps a program running when its terminal closes.
        numbers = [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]
        handlers = {number: signal.signal(number, stop.receive) for number in numbers}
    try:
        yield stop
    except Asked:
        raise Stopped(*what) from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
