"""How a program ends when its user made a mistake: one line on stderr, and the exit code of its kind."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UserError
from .system.environment import language, write_utf8
from .text import Text


def print_error(error: UserError, where: Text | None = None) -> None:
    """Print the mistake, after `where` it was made, in the user's language."""
    with suppress(OSError):  # the terminal may have gone, and this may be why
        prefix = where.to(language()) if where else ""
        print(prefix + error.text.to(language()), file=sys.stderr, flush=True)


@contextmanager
def plain_errors() -> Iterator[None]:
    """For scripts: inside, a mistake of the user is one line and its exit code, as on the command line.

    If the mistake is a placeholder left in the script, the line that holds it is named. Ctrl-C, and the end of what
    is typed, leave quietly.
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
    """The number of the script's line that holds the placeholder in the message, from 1."""
    from .config.fields import PLACEHOLDER

    found = PLACEHOLDER.search(message)
    script = Path(sys.argv[0])
    if found is None or not script.is_file():
        return None
    lines = script.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((number for number, line in enumerate(lines, 1) if found[0] in line), None)
