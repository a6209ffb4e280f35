"""Where the events of some work go: to a function of the caller, or to the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ..events import Ended

if TYPE_CHECKING:
    from ..training.events import Event

OnEvent = Callable[["Event"], None]


@contextmanager
def following(on_event: OnEvent | None, quiet: bool = False) -> Iterator[OnEvent]:
    """Yield the function for events: `on_event`; if it is None the terminal, or with `quiet` nothing.

    `Ended` comes last, also on errors.
    """
    if on_event is None and quiet:
        on_event = _ignore
    elif on_event is None:
        from ..system.environment import language
        from .screen import Screen

        on_event = Screen(language()).event
    show = on_event

    def tell(event: "Event") -> None:
        try:
            show(event)
        except Exception as error:
            # Under its own name an OSError of a caller's function would be taken for a full disk.
            raise _OnEventError(error) from error

    try:
        yield tell
    except BaseException as error:
        with suppress(Exception):  # the error matters, not what shows its end
            show(Ended())
        if isinstance(error, _OnEventError):
            raise error.error from None
        raise
    show(Ended())


def _ignore(event: "Event") -> None:
    """Show nothing."""


class _OnEventError(Exception):
    """Carries what `on_event` raised through the work that told it."""

    def __init__(self, error: Exception):
        super().__init__(str(error))
        self.error = error
