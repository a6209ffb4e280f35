"""Answers: the same tokens with a cache, without one, and by transformers; alone and side by side."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from chat_templates import ALWAYS_THINKING, QWEN3, with_template
from reference import STOP, add_adapter, our_model, reference_model

from tonghua.config.schema import Sampling
from tonghua.core import attention
from tonghua.core.lora import Adapter
from tonghua.core.model import Decoder
from tonghua.errors import DataError, UsageError
from tonghua.inference import torch_engine as engine_room
from tonghua.inference.decode import tokens
from tonghua.inference.engine import Answer, AnswerPiece, Token
from tonghua.inference.teller import _message
from tonghua.inference.torch_engine import TorchEngine
from tonghua.models.shipped import tiny
from tonghua.prompt.contract import Contract
from tonghua.prompt.conversation import JOIN, Message
from tonghua.prompt.renderer import Renderer
from tonghua.training import diary as diary_room
from tonghua.training.diary import Diary

GREEDY = Sampling(temperature=0, repetition_penalty=1, dry_multiplier=0, max_new_tokens=14)
DRAWN = Sampling(temperature=1.3, top_p=1, seed=5, max_new_tokens=14)
PROMPTS = ((5, 9, 14, 200, 77, 31, 8), (1, 40, 41), tuple(range(60, 95)), (300,))
NEVER: tuple[int, ...] = ()


@pytest.fixture(scope="module")
def decoder(tiny_folder: Path) -> Decoder:
    return our_model(tiny_folder).eval()


@pytest.fixture(scope="module")
def tuned(tiny_folder: Path) -> tuple[Decoder, Adapter]:
    decoder = our_model(tiny_folder).eval()
    return decoder, add_adapter(decoder)


@pytest.fixture
def engine(tiny_folder: Path, tuned: tuple[Decoder, Adapter]) -> Iterator[TorchEngine]:
    decoder, adapter = tuned
    yield TorchEngine(decoder, Renderer(tiny_folder), contract(stop_ids=(STOP, 0)))
    adapter.enable(True)


def contract(stop_ids: tuple[int, ...]) -> Contract:
    return Contract("你是一个讲故事的人。", JOIN, stop_ids, "", "", {})


def generated(
    decoder: Decoder, prompts: Sequence[Sequence[int]], sampling: Sampling, stop_ids: Sequence[int] = NEVER
) -> list[list[int]]:
    answers: list[list[int]] = [[] for _ in prompts]
    for row, token, _ in tokens(decoder, prompts, sampling, stop_ids, frozenset()):
        answers[row].append(token)
    return answers


def latest(answer: Sequence[int]) -> int:
    """The token that comes up for the first time as late as possible: a stop that lets an answer begin."""
    token = max(answer, key=answer.index)
    assert answer.index(token) > 0
    return token


@torch.no_grad()
def without_cache(decoder: Decoder, prompt: Sequence[int], count: int) -> list[int]:
    """Greedy tokens, everything read anew for each of them."""
    ids = list(prompt)
    s = decoder.shape
    for _ in range(count):
        layout = attention.lay_out(0, [len(ids)], s.heads, s.kv_heads, decoder.device, decoder.dtype)
        attend = attention.choose_attention(decoder.device)
        hidden = decoder(torch.tensor(ids), torch.arange(len(ids)), lambda i, q, k, v: attend(q, k, v, layout))  # noqa: B023
        ids.append(int(F.linear(hidden[-1], decoder.head).argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("thinking", [False, True])
def test_answers_are_asked_for_as_the_contract_says(
    tiny_folder: Path, tmp_path: Path, tuned: tuple[Decoder, Adapter], thinking: bool
) -> None:
    renderer = Renderer(with_template(tiny_folder, tmp_path, QWEN3))
    asking = TorchEngine(tuned[0], renderer, replace(contract((STOP, 0)), thinking=thinking))
    earlier = [Message("user", "问"), Message("assistant", "<think>\n想。\n</think>\n\n答。"), Message("user", "再问")]
    prompt = renderer.prompt([Message("system", asking.contract.system or ""), *earlier], thinking)
    assert renderer.plain(prompt).endswith("assistant\n" + ("" if thinking else "<think>\n\n</think>\n\n"))
    assert "想。" not in renderer.plain(prompt)
    wanted = renderer.decode([i for i in generated(tuned[0], [prompt], GREEDY, (STOP, 0))[0] if i not in (STOP, 0)])
    assert [text for _, text, _ in asking.answers([earlier], GREEDY)] == [wanted]
    assert [piece.text for piece in asking.stream(earlier, GREEDY) if isinstance(piece, Answer)] == [wanted]


def test_a_mark_that_the_prompt_opens_belongs_to_the_answer(
    tiny_folder: Path, tmp_path: Path, tuned: tuple[Decoder, Adapter]
) -> None:
    renderer = Renderer(with_template(tiny_folder, tmp_path, ALWAYS_THINKING))
    asking = TorchEngine(tuned[0], renderer, contract((STOP, 0)))
    *pieces, answer = asking.stream(ASKED, GREEDY)
    assert isinstance(answer, Answer)
    texts = [piece.text for piece in pieces if isinstance(piece, AnswerPiece)]
    assert texts[0] == "<think>\n"
    assert "".join(texts) == answer.text
    assert [text for _, text, _ in asking.answers([ASKED], GREEDY)] == [answer.text]


# The same tokens by every way


@pytest.mark.parametrize("prompt", PROMPTS, ids=len)
def test_the_cache_changes_nothing(decoder: Decoder, prompt: tuple[int, ...]) -> None:
    assert generated(decoder, [prompt], GREEDY) == [without_cache(decoder, prompt, 14)]


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama"])
def test_greedy_tokens_are_those_of_transformers(zoo: object, kind: str) -> None:
    assert callable(zoo)
    decoder, model = our_model(zoo(kind)), reference_model(zoo(kind))
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        settings = {"max_new_tokens": 14, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        whole = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
        assert generated(decoder, [prompt], GREEDY) == [whole[0, len(prompt) :].tolist()]


def test_the_answers_differ_by_prompt(decoder: Decoder) -> None:
    """Negative control: equal tokens above are no accident of a model that always says the same."""
    assert len({tuple(answer) for answer in generated(decoder, PROMPTS, GREEDY)}) == len(PROMPTS)


# Side by side


def test_greedy_answers_side_by_side_are_those_alone(decoder: Decoder) -> None:
    assert generated(decoder, PROMPTS, GREEDY) == [generated(decoder, [prompt], GREEDY)[0] for prompt in PROMPTS]


def test_drawn_answers_side_by_side_are_those_alone(decoder: Decoder) -> None:
    """Row r draws with the seed plus r."""
    alone = [
        generated(decoder, [prompt], DRAWN.model_copy(update={"seed": 5 + row}))[0]
        for row, prompt in enumerate(PROMPTS)
    ]
    assert generated(decoder, PROMPTS, DRAWN) == alone
    wrong = [generated(decoder, [prompt], DRAWN)[0] for prompt in PROMPTS]
    assert generated(decoder, PROMPTS, DRAWN) != wrong


@pytest.fixture
def filled_with_nan() -> Iterator[None]:
    """Memory that nobody has written holds NaN instead of whatever was there."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(2).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("filled_with_nan")
