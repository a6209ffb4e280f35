"""The prompts of a contract as a chat template that other programs can read: constant text around each message.

    start | opening or turn(system) | turn(user) turn(assistant) ... | ask

A model's own template offers tools, dates and more, which some programs prefer to the prompt that was trained, and on
which others fail. This one writes the prompts of the contract and nothing else, in Jinja and in Go's templates.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..errors import RefusedError
from .contract import Contract
from .conversation import Message, Role, with_system
from .renderer import Renderer
from .template import compiled

_ROLES: tuple[Role, ...] = ("system", "user", "assistant")

_MARKS = ("①", "②", "③", "④")
"""Messages of the sample conversation; no template holds them."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The text before and after a message. `trims`: white space at both ends of the message is left out."""

    before: str
    after: str
    trims: bool


@dataclass(frozen=True, slots=True)
class PlainTemplate:
    """What stands around messages. `opening` stands for the system message if there is none; `ask` begins an answer."""

    start: str
    opening: str
    turns: dict[Role, Turn]
    ask: str

    def jinja(self) -> str:
        """Return the template in Jinja, for GGUF files and chat_template.jinja."""
        lines = [f"{{{{- {_literal(self.start)} }}}}"] if self.start else []
        if self.opening:
            lines += [f"{{%- if messages[0]['role'] != 'system' %}}{{{{- {_literal(self.opening)} }}}}{{%- endif %}}"]
        lines += ["{%- for message in messages %}"]
        for word, role in zip(("if", "elif", "elif"), _ROLES, strict=True):
            turn = self.turns[role]
            content = f"message['content']{' | trim' if turn.trims else ''}"
            parts = [_literal(turn.before), f"({content})" if turn.trims else content, _literal(turn.after)]
            lines += [f"{{%- {word} message['role'] == '{role}' %}}{{{{- {' + '.join(parts)} }}}}"]
        lines += ["{%- endif %}", "{%- endfor %}"]
        lines += [f"{{%- if add_generation_prompt %}}{{{{- {_literal(self.ask)} }}}}{{%- endif %}}"]
        return "\n".join(lines)

    def go(self) -> str:
        """Return the template in Go's language, on one line, for Ollama; trimming is left out, which Go's has not."""
        text = f"{{{{ {_literal(self.start)} }}}}" if self.start else ""
        if self.opening:
            text += f"{{{{ if not .System }}}}{{{{ {_literal(self.opening)} }}}}{{{{ end }}}}"
        text += "{{ range .Messages }}"
        for word, role in zip(("if", "else if", "else if"), _ROLES, strict=True):
            turn = self.turns[role]
            text += f'{{{{ {word} eq .Role "{role}" }}}}{{{{ {_literal(turn.before)} }}}}'
            text += f"{{{{ .Content }}}}{{{{ {_literal(turn.after)} }}}}"
        return text + f"{{{{ end }}}}{{{{ end }}}}{{{{ {_literal(self.ask)} }}}}"


def plain_template(renderer: Renderer, contract: Contract, mark: str = "") -> PlainTemplate:
    """Return the template that writes the prompts of this contract, with `mark` before each control token.

    Raises RefusedError if the model's own template does more than put constant text around messages.
    """

    def text(messages: Sequence[Message]) -> str:
        return renderer.marked(renderer.prompt(with_system(messages, contract.system), contract.thinking), mark)

    talk = [Message(role, said) for role, said in zip((*_ROLES[:2], "assistant", "user"), _MARKS, strict=True)]
    gaps = re.split("|".join(_MARKS), text(talk))
    if len(gaps) != len(talk) + 1:
        raise _not_plain(renderer)
    control = _controls(renderer, mark)
    ends = [_end_of_turn(gap, control) for gap in gaps[1:]]
    before = [gap[len(end) :] for gap, end in zip(gaps[1:], ends, strict=True)]
    start, system = _start(gaps[0], before[0], control)
    trimmed = [Message(each.role, f" {each.content} ") for each in talk]
    kept = [f" {said} " in text(trimmed) for said in _MARKS]
    turns = {
        "system": Turn(system, ends[0], not kept[0]),
        "user": Turn(before[0], ends[1], not kept[1]),
        "assistant": Turn(before[1], ends[2], not kept[2]),
    }
    alone = text(talk[1:2])
    opening = alone[len(start) : alone.index(_MARKS[1]) - len(before[0])]
    made = PlainTemplate(start, opening, {role: turns[role] for role in _ROLES}, before[3])
    written = compiled(made.jinja())
    for messages in _samples():
        dicts = [{"role": each.role, "content": each.content} for each in messages]
        if written.render(messages=dicts, add_generation_prompt=True) != text(messages):
            raise _not_plain(renderer)
    return made


def _samples() -> Iterator[tuple[Message, ...]]:
    """Yield conversations of one to four questions, with and without a system message."""
    system = (Message("system", "甲 a。"),)
    for questions in range(1, 5):
        turns = [Message("assistant" if at % 2 else "user", f"{at} 乙\n b ") for at in range(2 * questions - 1)]
        yield tuple(turns)
        yield (*system, *turns)


def _controls(renderer: Renderer, mark: str) -> re.Pattern[str]:
    tokens = [mark + token.content for token in renderer.tokenizer.get_added_tokens_decoder().values() if token.special]
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)")


def _end_of_turn(gap: str, control: re.Pattern[str]) -> str:
    """Return the part of the text after a message that belongs to it: a control token, and what follows up to another.

    With one control token only, nothing tells the next turn's beginning from the end of this one.
    """
    places = [found.start() for found in control.finditer(gap)]
    return gap[: places[1]] if len(places) > 1 else gap


def _start(gap: str, before_user: str, control: re.Pattern[str]) -> tuple[str, str]:
    """Split what stands before a first system message: the start of every prompt, and the beginning of the turn.

    A turn begins with the control token that also begins those of users.
    """
    first = control.match(before_user)
    places = [0, *(found.start() for found in control.finditer(gap) if first and found[0] == first[0])]
    return gap[: places[-1]], gap[places[-1] :]


def _literal(text: str) -> str:
    """Return a string literal of Jinja and of Go."""
    return json.dumps(text, ensure_ascii=False)


def _not_plain(renderer: Renderer) -> RefusedError:
    name = renderer.folder.name
    return RefusedError(
        f"{name} 的对话模板不只是在消息前后加固定的文字，写不成别的程序也能读的样子；请用 merge 导出文件夹",
        f"the chat template of {name} does more than put constant text around messages, and cannot be written for other"
        " programs; export a folder with merge",
    )
