"""Reasoning before an answer: learned as the template has it, asked for as it was learned, and never sent back."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from chat_templates import ALWAYS_THINKING, CHATML, QWEN3, with_template
from transformers import PreTrainedTokenizerFast

from tonghua.prompt.conversation import Conversation, Message, Thinking
from tonghua.prompt.renderer import Renderer

ASK = Message("user", "灯灭了怎么办？")
PLAIN = Message("assistant", "再点上就是。")
BESIDE = Message("assistant", "再点上就是。", reasoning="想一想。\n再想想。")
WITHIN = Message("assistant", "<think>\n想一想。\n再想想。\n</think>\n\n再点上就是。")
EMPTY = "<think>\n\n</think>\n\n"
FULL = "<think>\n想一想。\n再想想。\n</think>\n\n"


@pytest.fixture
def made(tiny_folder: Path, tmp_path: Path) -> Callable[[str], Renderer]:
    return lambda template: Renderer(with_template(tiny_folder, tmp_path, template))


def parts(renderer: Renderer, messages: Sequence[Message], wish: Thinking = "auto") -> list[tuple[str, str]]:
    """Each learned answer with its end, and all that stands before it."""
    (example,) = renderer.examples([Conversation(tuple(messages))], None, wish)
    found, start = [], 0
    wanted = [*example.is_target, False]
    for at in range(1, len(wanted)):
        if wanted[at] and not wanted[at - 1]:
            start = at
        elif wanted[at - 1] and not wanted[at]:
            found.append((renderer.plain(example.ids[start:at]), renderer.plain(example.ids[:start])))
    return found


def transformers_text(renderer: Renderer, messages: Sequence[Message], **options: object) -> str:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(renderer.folder)
    plain = [
        {"role": m.role, "content": m.content} | ({"reasoning_content": m.reasoning} if m.reasoning else {})
        for m in messages
    ]
    return str(tokenizer.apply_chat_template(plain, tokenize=False, **options))


def whole(renderer: Renderer, messages: Sequence[Message]) -> str:
    (example,) = renderer.examples([Conversation(tuple(messages))], None)
    return renderer.plain(example.ids)


SYSTEM = Message("system", "你是守桥人。")
TALKS = {
    "plain": [ASK, PLAIN],
    "beside": [ASK, BESIDE],
    "within": [SYSTEM, ASK, WITHIN],
    "line breaks": [ASK, Message("assistant", "\n\n是守桥人点的。\n")],
    "later": [SYSTEM, ASK, BESIDE, ASK, PLAIN, ASK, WITHIN],
    "history": [ASK, WITHIN, ASK, WITHIN, ASK, WITHIN, ASK, WITHIN, ASK, WITHIN, ASK, PLAIN],
}


@pytest.mark.parametrize("template", [QWEN3, ALWAYS_THINKING], ids=["qwen3", "always"])
@pytest.mark.parametrize("name", TALKS)
def test_a_conversation_is_written_as_transformers_writes_it(
    made: Callable[[str], Renderer], template: str, name: str
) -> None:
    renderer = made(template)
    assert whole(renderer, TALKS[name]) == transformers_text(renderer, TALKS[name])
    for thinking in (False, True):
        asked = renderer.plain(renderer.prompt(TALKS[name][:-1], thinking))
        wanted = {"add_generation_prompt": True, "enable_thinking": thinking}
        assert asked == transformers_text(renderer, TALKS[name][:-1], **wanted)


@pytest.mark.parametrize(
    ("answer", "wish", "learned", "thinking"),
    [
        (PLAIN, "auto", PLAIN.content, False),
        (BESIDE, "auto", FULL + PLAIN.content, True),
        (WITHIN, "auto", FULL + PLAIN.content, True),
        (PLAIN, True, EMPTY + PLAIN.content, True),
        (WITHIN, True, FULL + PLAIN.content, True),
        (PLAIN, False, PLAIN.content, False),
        (WITHIN, False, PLAIN.content, False),
        (BESIDE, False, PLAIN.content, False),
    ],
)
def test_what_is_learned_of_an_answer_and_how_it_is_asked_for(
    made: Callable[[str], Renderer], answer: Message, wish: Thinking, learned: str, thinking: bool
) -> None:
    renderer = made(QWEN3)
    assert parts(renderer, [ASK, answer], wish) == [
        (f"{learned}<|im_end|>", renderer.plain(renderer.prompt([ASK], thinking)))
    ]


@pytest.mark.parametrize("answer", [PLAIN, BESIDE, WITHIN])
def test_a_model_that_always_thinks_learns_to_close_its_reasoning(
    made: Callable[[str], Renderer], answer: Message
) -> None:
    renderer = made(ALWAYS_THINKING)
    thought = (EMPTY if answer is PLAIN else FULL).removeprefix("<think>\n")
    asked = renderer.plain(renderer.prompt([ASK], False))
    assert asked.endswith("<|im_start|>assistant\n<think>\n")
    assert parts(renderer, [ASK, answer]) == [(f"{thought}{PLAIN.content}<|im_end|>", asked)]
    assert renderer.lead([ASK], False) == "<think>\n"


@pytest.mark.parametrize("thinking", [False, True])
def test_other_prompts_open_no_reasoning(made: Callable[[str], Renderer], thinking: bool) -> None:
    assert made(QWEN3).lead([ASK], thinking) == ""


def test_only_the_last_answer_is_learned_where_the_history_loses_reasoning(made: Callable[[str], Renderer]) -> None:
    renderer = made(QWEN3)
    (last,) = parts(renderer, [ASK, WITHIN, ASK, PLAIN])
    assert last[0] == "再点上就是。<|im_end|>"
    assert "想一想" not in last[1]


@pytest.mark.parametrize(
    "said", ["<think>想", "想</think>答", "甲</think>乙</think>丙", "说 <think> 和 </think> 两个词", "</think>"]
)
def test_marks_that_are_no_reasoning_stay_text(made: Callable[[str], Renderer], said: str) -> None:
    renderer = made(QWEN3)
    odd = Message("assistant", said)
    assert parts(renderer, [ASK, odd])[0][0] == f"{said}<|im_end|>"
    assert said in renderer.plain(renderer.prompt([ASK, odd, ASK]))


@pytest.mark.parametrize(
    ("answer", "wish", "learned"),
    [
        (WITHIN, "auto", WITHIN.content),
        (BESIDE, "auto", PLAIN.content),
        (BESIDE, True, WITHIN.content),
        (WITHIN, True, WITHIN.content),
        (WITHIN, False, PLAIN.content),
        (BESIDE, False, PLAIN.content),
    ],
)
def test_a_template_that_knows_no_reasoning_takes_it_as_text(
    made: Callable[[str], Renderer], answer: Message, wish: Thinking, learned: str
) -> None:
    renderer = made(CHATML)
    assert [text for text, _ in parts(renderer, [ASK, answer], wish)] == [f"{learned}<|im_end|>"]