def test_unwritten_places_of_the_cache_are_never_seen(decoder: Decoder) -> None:
    assert generated(decoder, PROMPTS, GREEDY) == [without_cache(decoder, prompt, 14) for prompt in PROMPTS]


def test_an_answer_that_ends_leaves_the_others_alone(decoder: Decoder) -> None:
    full = generated(decoder, PROMPTS, GREEDY)
    stop = latest(full[1])
    expected = [answer[: answer.index(stop) + 1] if stop in answer else answer for answer in full]
    assert len({len(answer) for answer in expected}) > 1
    assert generated(decoder, PROMPTS, GREEDY, (stop,)) == expected


def test_answers_of_different_room_end_by_themselves(decoder: Decoder) -> None:
    """A prompt near the end of the context gets fewer tokens, its neighbour all."""
    long = [(i * 7) % 400 for i in range(decoder.shape.max_positions - 3)]
    short, cut = generated(decoder, [PROMPTS[0], long], GREEDY)
    assert (len(short), len(cut)) == (14, 3)
    assert short == without_cache(decoder, PROMPTS[0], 14)
    assert cut == without_cache(decoder, long, 3)


# Where an answer ends


def test_each_stop_token_ends_an_answer(decoder: Decoder) -> None:
    (full,) = generated(decoder, [PROMPTS[0]], GREEDY)
    late = latest(full)
    for stop_ids in ((late,), (late, 447), (447, late)):
        assert generated(decoder, [PROMPTS[0]], GREEDY, stop_ids) == [full[: full.index(late) + 1]]
    assert generated(decoder, [PROMPTS[0]], GREEDY, (late, full[0])) == [full[:1]]


