"""The process that `processes.start` forks from: Python with what every run imports, and nothing started yet.

    zygote.py SOCKET MODULE...      imports the modules, then forks one child for each connection

    the test ── arguments, folder, environment, three files ──► zygote ─fork─► nanny ─fork─► the program
             ◄──── pid, then the status of its end ───────────────────────────┘

The program runs as `python arguments...` would: in its folder and environment, with its own signals, files and exit.
"""

import importlib
import json
import os
import runpy
import signal
import socket
import sys
from contextlib import suppress
from typing import Any


def serve(path: str, modules: list[str]) -> dict[str, Any]:
    """Answer connections until stdin closes. Returns only in a child, what it shall run."""
    for name in modules:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        os.write(1, b"ready\n")
        while True:
            connection, _ = listener.accept()
            size = int.from_bytes(_read(connection, 8), "big")
            if not size:
                _wait_for_all()
                sys.exit(0)
            _, files, _, _ = socket.recv_fds(connection, 1, 3)
            asked: dict[str, Any] = json.loads(_read(connection, size))
            if os.fork() == 0:
                listener.close()
                if _nurse(connection, files):
                    return asked
            connection.close()
            for file in files:
                os.close(file)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _wait_for_all() -> None:
    """Wait for the nannies, so that the time which programs took is counted; 10 s at most."""
    signal.alarm(10)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _nurse(connection: socket.socket, files: list[int]) -> bool:
    """Fork the program and tell how it ends. Returns True in the program."""
    pid = os.fork()
    if pid == 0:
        for number, file in enumerate(files):
            os.dup2(file, number)
        for file in files:
            os.close(file)
        connection.close()
        return True
    for file in (0, 1, 2, *files):
        os.close(file)
    with suppress(OSError):  # the test may have gone
        connection.sendall(pid.to_bytes(8, "big"))
        _, status = os.waitpid(pid, 0)
        connection.sendall(status.to_bytes(8, "big"))
    os._exit(0)


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            sys.exit(0)
        data += piece
    return data


def become(asked: dict[str, Any]) -> None:
    """Run the program as a new interpreter would."""
    if asked["session"]:
        os.setsid()
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    # The other two are those of the zygote, which has written nothing into them; what they lead to is new.
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    first, *rest = asked["arguments"]
    known = [path for path in asked["environment"].get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [*known, *(path for path in sys.path[1:] if path not in known)]
    if first == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.argv = [rest[0], *rest[1:]]
        sys.path.insert(0, asked["folder"])
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *rest]
        sys.path.insert(0, os.path.dirname(os.path.abspath(first)))  # noqa: PTH100, PTH120
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)
    task = serve(sys.argv[1], sys.argv[2:])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    become(task)
