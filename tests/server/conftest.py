"""Servers for the tests of this room."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from served import Script, Served, running


@pytest.fixture
def serving() -> Iterator[Callable[..., Served]]:
    """Return a function that starts a server, as `running`; all end with the test."""
    with ExitStack() as stack:
        yield lambda *given, **named: stack.enter_context(running(*given, **named))


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def bear(serving: Callable[..., Served], script: Script) -> Served:
    """A server of one model, 熊, that says 从前有一只小熊。"""
    return serving([script.model()])