@pytest.mark.parametrize("most", [1, 2, 9])
def test_no_answer_is_longer_than_asked_for(decoder: Decoder, most: int) -> None:
    sampling = GREEDY.model_copy(update={"max_new_tokens": most})
    assert [len(answer) for answer in generated(decoder, PROMPTS, sampling)] == [most] * len(PROMPTS)


def test_a_prompt_that_fills_the_context_is_refused(decoder: Decoder) -> None:
    prompt = [7] * decoder.shape.max_positions
    with pytest.raises(DataError) as caught:
        generated(decoder, [prompt], GREEDY)
    assert caught.value.text.zh == "对话有 1024 个 token，超过模型的上限 1024；请开始新的对话"
    assert caught.value.text.en == "the conversation has 1024 tokens and the model takes 1024; start a new one"
    assert len(generated(decoder, [prompt[1:]], GREEDY)[0]) == 1


# Chance


def test_a_seed_gives_the_same_answer_again(decoder: Decoder) -> None:
    first, again = (generated(decoder, PROMPTS, DRAWN) for _ in range(2))
    other = generated(decoder, PROMPTS, DRAWN.model_copy(update={"seed": 6}))
    assert first == again
    assert first != other


def test_without_a_seed_answers_vary(decoder: Decoder) -> None:
    free = DRAWN.model_copy(update={"seed": None})
    torch.manual_seed(0)
    first = generated(decoder, PROMPTS, free)
    torch.manual_seed(0)
    assert generated(decoder, PROMPTS, free) != first


def test_generating_leaves_the_global_generator_alone(decoder: Decoder) -> None:
    before = torch.random.get_rng_state()
    generated(decoder, PROMPTS, DRAWN)
    assert torch.equal(before, torch.random.get_rng_state())


# The engine: messages in, text out

ASKED = [Message("user", "请讲一个关于月亮的故事。")]


def answered(engine: TorchEngine, messages: Sequence[Message], sampling: Sampling) -> tuple[list[str], Answer]:
    *pieces, answer = engine.stream(messages, sampling)
    assert isinstance(answer, Answer)
    assert sum(isinstance(piece, AnswerPiece) for piece in pieces) == len(pieces)
    return [piece.text for piece in pieces if isinstance(piece, AnswerPiece)], answer


@pytest.mark.parametrize("seed", range(4))
def test_the_pieces_are_the_answer(engine: TorchEngine, seed: int) -> None:
    engine.contract = contract(stop_ids=NEVER)
    pieces, answer = answered(engine, ASKED, DRAWN.model_copy(update={"seed": seed, "max_new_tokens": 60}))
    assert "".join(pieces) == answer.text
    assert len(pieces) > 1
    assert answer.first_token_s > 0
    assert answer.tokens_per_s > 0


