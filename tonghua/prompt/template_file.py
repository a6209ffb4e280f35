"""The chat template of a model folder: its text, and what a child process learns of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RefusedError
from ..system.bounded import Bounds, OutOfBoundsError
from ..text import Text, shown
from .grammar import Grammars
from .kept import NotLearnedError, Question, learned

BOUNDS = Bounds(memory_bytes=128_000_000, cpu_s=2, answer_bytes=2_000_000)
"""The largest official template needs 30 MB and a tenth of a second."""

MOST_WORDS = 200
"""Maximum characters of a template's own words in a message."""


def read_template(folder: Path, settings: Mapping[str, Any]) -> str:
    """Return the text of the template in a file of its own, or else in `settings`, which is tokenizer_config.json.

    Raises RefusedError if there is none.
    """
    beside = folder / "chat_template.jinja"
    if beside.is_file():
        try:
            return beside.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise unfit(folder, "chat_template.jinja 不是 UTF-8 文本", "chat_template.jinja is no UTF-8 text") from None
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = [each for each in template if isinstance(each, dict) and each.get("name") == "default"]
        template = named[0].get("template") if named else None
    if not isinstance(template, str):
        raise unfit(
            folder,
            "没有对话模板，可能是未经指令微调的底模，请用 Instruct 版",
            "it has no chat template; it may be a base model, take the Instruct edition",
        )
    return template


def grammars_of(folder: Path, template: str, tokens: Mapping[str, str]) -> Grammars:
    """Return how the template writes conversations; `tokens` are its named tokens.

    The template runs in a child process only. Raises RefusedError, which names the folder, if it fails, does not
    keep to one way of writing, or takes too much time or memory.
    """
    request = {"template": template, "tokens": dict(tokens)}
    subject = json.dumps(request, sort_keys=True)
    try:
        made: Grammars = learned(Question("tonghua.prompt.learning:learned", subject, request, BOUNDS), _grammars)
        return made
    except (NotLearnedError, OutOfBoundsError) as fault:
        reason = Text(*(shown(words, MOST_WORDS) for words in fault.reason))
        raise unfit(
            folder,
            f"对话模板不能用（{reason.zh}）；请换回模型官方的 chat_template",
            f"its chat template is unfit ({reason.en}); put back the chat_template of the official model",
        ) from None


def _grammars(answer: Mapping[str, Any]) -> Grammars:
    if "fault" in answer:
        raise NotLearnedError(Text(*answer["fault"]))
    return Grammars.from_json(answer)


def unfit(folder: Path, zh: str, en: str) -> RefusedError:
    """Return the error for a model that no conversation can be written for."""
    name = shown(folder.name, 80)
    return RefusedError(f"模型 {name} 不能用于对话：{zh}", f"model {name} cannot be used for chat: {en}")
