"""Bounds of a server: what one request may hold, how many may wait, and how long each step may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """All bounds of a server, in one place; names end in their unit."""

    running: int = 4  # answers written at the same time
    waiting: int = 16  # requests that wait for their turn; one more gets 429
    connections: int = 256
    body_bytes: int = 1 << 20
    dropped_bytes: int = 8 << 20  # a body up to this size is read and dropped before it is refused
    head_bytes: int = 16 << 10
    head_s: float = 10  # until the head of a request is there, also on a connection that is kept open
    body_s: float = 20  # until its body is there
    stalled_s: float = 60  # a client that reads nothing for so long is cut off
    wait_s: float = 120  # longest wait for a turn
    answer_s: float = 900  # longest answer; then it ends with "length"
    heartbeat_s: float = 15  # between comments in a stream that has nothing to say yet
    finish_s: float = 30  # what is left to running answers after a signal to stop
    wrong_keys: int = 10  # a minute, from one address; then 429
    retry_s: int = 5  # what Retry-After asks for
