"""Errors that a user can fix, each with a message in Chinese and English and an exit code.

Exception
 └─ UserError                2
     ├─ UsageError           2   wrong command, option or config value
     ├─ DataError            3   unusable rows, or parts that do not match
     ├─ RefusedError         4   file is damaged or unsafe
     ├─ ResourceError        5   not enough disk or memory
     │   └─ Unsaved          5   checkpoint not written (in runs/book.py)
     ├─ DivergedError        6   non-finite numbers in training or in an answer
     └─ Stopped             75   stopped before the end; finished work is kept

Any other exception is a bug: it keeps its traceback and exits with 1. Ctrl-C exits with 130.
"""

from .text import Text


class UserError(Exception):
    """Base class. The message says what is wrong, where, and how to fix it; `text` holds it in both languages."""

    exit_code = 2

    def __init__(self, zh: str, en: str):
        super().__init__(f"{zh} / {en}")
        self.text = Text(zh, en)

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, ...]]:
        """Pickle the two texts, so that a worker process can pass the error to its parent."""
        return type(self), tuple(self.text)


class UsageError(UserError):
    """A wrong command, option or config value."""


class DataError(UserError):
    """Rows that cannot be used, or parts that do not match, such as an adapter and a base model."""

    exit_code = 3


class RefusedError(UserError):
    """A file that is damaged or unsafe to open."""

    exit_code = 4


class ResourceError(UserError):
    """Not enough disk or memory."""

    exit_code = 5


class DivergedError(UserError):
    """Non-finite numbers in training or in the logits of an answer."""

    exit_code = 6


class Stopped(UserError):
    """Stopped before the end by a signal or a network failure; finished work is kept."""

    exit_code = 75
