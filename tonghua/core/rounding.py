"""Round sizes up, so that few different sizes occur.

oneDNN builds a kernel for every new size of a matrix product and keeps it. If every step has a token count of
its own, this takes 60 MB per step on a CPU. The few added rows carry no data.
"""

STEP = 32


def rounded(size: int, step: int = STEP) -> int:
    """Return the smallest multiple of `step` that is at least `size`."""
    return -(-size // step) * step
