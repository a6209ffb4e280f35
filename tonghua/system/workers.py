"""Run work in several processes and yield the results in order.

    items ---> [child 1: work(item)] ---> results, in the order of the items
          ---> [child 2: work(item)] --->

Each child is a separate Python process that gets its items through a pipe. Unlike with multiprocessing, it never
imports the user's script, so the script needs no `if __name__ == "__main__"`.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

from ..errors import ResourceError
from .signals import NAMES as SIGNALS

Item = TypeVar("Item")

Result = TypeVar("Result")

IN_FLIGHT = 3
"""Maximum items in flight per process: one is in work, the others keep the process from waiting."""


def ordered_map(
    make: Callable[[], Callable[[Item], Result]], items: Iterable[Item], processes: int
) -> Iterator[Result]:
    """Yield `make()(item)` of every item; `make` runs once in each process. `make`, items and results must pickle.

    Raises an exception of the work here, and ResourceError if a process dies. However the iteration ends, no
    process is left running.
    """
    children = [_Child(make) for _ in range(processes)]
    idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()
    for child in children:
        idle.put(child)

    def work(item: Item) -> Any:
        child = idle.get()
        try:
            return child.ask(item)
        finally:
            idle.put(child)

    given: deque[Future[Any]] = deque()
    try:
        with ThreadPoolExecutor(processes) as threads:
            try:
                for item in items:
                    given.append(threads.submit(work, item))
                    if len(given) >= IN_FLIGHT * processes:
                        yield given.popleft().result()
                while given:
                    yield given.popleft().result()
            finally:
                for future in given:
                    future.cancel()
    finally:
        for child in children:
            child.close()


class _Child:
    def __init__(self, make: Callable[[], Callable[[Any], Any]]):
        here = str(Path(__file__).parents[2])
        start = f"import sys; sys.path.insert(0, {here!r}); from tonghua.system.workers import serve; serve()"
        command = [sys.executable, "-P", "-c", start]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        self._send(make)

    def ask(self, item: Any) -> Any:
        assert self._process.stdout is not None
        try:
            self._send(item)
            done, result = pickle.load(self._process.stdout)  # noqa: S301 - written by our own child
        except (OSError, EOFError, pickle.UnpicklingError):
            code = self._process.wait()
            raise ResourceError(
                f"一个处理数据的进程被系统结束了（{code}），多半是内存不够；请关掉别的程序再试",
                f"a process that prepared rows was ended by the system ({code}), most likely for want of memory;"
                " close other programs and try again",
            ) from None
        if not done:
            raise result
        return result

    def _send(self, value: Any) -> None:
        assert self._process.stdin is not None
        pickle.dump(value, self._process.stdin, pickle.HIGHEST_PROTOCOL)
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:  # the child ended first, with data still in the pipe
                continue
        self._process.wait()


def serve() -> None:
    """Run in the child: work until the pipe closes."""
    for name in SIGNALS:  # the parent handles them and then closes the pipe
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    os.putenv("TOKENIZERS_PARALLELISM", "false")  # one core per process
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # text that a library prints must not mix with the results
    work: Callable[[Any], Any] | None = None
    while True:
        try:
            item = pickle.load(source)  # noqa: S301 - written by our own parent
        except EOFError:
            return
        try:
            if work is None:
                work = item()
                continue
            _answer(sink, (True, work(item)))
        except Exception as error:
            _answer(sink, (False, error))


def _answer(sink: IO[bytes], result: tuple[bool, Any]) -> None:
    pickle.dump(result, sink, pickle.HIGHEST_PROTOCOL)
    sink.flush()
