"""Sizes rounded up, so that few different ones occur.

oneDNN builds a kernel for every new size of a matrix product and keeps it: with each step's own token count
that is 60 MB a step on a CPU. The few added rows carry nothing.
"""

STEP = 32


def rounded(size: int, step: int = STEP) -> int:
    """The next multiple of `step`."""
    return -(-size // step) * step