def test_the_contract_puts_its_system_prompt_in_front(engine: TorchEngine) -> None:
    given = [Message("system", engine.contract.system or ""), *ASKED]
    assert answered(engine, ASKED, GREEDY)[1].text == answered(engine, given, GREEDY)[1].text
    other = [Message("system", "Once upon a time"), *ASKED]
    assert answered(engine, other, GREEDY)[1].text != answered(engine, ASKED, GREEDY)[1].text


def test_an_answer_says_how_it_ended(engine: TorchEngine) -> None:
    prompt = engine.renderer.prompt([Message("system", engine.contract.system or ""), *ASKED])
    (full,) = generated(engine.decoder, [prompt], DRAWN)
    stop = latest(full)
    place = full.index(stop)
    engine.contract = contract(stop_ids=(447, stop))
    _, stopped = answered(engine, ASKED, DRAWN)
    assert (stopped.stop, stopped.tokens, stopped.text) == ("stop", place + 1, engine.renderer.decode(full[:place]))
    engine.contract = contract(stop_ids=(447,))
    _, cut = answered(engine, ASKED, DRAWN)
    assert (cut.stop, cut.tokens) == ("length", 14)
    assert cut.text == engine.renderer.decode(full)


def test_an_answer_of_nothing_but_its_end(engine: TorchEngine) -> None:
    prompt = engine.renderer.prompt([Message("system", engine.contract.system or ""), *ASKED])
    first = generated(engine.decoder, [prompt], GREEDY)[0][0]
    engine.contract = contract(stop_ids=(first,))
    pieces, answer = answered(engine, ASKED, GREEDY)
    assert (pieces, answer.text, answer.stop, answer.tokens, answer.tokens_per_s) == ([""], "", "stop", 1, 0.0)
    assert list(engine.answers([ASKED], GREEDY)) == [(0, "", "stop")]


def test_answers_together_are_those_of_the_stream(engine: TorchEngine) -> None:
    asked = [ASKED, [Message("user", "你好")], [*ASKED, Message("assistant", "好。"), Message("user", "moon?")]]
    prompts = [engine.renderer.prompt([Message("system", engine.contract.system or ""), *one]) for one in asked]
    full = generated(engine.decoder, prompts, DRAWN)
    engine.contract = contract(stop_ids=(latest(full[1]),))
    together = sorted(engine.answers(asked, DRAWN))
    assert [row for row, _, _ in together] == [0, 1, 2]
    assert together[1][2] == "stop"
    for row, text, stop in together:
        _, alone = answered(engine, asked[row], DRAWN.model_copy(update={"seed": 5 + row}))
        assert (text, stop) == (alone.text, alone.stop)


@pytest.fixture(params=["made", "tiny", "real"])
def any_renderer(request: pytest.FixtureRequest, tiny_folder: Path) -> Renderer:
    if request.param == "made":
        return Renderer(tiny_folder)
    return Renderer(tiny() if request.param == "tiny" else request.getfixturevalue("real_folder"))


