"""A stranger's chat template: what it writes is learned in a child process, and whatever else it does stays there."""

from pathlib import Path

import pytest
from chat_templates import CHATML, GEMMA, MISTRAL, QWEN3

from tonghua.errors import RefusedError
from tonghua.prompt.grammar import Grammars, Trim
from tonghua.prompt.learning import learned
from tonghua.prompt.template_file import grammars_of

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
USER, ANSWER, THOUGHT, SYSTEM = ("user", False), ("assistant", False), ("assistant", True), ("system", False)


def grammars(template: str) -> Grammars:
    """What is learned in this process: for templates that do no harm."""
    answer = learned({"template": template, "tokens": TOKENS})
    assert "fault" not in answer, answer
    return Grammars.from_json(answer)


def text_around(template: str, *shape: tuple[str, bool], ask: bool = False, thinking: bool = False) -> list[str]:
    skeleton = grammars(template).of(shape, thinking).skeleton(shape, ask)
    return [piece for piece in skeleton if isinstance(piece, str)]


def fault(template: str) -> str:
    answer = learned({"template": template, "tokens": TOKENS})
    return str(answer["fault"][1])


def test_the_text_around_messages_is_learned() -> None:
    default = "<|im_start|>system\n你是默认的助手。<|im_end|>\n<|im_start|>user\n"
    turn = "<|im_end|>\n<|im_start|>assistant\n"
    assert text_around(CHATML, USER, ANSWER) == [default, turn, "<|im_end|>\n"]
    assert text_around(CHATML, SYSTEM, USER, ask=True)[0] == "<|im_start|>system\n"
    assert text_around(CHATML, USER, ask=True) == [default, turn]
    assert text_around(MISTRAL, SYSTEM, USER, ANSWER) == ["<s>[INST] ", "\n\n", " [/INST] ", "</s>"]
    assert text_around(CHATML, *[USER, ANSWER] * 500)[-2] == turn


def test_reasoning_has_a_place_where_the_template_gives_it_one() -> None:
    assert [grammars(each).thoughts for each in (QWEN3, CHATML)] == [True, False]
    assert text_around(QWEN3, USER, THOUGHT)[1:3] == ["<|im_end|>\n<|im_start|>assistant\n<think>\n", "\n</think>\n\n"]
    assert text_around(QWEN3, USER, THOUGHT, USER, ANSWER)[1:3] == [
        "<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>\n<|im_start|>user\n",
    ]


def test_reasoning_within_an_answer_counts_if_the_history_loses_it() -> None:
    without_key = QWEN3.replace("message.reasoning_content if message.reasoning_content is string else ''", "''")
    assert without_key != QWEN3
    assert grammars(without_key).thoughts
    assert text_around(without_key, USER, THOUGHT) == text_around(QWEN3, USER, THOUGHT)


@pytest.mark.parametrize(
    ("code", "trim"),
    [
        ("message.content", Trim()),
        ("message.content | trim", Trim("", "")),
        ("message.content.strip()", Trim("", "")),
        ("message.content.lstrip('\\n')", Trim("\n", None)),
        ("message.content.rstrip()", Trim(None, "")),
        ("message.content.strip('\\n')", Trim("\n", "\n")),
        ("message.content.strip(' \\n')", Trim("\n ", " \n")),
    ],
)
def test_what_a_template_trims_is_learned(code: str, trim: Trim) -> None:
    changed = CHATML.replace("message.content", f"({code})")
    plain = grammars(changed).by_opening["plain"]
    assert {tuple(each or ()) for each in plain.trims.values()} == {tuple(trim)}
    words = " \n\t 好 \u3000\n"
    assert trim(words) == eval(code.replace("message.content", "w").replace("w | trim", "w.strip()"), {"w": words})  # noqa: S307


def test_a_template_that_takes_only_some_conversations() -> None:
    found = grammars(GEMMA).by_opening
    assert {name for name, grammar in found.items() if grammar.refusal is None} == {"plain", "thinking"}
    assert "System role not supported" in str(found["system"].refusal)


