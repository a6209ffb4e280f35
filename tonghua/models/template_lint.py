"""Check an untrusted chat template before it runs: no access to internals, no imports, no huge loops."""

import math
import re
from collections.abc import Iterator

from jinja2 import TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..errors import RefusedError
from ..text import Text, shown
from .guarded import refused, too_large

TEMPLATE_LIMIT_BYTES = 200_000

RANGE_LIMIT = 10_000
"""Maximum literal argument of range(), as an absolute value."""

REPEAT_LIMIT = 1_000
"""Maximum product of the literals that a text is multiplied by."""

LOOP_DEPTH_LIMIT = 4

# Compiling a template recurses over its tree. Far below Python's recursion limit, far above any real template.
TREE_DEPTH_LIMIT = 100

_PRIVATE_PART = re.compile(r"(?:^|\.)_\w")

# Filters whose text arguments are attribute names.
_ATTRIBUTE_FILTERS = frozenset(
    ("attr", "map", "selectattr", "rejectattr", "groupby", "sort", "sum", "unique", "min", "max")
)


class _GenerationBlock(Extension):
    """`{% generation %}...{% endgeneration %}` marks the trained text; the lint checks its body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def lint_template(template: str, where: str) -> None:
    """Raise RefusedError unless the chat template is safe enough to render in a sandbox.

    The template is parsed, never rendered. The lint refuses imports, private attributes, and the largest loops and
    repeats, so that the sandbox has less to block. It does not limit the time of rendering.
    """
    try:
        size_bytes = len(template.encode("utf-8"))
        if size_bytes > TEMPLATE_LIMIT_BYTES:
            raise too_large(where, TEMPLATE_LIMIT_BYTES)
        environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols", _GenerationBlock])
        tree = environment.parse(template)
    except TemplateSyntaxError as error:
        reason = shown(error.message or "", 160)
        raise _template_refused(
            where, error.lineno, Text(f"模板语法错误（{reason}）", f"syntax error ({reason})")
        ) from None
    except (RecursionError, ValueError, SyntaxError, OverflowError):
        raise _template_refused(where, 1, Text("模板无法解析", "the template cannot be parsed")) from None
    pending: list[tuple[nodes.Node, int, int]] = [(tree, 0, 0)]
    while pending:
        node, loops, depth = pending.pop()
        loops += isinstance(node, nodes.For)
        fault = _template_fault(node)
        if loops > LOOP_DEPTH_LIMIT:
            fault = Text(f"循环嵌套超过 {LOOP_DEPTH_LIMIT} 层", f"loops are nested deeper than {LOOP_DEPTH_LIMIT}")
        if depth > TREE_DEPTH_LIMIT:
            fault = Text("嵌套太深", "it is nested too deeply")
        if fault is not None:
            raise _template_refused(where, node.lineno, fault)
        pending.extend((child, loops, depth + 1) for child in node.iter_child_nodes())


def _template_refused(where: str, line: int, fault: Text) -> RefusedError:
    return refused(
        where,
        f"第 {line} 行：{fault.zh}；请换回模型官方的 chat_template",
        f"line {line}: {fault.en}; put back the chat_template of the official model",
    )


def _template_fault(node: nodes.Node) -> Text | None:
    """Return the fault of this node without its children; None if it has none."""
    match node:
        case nodes.Import() | nodes.FromImport() | nodes.Include() | nodes.Extends():
            return Text("模板不能引入别的模板", "a template must not bring in another one")
        case nodes.Getattr(attr=name) | nodes.NSRef(attr=name) if name.startswith("_"):
            return _private(name)
        case nodes.Getitem(arg=nodes.Const(value=str(name))) if name.startswith("_"):
            return _private(name)
        case nodes.Filter(name=name) if name in _ATTRIBUTE_FILTERS:
            return next((_private(text) for text in _text_arguments(node) if _PRIVATE_PART.search(text)), None)
        case nodes.Name(name="cycler" | "joiner" | "lipsum" as name, ctx="load"):
            return Text(f"不允许使用 {name}", f"{name} is not allowed")
        case nodes.Call(node=nodes.Name(name="range"), args=arguments):
            if any(abs(_constant(argument) or 0) > RANGE_LIMIT for argument in arguments):
                return Text(f"range() 超过 {RANGE_LIMIT}", f"range() over {RANGE_LIMIT}")
        case nodes.Mul():
            return _repeat_fault(node)
        case nodes.Pow():
            # Compiling a template evaluates constants: 9**9**9 would never finish.
            return Text("不允许乘方（**）", "powers (**) are not allowed")
    return None


def _private(name: str) -> Text:
    return Text(f"不允许访问以 _ 开头的属性 {shown(name, 80)}", f"private attribute {shown(name, 80)} is not allowed")


def _text_arguments(node: nodes.Filter) -> Iterator[str]:
    for argument in (*node.args, *(pair.value for pair in node.kwargs)):
        if isinstance(argument, nodes.Const) and isinstance(argument.value, str):
            yield argument.value


def _constant(node: nodes.Node) -> float | None:
    """Return the number at this node, with its sign; None if the node is not a literal number."""
    if isinstance(node, nodes.Neg):
        value = _constant(node.node)
        return None if value is None else -value
    if isinstance(node, nodes.Const) and type(node.value) in (int, float):
        return float(min(node.value, 2**62))
    return None


def _repeat_fault(product: nodes.Mul) -> Text | None:
    """Return the fault if the literal numbers that multiply a text (or other value) exceed the limit."""
    factors: list[nodes.Node] = []
    pending: list[nodes.Node] = [product]
    while pending:
        node = pending.pop()
        if isinstance(node, nodes.Mul):
            pending += [node.left, node.right]
        else:
            factors.append(node)
    numbers = [number for number in map(_constant, factors) if number is not None]
    if len(numbers) < len(factors) and math.prod(numbers) > REPEAT_LIMIT:
        return Text(f"文本重复超过 {REPEAT_LIMIT} 次", f"a text repeated more than {REPEAT_LIMIT} times")
    return None
