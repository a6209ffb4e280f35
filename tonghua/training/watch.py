"""Watch for a step that hangs: report where it hangs, and in the end exit.

    usual 2 s ... no end of the step for LONGEST_S (or TIMES the usual): stacks to hang.txt, and a message
              ... as long again: the process exits with 75, as after a signal; the last checkpoint is there

A thread watches, because a hanging step runs no code of ours. There are two limits for a computer that was asleep: its
step ends before the second one.
"""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from ..errors import Stopped
from ..text import Text

LONGEST_S = 300.0
"""Time limit of a step, in seconds, if `TIMES` gives no longer one."""

TIMES = 10.0
"""Time limit of a step, as a multiple of the usual time."""

STACKS = "hang.txt"


def _leave(code: int) -> None:
    """Show the terminal's cursor, which a progress bar hides, and exit at once, whatever hangs."""
    with suppress(Exception):
        if sys.__stderr__ is not None and sys.__stderr__.isatty():
            os.write(sys.__stderr__.fileno(), b"\x1b[?25h")
    os._exit(code)  # sys.exit would end this thread only


class Watch:
    """Inside the block, a thread watches every step. It calls `note` at the first limit and `leave` at the second."""

    def __init__(
        self,
        run: Path,
        note: Callable[[str, Text], None],
        longest_s: float = LONGEST_S,
        leave: Callable[[int], None] = _leave,
    ):
        self._run, self._note, self._longest_s, self._leave = run, note, longest_s, leave
        self._deadline: float | None = None
        self._allowed_s = longest_s
        self._told = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @contextmanager
    def one_step(self, usual_s: float) -> Iterator[None]:
        """Inside the block, a step may take TIMES * `usual_s` seconds, and at least `longest_s`."""
        self._allowed_s = max(self._longest_s, TIMES * usual_s)
        self._told = False
        # Last: from here on the thread reads all three, without a lock.
        self._deadline = time.monotonic() + self._allowed_s
        try:
            yield
        finally:
            self._deadline = None

    def _watch(self) -> None:
        while not self._stop.wait(min(1.0, self._longest_s / 4)):
            deadline = self._deadline  # read once: the step may end at any time and set it to None
            if deadline is None or time.monotonic() < deadline:
                continue
            if self._told:
                self._leave(Stopped.exit_code)
                return
            self._told = True
            self._deadline = time.monotonic() + self._allowed_s
            with suppress(Exception):  # a full disk must not keep a hanging run alive
                self._tell()

    def _tell(self) -> None:
        stacks = self._run / STACKS
        with stacks.open("w", encoding="utf-8") as opened:
            faulthandler.dump_traceback(opened, all_threads=True)
        self._note(
            "hung",
            Text(
                f"这一步已经 {self._allowed_s:.0f} 秒没有动静，停在哪里写在 {stacks}；再这么久就退出，"
                "然后可以用 tonghua train --resume 接着训练",
                f"nothing has come of this step for {self._allowed_s:.0f} s; where it hangs is in {stacks}. After as"
                " long again the program leaves, and tonghua train --resume continues",
            ),
        )