def test_an_answer_is_one_text_by_every_way_wherever_it_is_cut(
    engine: TorchEngine, any_renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stream, answers side by side and the diary, for tokens of any kind, a stop now and then, and every limit."""
    engine = TorchEngine(engine.decoder, any_renderer, contract(stop_ids=any_renderer.stop_ids))
    draw = random.Random(3)
    size = len(any_renderer.vocabulary)
    halves = [id for id in (draw.randrange(size) for _ in range(4000)) if "\ufffd" in any_renderer.plain([id])]
    assert halves
    said = any_renderer.tokenizer.encode("从前，有只🦊。\n\n𪚥 The end.", add_special_tokens=False).ids

    def kind() -> list[int]:
        wild = [draw.choice(halves) if draw.random() < 0.5 else draw.randrange(size + 9) for _ in range(9)]
        stop = [any_renderer.stop_ids[0]] if draw.random() < 0.5 else []
        return [*said[: draw.randrange(len(said))], *wild[: draw.randrange(9)], *stop]

    for _ in range(40):
        rows = [kind() for _ in range(3)]

        def given(decoder: Decoder, prompts: Sequence[object], sampling: Sampling, *rest: object) -> Iterator[Any]:
            for place in range(sampling.max_new_tokens):
                yield from (Token(row, ids[place]) for row, ids in enumerate(rows[: len(prompts)]) if place < len(ids))  # noqa: B023

        monkeypatch.setattr(engine_room, "tokens", given)
        monkeypatch.setattr(diary_room, "tokens", given)
        for most in range(1, max(map(len, rows)) + 1):
            sampling = GREEDY.model_copy(update={"max_new_tokens": most})
            together = {row: (text, stop) for row, text, stop in engine.answers([ASKED] * 3, sampling)}
            prompts = [[Message("user", f"{row}")] for row in range(3)]
            diary = Diary(engine.decoder, any_renderer, None, sampling, prompts).entry(lambda: None)["answers"]
            assert [(one["text"], one["stop"]) for one in diary] == [together[row] for row in range(3)]
            alone_pieces, alone = answered(engine, ASKED, sampling)
            assert ("".join(alone_pieces), alone.stop) == (alone.text, alone.stop) == together[0]
            cut = rows[0][:most]
            whole = any_renderer.tokenizer.decode([id for id in cut if id not in any_renderer.stop_ids])
            assert whole.startswith(alone.text)
            assert set(whole[len(alone.text) :]) <= {"\ufffd"}, "only a character without its end is left out"


def test_the_adapter_can_be_turned_off(engine: TorchEngine, tuned: tuple[Decoder, Adapter], decoder: Decoder) -> None:
    adapter = tuned[1]
    on = generated(engine.decoder, PROMPTS, GREEDY)
    adapter.enable(False)
    off = generated(engine.decoder, PROMPTS, GREEDY)
    adapter.enable(True)
    assert off == generated(decoder, PROMPTS, GREEDY)
    assert on != off
    assert generated(engine.decoder, PROMPTS, GREEDY) == on


def test_control_tokens_never_reach_the_reader(engine: TorchEngine) -> None:
    """<|im_start|> in the middle of an answer, which is no stop token, is not shown."""
    start = 1
    text = engine.renderer.text_stream()
    ids = engine.renderer.tokenizer.encode("你好", add_special_tokens=False).ids
    assert "".join(text.push(id) for id in [*ids, start, *ids]) == "你好你好"


def test_an_answer_can_be_compared(engine: TorchEngine) -> None:
    """Times aside, two answers of one seed are equal."""
    one, two = (answered(engine, ASKED, DRAWN)[1] for _ in range(2))
    assert replace(one, first_token_s=0, tokens_per_s=0) == replace(two, first_token_s=0, tokens_per_s=0)


# What was said before


def test_parts_of_text_are_one_text() -> None:
    parts = [{"type": "text", "text": "月亮"}, {"text": "呢？"}]
    assert _message({"role": "user", "content": parts}) == Message("user", "月亮呢？")


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "image_url", "image_url": {"url": "file:///月亮.png"}}, "image_url"),
        ({"type": "image", "text": "月亮"}, "image"),
        ({"type": "text"}, "text"),
        ({"type": "text", "text": None}, "text"),
        ({"type": "tool_use\x1b[2J", "input": {}}, "tool_use\\x1b[2J"),
        ({}, "?"),
    ],
)
def test_a_part_that_is_no_text_is_refused_by_name(part: dict[str, Any], kind: str) -> None:
    with pytest.raises(UsageError) as told:
        _message({"role": "user", "content": [{"type": "text", "text": "看这张图："}, part]})
    assert told.value.text.zh == f"history 里有一段不是文字（{kind}），模型看不到它；请去掉它，或写成文字"
    assert f"({kind})" in told.value.text.en
