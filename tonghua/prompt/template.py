"""Run chat templates as untrusted programs: in jinja's sandbox, with limits on steps and on text.

The sandbox keeps a template away from Python's internals. It does not limit time and memory: nested loops, a
recursive macro, text that doubles. So this module counts every loop pass and every call, and refuses a joined
or repeated text of more than `MOST_CHARACTERS`.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MOST_STEPS = 1_000_000
"""Maximum loop passes plus calls in one rendering; a conversation of 1,000 messages needs about ten thousand."""

MOST_CHARACTERS = 50_000_000
"""Maximum length of a joined or repeated text or list, in characters or items."""

_WIDENING = frozenset({"format", "format_map", "center", "ljust", "rjust", "zfill", "expandtabs"})
"""Methods that can make a short text arbitrarily long."""

_FAULTS = (
    jinja2.TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    RecursionError,
    MemoryError,
)


class TemplateFaultError(Exception):
    """A template failed at run time. The message is that of the library."""


class ChatTemplate:
    """A compiled chat template. `models.template_lint` checks the template of a model folder first."""

    def __init__(self, source: str):
        self._environment = _Bounded(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        # The same environment as in transformers: model authors write templates for it.
        self._environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
        self._environment.globals["raise_exception"] = _raise
        self._template = self._environment.from_string(_StepCounter().visit(self._environment.parse(source)))

    def render(self, **variables: Any) -> str:
        """Return the rendered text. Raises TemplateFaultError on any failure, too many steps or too much text."""
        self._environment.steps = 0
        try:
            return self._template.render(**variables)
        except _FAULTS as error:
            raise TemplateFaultError(str(error) or type(error).__name__) from error


class _Bounded(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "*", "%", "**"})

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.steps = 0
        self.filters["counted"], self.filters["bounded"] = self._counted, self._bounded
        for name in ("format", "center", "indent", "wordwrap"):
            del self.filters[name]

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise jinja2.TemplateRuntimeError(f"more than {MOST_STEPS} steps")

    def _counted(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self._step()
            yield item

    def _bounded(self, text: Any) -> Any:
        if isinstance(text, str | list | tuple) and len(text) > MOST_CHARACTERS:
            raise jinja2.TemplateRuntimeError(f"more than {MOST_CHARACTERS} characters")
        return text

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        self._step()
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        texts = [each for each in (left, right) if isinstance(each, str | list | tuple)]
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise jinja2.TemplateRuntimeError(f"{operator} is not allowed")
        if operator == "*" and texts:
            times = next((each for each in (left, right) if isinstance(each, int)), 1)
            if len(texts[0]) * times > MOST_CHARACTERS:
                raise jinja2.TemplateRuntimeError(f"more than {MOST_CHARACTERS} characters")
        return self._bounded(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> None:
        """Return None, so that `format` must pass `is_safe_attribute` like any other method."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _WIDENING and super().is_safe_attribute(obj, attr, value)


class _StepCounter(NodeTransformer):
    """Wraps the items of every loop in `counted` and the result of every `~` in `bounded`."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, "bounded")


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
