"""End a program after a user's error: one line on stderr, and the exit code of that kind of error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UserError
from .system.environment import language, write_utf8
from .terminal.printer import put_error
from .text import Text


def print_error(error: UserError, where: Text | None = None) -> None:
    """Print the error on stderr in the user's language, with `where` it was made before it."""
    with suppress(OSError):  # the terminal may be gone; that may even be the error
        prefix = where.to(language()) if where else ""
        put_error(prefix + error.text.to(language()))


@contextmanager
def plain_errors() -> Iterator[None]:
    """Inside the block, a UserError prints one line and exits with its code, as on the command line; for scripts.

    If the error is a placeholder left in the script, the message names its line. Ctrl-C exits with 130, and the end
    of the input with 0, both without a message.
    """
    write_utf8()
    try:
        yield
    except UserError as error:
        number = _line_with_placeholder(str(error))
        where = Text(f"{sys.argv[0]} 第 {number} 行：", f"{sys.argv[0]} line {number}: ") if number else None
        print_error(error, where)
        sys.exit(error.exit_code)
    except EOFError:
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)


def _line_with_placeholder(message: str) -> int | None:
    """Return the 1-based number of the script's line with the placeholder that the message names, or None."""
    from .config.fields import PLACEHOLDER

    found = PLACEHOLDER.search(message)
    script = Path(sys.argv[0])
    if found is None or not script.is_file():
        return None
    lines = script.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((number for number, line in enumerate(lines, 1) if found[0] in line), None)