@pytest.mark.parametrize(
    "template",
    [
        CHATML.replace(
            "{{- '<|im_start|>' + message.role", "{%- generation %}{{- '<|im_start|>' + message.role"
        ).replace("'<|im_end|>\\n' }}\n{%- endfor", "'<|im_end|>\\n' }}{%- endgeneration %}\n{%- endfor"),
        "{%- if tools %}{{ tools | tojson(indent=4) }}{% endif %}" + CHATML,
        "{%- if strftime_now is defined %}{{ strftime_now('%d') }}{% endif %}" + CHATML,
        "{%- for m in messages %}{% if loop.last %}{% break %}{% endif %}{% continue %}{% endfor %}" + CHATML,
        "{%- macro line(x, y=1) %}{{ x ~ y }}{% endmacro %}{%- set used = messages | selectattr('role') | list %}"
        + CHATML,
    ],
    ids=["generation", "tools", "date", "loop controls", "macro"],
)
def test_what_official_templates_use_is_there(template: str) -> None:
    assert template != CHATML
    assert grammars(template).by_opening == grammars(CHATML).by_opening


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ("{{ ''.__class__ }}", "access to __class__ is not allowed"),
        ("{{ messages.append(1) }}", "access to append is not allowed"),
        ("{{ x|attr('__class__') }}", "line 1: No filter named 'attr'."),
        ("{{ lipsum.__globals__ }}", "lipsum"),
        ("{% include 'x' %}", "no loader"),
        ("\n{% evil %}", "line 2: Encountered unknown tag 'evil'."),
        ("{% for a in b %}", "Unexpected end of template."),
        ("{{ 1 // 0 }}", "division"),
        ("{{ raise_exception('\x1b[2J坏') }}", "坏"),
        ("{{ raise_exception([1]) }}", "[1]"),
        ("{% set m %}{% endset %}{{ messages[0].content.upper() }}{{ messages[0].content.upper() }}", "twice"),
        ("{{ messages[-1].content }}{{ messages[0].content }}", ""),
        ("{{ '(' * 5000 }}{% if " + "(" * 5000 + "1" + ")" * 5000 + " %}{% endif %}", ""),
        ("\ud800", "half a character"),
    ],
)
def test_a_template_that_fails_is_told(attack: str, words: str) -> None:
    assert words in fault(attack + CHATML)


@pytest.mark.parametrize(
    "template",
    [
        CHATML.replace("message.content", "message.content | upper"),
        CHATML.replace("message.content", "message.content | replace('你', '我')"),
        CHATML.replace("message.content", "message.content | center(90)"),
        CHATML.replace("message.role", "(message.role if loop.index0 < 9 else 'other')"),
        CHATML + "{{ messages | length }}",
        "{% if messages | length > 10 %}{{ raise_exception('too long') }}{% endif %}" + CHATML,
    ],
    ids=["upper", "replace", "center", "other role", "counts", "length"],
)
def test_a_template_that_keeps_to_no_grammar_is_refused(template: str) -> None:
    assert template != CHATML
    assert fault(template)


HOSTILE = {
    "batch": "{% set x = [1]|batch(1000000000,0)|list %}",
    "squares": "{% set ns = namespace(n=9) %}{% for i in range(40) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
    "text": "{% set x = 'a' * 10**9 %}",
    "range": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "doubling": "{% set ns = namespace(t='ab') %}{% for i in range(40) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}",
    "format": "{% set x = '%999999999d' % 1 %}",
    "endless macro": "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "output": "{% for i in range(99999) %}{{ 'a' * 20000 }}{% endfor %}",
    "deep sum": "{{ " + "+".join(["a"] * 20_000) + " }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(RefusedError) as caught:
        grammars_of(tmp_path / "模型\x1b[2J", HOSTILE[name] + CHATML, {})
    for words in caught.value.text:
        assert words.isprintable()
        assert len(words) < 500


def test_a_template_that_writes_much_for_each_turn_is_refused() -> None:
    assert "characters for a few messages" in fault(CHATML + "a" * 20_000)
    assert grammars(CHATML + "a" * 2_000)
