"""Read config files in a safe subset of YAML, with the line of each key; write a config as YAML."""

from collections.abc import Iterator
from typing import Any, Final

import yaml

from ..errors import RefusedError, UsageError
from ..text import Text
from .fields import NOTHING
from .schema import GROUPS, Config
from .values import Setting

MAX_FILE_BYTES: Final = 1_000_000

MAX_DEPTH: Final = 8
"""Maximum depth of nested YAML nodes."""


class _Loader(yaml.SafeLoader):
    """Plain YAML only: tags could run code; aliases and deep nesting let a small file exhaust memory."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise RefusedError(
                f"第 {line} 行：配置文件里不能用 & 和 * 引用；请把值直接写出来，文字请加引号",
                f"line {line}: anchors and aliases (& and *) are refused; write the value, or quote the text",
            )
        if getattr(event, "tag", None):
            raise RefusedError(
                f"第 {line} 行：配置文件里不能用 ! 标签；请直接写值，文字请加引号",
                f"line {line}: YAML tags (!) are refused; write the plain value, or quote the text",
            )
        if self.depth >= MAX_DEPTH:
            raise RefusedError(f"第 {line} 行：嵌套太深", f"line {line}: nested too deeply")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def file_settings(content: bytes, name: str) -> list[Setting]:
    """Return the settings of one YAML file, in order. `name` is the name of the file in messages.

    Raises RefusedError for a tag, anchor, alias, deep nesting or more than MAX_FILE_BYTES, else UsageError.
    """
    if len(content) > MAX_FILE_BYTES:
        raise RefusedError(
            f"{name} 超过 1 MB，不像配置文件；数据请用 dataset= 给",
            f"{name} is over 1 MB and no config file; rows are given with dataset=",
        )
    try:
        loader = _Loader(content.decode("utf-8"))  # PyYAML itself skips a byte order mark
        node = loader.get_single_node()
    except UnicodeDecodeError:
        raise UsageError(
            f"{name} 不是 UTF-8 编码；请在编辑器里另存为 UTF-8",
            f"{name} is not UTF-8; save it as UTF-8 in your editor",
        ) from None
    except RefusedError as error:
        raise RefusedError(f"{name} {error.text.zh}", f"{name}, {error.text.en}") from None
    except yaml.YAMLError as error:
        raise _not_yaml(error, name) from None
    if node is None:
        return []
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(
            f"{name} 里应是一行行的「配置项: 值」；冒号要用半角，后面空一格",
            f"{name} must hold lines of `key: value`, with a space after the colon",
        )
    return list(_node_settings(node, name, ""))


def _not_yaml(error: yaml.YAMLError, name: str) -> UsageError:
    """Return the error for a file that PyYAML cannot parse, with the fix for common causes."""
    problem = str(getattr(error, "problem", None) or error)
    mends = {
        "mapping values are not allowed": Text("文字里有冒号时要加引号", "quote text that holds a colon"),
        "escape": Text(
            "双引号里的反斜杠是转义，路径请用单引号",
            "a backslash in double quotes is an escape; put paths in single quotes",
        ),
        "'\\t'": Text("缩进要用空格，不能用 Tab", "indent with spaces, not tabs"),
    }
    usual = Text("请检查冒号后的空格、缩进和引号", "check the space after each colon, the indents and the quotes")
    mend = next((mend for part, mend in mends.items() if part in problem), usual)
    mark = getattr(error, "problem_mark", None)
    where = Text(f" 第 {mark.line + 1} 行", f", line {mark.line + 1}") if mark else Text("", "")
    return UsageError(f"{name}{where.zh}不是正确的 YAML；{mend.zh}", f"{name}{where.en}: not valid YAML; {mend.en}")


def _node_settings(node: yaml.MappingNode, name: str, prefix: str) -> Iterator[Setting]:
    """Yield the settings of a mapping. Keys of a nested mapping get the prefix `parent.`."""
    first_lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        where = Text(f"{name} 第 {line} 行：", f"{name}, line {line}: ")
        if not isinstance(key_node, yaml.ScalarNode):
            raise UsageError(where.zh + "冒号前应是一个配置项的名字", where.en + "a key must stand before the colon")
        key = prefix + key_node.value
        if key in first_lines:
            raise UsageError(
                f"{where.zh}{key} 在第 {first_lines[key]} 行已经写过；请只留一个",
                f"{where.en}{key} is already on line {first_lines[key]}; keep one",
            )
        first_lines[key] = line
        yield from _value_settings(key, value_node, name, where)


def _value_settings(key: str, node: yaml.Node, name: str, where: Text) -> Iterator[Setting]:
    spelled = key.replace("-", "_")
    if isinstance(node, yaml.MappingNode) and spelled in GROUPS:
        yield from _node_settings(node, name, f"{spelled}.")
    elif isinstance(node, yaml.ScalarNode):
        nothing = _is_null(node)
        if nothing and spelled in GROUPS:  # every key below it is commented out
            return
        retyped = not nothing and node.tag != "tag:yaml.org,2002:str"
        yield Setting(spelled, None if nothing else node.value, where, bare=node.style is None, retyped=retyped)
    else:
        yield Setting(spelled, _plain(node), where)


def _is_null(node: yaml.ScalarNode) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _plain(node: yaml.Node) -> Any:
    """Return a node as text, None, a list or a dict. Texts of numbers stay texts: the field gives the type."""
    if isinstance(node, yaml.ScalarNode):
        return None if _is_null(node) else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each) for each in node.value]
    return {str(_plain(key)): _plain(value) for key, value in node.value}


class _Dumper(yaml.SafeDumper):
    """Quotes all text except single plain words, so that it loads back unchanged."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    word = text.isidentifier() and text.lower() not in NOTHING
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if word else '"')


_Dumper.add_representer(str, _represent_text)


def to_yaml(config: Config) -> str:
    """Return the config as YAML with every key. `load` of this file returns an equal config."""
    return yaml.dump(
        config.model_dump(),
        Dumper=_Dumper,
        allow_unicode=True,
        sort_keys=False,
        width=2**31,
        default_flow_style=False,
    )
