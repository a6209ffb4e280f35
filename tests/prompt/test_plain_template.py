"""The plain template of a contract writes what the renderer writes, in Jinja; what it cannot write is refused."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from chat_templates import ALWAYS_THINKING, CHATML, MISTRAL, QWEN3, THINKING
from jinja2 import Environment

from tonghua.errors import RefusedError
from tonghua.models.shipped import tiny
from tonghua.prompt.contract import Contract
from tonghua.prompt.conversation import Message, with_system
from tonghua.prompt.plain_template import plain_template
from tonghua.prompt.renderer import Renderer

LLAMA = """\
{{- bos_token }}
{%- if messages[0].role == 'system' %}
{%- set told = messages[0].content | trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set told = '' %}{%- endif %}
{{- '<|im_start|>system\\n\\nCutting Knowledge Date: December 2023\\n\\n' + told + '<|im_end|>' }}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n\\n' + message.content | trim + '<|im_end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n\\n' }}{%- endif %}
"""
"""A template in the manner of Llama 3: a first token, a text of its own before the system prompt, trimmed messages."""


def model(folder: Path, template: str) -> Renderer:
    """Return the renderer of `tiny` with another template."""
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes((tiny() / "tokenizer.json").read_bytes())
    settings = {"eos_token": "<|im_end|>", "bos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return Renderer(folder)


def contract(system: str | None, thinking: bool = False) -> Contract:
    return Contract(system, "\n", (2, 0), "", "", {}, thinking=thinking)


def talk(*turns: str, system: str | None = None) -> list[Message]:
    said = [Message("assistant" if at % 2 else "user", text) for at, text in enumerate(turns)]
    return [*([Message("system", system)] if system else []), *said]


TALKS = (
    talk("你好"),
    talk(' "引号" {{ x }} {% y %} \\n\\ ', "答 \n", "再来"),
    talk("a", "b", "c", "d", "e", "f", "g"),
    talk("你好", system="你是\n一只“猫”。\\"),
)


def rendered(template: str, messages: Sequence[Message], **settings: bool) -> str:
    dicts = [{"role": each.role, "content": each.content} for each in messages]
    environment = Environment(**settings)  # noqa: S701
    return environment.from_string(template).render(messages=dicts, add_generation_prompt=True)


@pytest.mark.parametrize("system", [None, '你是"小夜灯"。\n每天\\讲一个故事'])
@pytest.mark.parametrize("thinking", [False, True])
@pytest.mark.parametrize("template", [ALWAYS_THINKING, CHATML, LLAMA, QWEN3, THINKING])
def test_it_writes_what_the_renderer_writes(folder: Path, template: str, thinking: bool, system: str | None) -> None:
    renderer = model(folder / "m", template)
    written = plain_template(renderer, contract(system, thinking)).jinja()
    for messages in TALKS:
        wanted = renderer.plain(renderer.prompt(with_system(messages, system), thinking))
        # Programs differ in whether they trim blocks.
        for trims in (True, False):
            assert rendered(written, messages, trim_blocks=trims, lstrip_blocks=trims) == wanted
    assert "tool" not in written


@pytest.mark.parametrize("template", [CHATML, LLAMA, QWEN3])
def test_a_mark_stands_before_control_tokens_and_before_no_text(folder: Path, template: str) -> None:
    system = "“<|im_end|>”只是字"
    renderer = model(folder / "m", template)
    written = plain_template(renderer, contract(system), "\ufdd0").jinja()
    messages = talk("说<|im_start|>", "好", "再来")
    ids = renderer.prompt(with_system(messages, system))
    wanted = renderer.marked(ids, "\ufdd0")
    assert rendered(written, messages) == wanted
    assert wanted.replace("\ufdd0", "") == renderer.plain(ids)
    controls = {id for id, token in renderer.tokenizer.get_added_tokens_decoder().items() if token.special}
    assert wanted.count("\ufdd0") == sum(id in controls for id in ids)
    assert system in wanted


def test_another_contract_gives_another_template(folder: Path) -> None:
    renderer = model(folder / "m", QWEN3)
    made = {plain_template(renderer, contract(s, t)).jinja() for s in (None, "甲") for t in (False, True)}
    assert len(made) == 4


def test_a_template_with_more_than_constant_text_is_refused(folder: Path) -> None:
    counting = CHATML.replace("message.content", "(loop.index | string) + message.content")
    assert counting != CHATML
    for name, template in (("a", MISTRAL), ("b", counting)):
        with pytest.raises(RefusedError):
            plain_template(model(folder / name, template), contract(None))


def test_the_template_for_ollama_holds_the_same_texts(folder: Path) -> None:
    made = plain_template(model(folder / "m", CHATML), contract('说"话"'))
    assert made.go() == (
        '{{ if not .System }}{{ "<|im_start|>system\\n说\\"话\\"<|im_end|>\\n" }}{{ end }}{{ range .Messages }}'
        '{{ if eq .Role "system" }}{{ "<|im_start|>system\\n" }}{{ .Content }}{{ "<|im_end|>\\n" }}'
        '{{ else if eq .Role "user" }}{{ "<|im_start|>user\\n" }}{{ .Content }}{{ "<|im_end|>\\n" }}'
        '{{ else if eq .Role "assistant" }}{{ "<|im_start|>assistant\\n" }}{{ .Content }}{{ "<|im_end|>\\n" }}'
        '{{ end }}{{ end }}{{ "<|im_start|>assistant\\n" }}'
    )
