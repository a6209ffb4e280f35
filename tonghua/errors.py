"""What a user can do wrong, in one line each, in Chinese and English.

`Text` is anything that people read, in both languages. A `UserError` carries one and the exit code
of its kind; whatever is not a `UserError` is a bug and keeps its traceback.
"""

from .text import Text


class UserError(Exception):
    """A mistake that its maker can mend: what is wrong, where, and how to mend it."""

    exit_code = 2

    def __init__(self, zh: str, en: str):
        super().__init__(f"{zh} / {en}")
        self.text = Text(zh, en)

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, ...]]:
        """So that it can come out of another process."""
        return type(self), tuple(self.text)


class UsageError(UserError):
    """A wrong command, option or config value."""


class DataError(UserError):
    """Rows that cannot be used, or parts that do not belong together."""

    exit_code = 3


class RefusedError(UserError):
    """A file that is damaged or not safe to open."""

    exit_code = 4


class ResourceError(UserError):
    """Not enough disk or memory."""

    exit_code = 5


class DivergedError(UserError):
    """Training left the finite numbers."""

    exit_code = 6


class Stopped(UserError):
    """Stopped before the end, on request or because the network failed; what was done is kept."""

    exit_code = 75
