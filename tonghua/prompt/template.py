"""Compile a chat template in jinja's sandbox, with the environment that model authors write templates for.

The sandbox keeps a template away from Python's internals. It does not limit time and memory: a stranger's template
runs only in a child process (`learning.py`).
"""

import json
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class _GenerationBlock(Extension):
    """`{% generation %}...{% endgeneration %}` marks the trained text for transformers; here its body is rendered."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
        """Raise at once: no chat template has a reason to ask."""
        raise SecurityError(f"access to {attribute} is not allowed")


def compiled(source: str) -> jinja2.Template:
    """Return the compiled template. Raises what jinja2 raises; a hostile template may also hang or fill the memory."""
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _GenerationBlock]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    del environment.filters["attr"]
    for name in ("lipsum", "cycler", "joiner"):  # objects with methods, which no chat template needs
        del environment.globals[name]
    environment.globals["raise_exception"] = _raise
    return environment.from_string(source)


def _raise(message: Any) -> None:
    raise jinja2.TemplateError(str(message))
