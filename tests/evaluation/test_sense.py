"""A reader's surprise is that of the plain model, of what a text says for the first time, whoever reads with it."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from reference import CPU, reference_model

from tonghua.errors import DataError
from tonghua.evaluation.reader import Reader, Surprise, open_reader, sentences
from tonghua.evaluation.sense import compare_sense
from tonghua.models.shipped import tiny
from tonghua.prompt.conversation import Message
from tonghua.system.device import DevicePlace

WISH = "请讲一个关于月亮的故事。"
TEXT = "小兔子说：“你好，月亮！”\n\n月亮说：你好。天黑了，小熊回家了。从前有一只兔子！The moon rose."
PLACE = DevicePlace(CPU, torch.float32)


@pytest.fixture(scope="module", params=["another tokenizer", "tiny"])
def reader(request: pytest.FixtureRequest, tiny_folder: Path) -> Reader:
    return open_reader(tiny() if request.param == "tiny" else tiny_folder, PLACE)


def plainly(reader: Reader, wish: str, parts: Sequence[str], counted: Sequence[bool]) -> Surprise:
    """What transformers finds: one text alone, unpacked, its surprise summed token by token."""
    model = reference_model(reader.renderer.folder)
    ids = reader.renderer.prompt([Message("user", wish)])
    wanted: list[int] = []
    for part, counts in zip(parts, counted, strict=True):
        own = reader.renderer.tokenizer.encode(part, add_special_tokens=False).ids
        wanted += range(len(ids), len(ids) + len(own)) if counts else []
        ids += own
    with torch.no_grad():
        log_p = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return Surprise(-sum(float(log_p[at - 1, ids[at]]) for at in wanted), len(wanted))


def test_a_reading_is_that_of_the_plain_model(reader: Reader) -> None:
    (found,) = reader.read([(WISH, TEXT)])
    parts = list(sentences(TEXT))
    expected = plainly(reader, WISH, parts, [True] * len(parts))
    assert (found.tokens, found.unread) == (expected.tokens, 0)
    assert found.per_token == pytest.approx(expected.per_token, abs=1e-4)
    # Another wish, and another order, are other readings.
    others = reader.read([("hello", TEXT), (WISH, "".join(reversed(parts)))])
    assert all(abs(other.nats - found.nats) > 0.01 for other in others)


def test_what_was_said_before_is_read_but_not_counted(reader: Reader) -> None:
    parts = ["天黑了。", "小熊回家了。\n", "天黑了。\n", "月亮说你好。"]
    (found,) = reader.read([(WISH, "".join(parts))])
    expected = plainly(reader, WISH, parts, [True, True, False, True])
    assert found.tokens == expected.tokens
    assert found.per_token == pytest.approx(expected.per_token, abs=1e-4)
    once, looped = reader.read([(WISH, TEXT), (WISH, TEXT + "".join(list(sentences(TEXT))[-3:-1]) * 9)])
    assert (looped.tokens, looped.nats) == (once.tokens, pytest.approx(once.nats, rel=1e-4))


def test_texts_beside_it_change_no_reading(reader: Reader) -> None:
    parts = list(sentences(TEXT))
    texts = [(f"请讲第{i}个故事。", "".join(random.Random(i).choices(parts, k=i + 1))) for i in range(9)]
    together = reader.read([*texts, ("一个", ""), *texts])
    for alone, text in zip(together, texts, strict=False):
        (found,) = reader.read([text])
        assert found.tokens == alone.tokens
        assert found.nats == pytest.approx(alone.nats, rel=1e-4)
    assert [r.tokens for r in together[:9]] == [r.tokens for r in together[10:]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n ", []),
        ("没有句号", ["没有句号"]),
        ("“走吧！”他说。\n\n好……嗯？", ["“走吧！”", "他说。\n\n", "好……", "嗯？"]),
        ("One. Two!\nThree", ["One. ", "Two!\n", "Three"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert list(sentences(text)) == expected


def test_every_text_is_the_sum_of_its_sentences() -> None:
    draw = random.Random(3)
    for _ in range(300):
        text = "".join(draw.choices("天黑了a。！”\n  .…“", k=draw.randrange(40)))
        assert "".join(sentences(text)) == text.lstrip()


def test_a_text_without_a_word_has_no_tokens(reader: Reader) -> None:
    empty = Surprise(0.0, 0)
    one = reader.read([(WISH, ""), (WISH, "天黑了"), (WISH, "\n"), (WISH, "<think>嗯")])
    assert [one[0], one[2], one[3]] == [empty, empty, empty] and one[1].tokens > 0
    assert reader.read([(WISH, "")]) == [empty]
    assert reader.read([]) == []


def test_the_reasoning_is_not_read(reader: Reader) -> None:
    bare, thought = reader.read([(WISH, TEXT), (WISH, f"<think>\n嗯嗯嗯\n</think>\n\n{TEXT}")])
    assert thought.tokens == bare.tokens and thought.nats == pytest.approx(bare.nats, rel=1e-5)


def test_what_is_longer_than_the_context_is_read_as_far_as_it_fits(tiny_folder: Path) -> None:
    reader = open_reader(tiny_folder, PLACE)
    (whole,) = reader.read([(WISH, TEXT)])
    prompt = len(reader.renderer.prompt([Message("user", WISH)]))
    reader.decoder.shape = replace(reader.decoder.shape, max_positions=prompt + 10)
    cut, nothing = reader.read([(WISH, TEXT), (WISH * 9, TEXT)])
    assert (cut.tokens, cut.unread) == (10, whole.tokens - 10) and 0 < cut.nats < whole.nats
    assert (nothing.tokens, nothing.unread) == (0, whole.tokens)
    found = compare_sense(reader, [{"prompt": w, "base": TEXT, "tuned": "天"} for w in (WISH, "讲一个小熊的故事。")])
    assert found["unread"]["base"] > whole.tokens and found["unread"]["tuned"] == 0


def told(base: str, tuned: str) -> list[dict[str, str]]:
    return [{"prompt": f"请讲第{i}个故事。", "base": base, "tuned": tuned} for i in range(4)]


def test_a_comparison_is_the_mean_of_its_answers(reader: Reader) -> None:
    answers = [
        {"prompt": f"请讲第{i}个故事。", "base": "天黑了。" + "小熊回家了。" * (i > 1), "tuned": TEXT[: 9 * i + 3]}
        for i in range(5)
    ]
    done: list[int] = []
    found = compare_sense(reader, answers, done.append)
    for model in ("base", "tuned"):
        read = [reader.read([(each["prompt"], each[model])])[0] for each in answers]
        assert found[model] == pytest.approx(sum(r.per_token for r in read) / 5, rel=1e-4)
    low, high = found["interval"]
    assert found["delta"] == pytest.approx(found["tuned"] - found["base"]) and low < found["delta"] < high
    assert (found["reader"], found["better"], found["answers"]) == (reader.renderer.folder.name, "lower", 5)
    assert sum(done) == 10
    turned = compare_sense(reader, [{**a, "base": a["tuned"], "tuned": a["base"]} for a in answers])
    assert turned["delta"] == pytest.approx(-found["delta"], rel=1e-4)


def test_no_sense_is_worse_unless_the_rows_have_as_little() -> None:
    reader = open_reader(tiny(), PLACE)
    sense = "小兔子在森林里走着，遇见了一只小熊。小熊说：“你好，我们一起玩吧。”"
    letters = list(sense)
    random.Random(0).shuffle(letters)
    nonsense = "".join(letters)
    found = compare_sense(reader, told(sense, nonsense))
    assert found["delta"] > 1 and found["worse"] is True and found["rows"] is None
    assert compare_sense(reader, told(nonsense, sense))["worse"] is False
    assert compare_sense(reader, told(sense, sense))["worse"] is False
    # People who write just as surprisingly show that it is their manner and no loss.
    strange = "".join(map(chr, random.Random(2).choices(range(0x5000, 0x9000), k=40)))
    rows = [("请讲一个故事。", strange), ("请讲一个故事。", "")]
    as_people = compare_sense(reader, told(sense, nonsense), rows=rows)
    assert as_people["rows"] > as_people["tuned"] and as_people["worse"] is False
    assert compare_sense(reader, told(sense, nonsense), rows=[("请讲一个故事。", sense)])["worse"] is True


def test_empty_answers_are_counted_and_left_out(reader: Reader) -> None:
    answers = [*told(TEXT, "天黑了。"), {"prompt": "一", "base": TEXT, "tuned": " "}, *told("", "")[:1]]
    found = compare_sense(reader, answers)
    assert (found["answers"], found["empty"]) == (4, {"base": 1, "tuned": 2})
    assert found["base"] == pytest.approx(compare_sense(reader, told(TEXT, "天黑了。"))["base"], rel=1e-4)


@pytest.mark.parametrize("answers", [[], told(TEXT, TEXT)[:1], [*told(TEXT, TEXT)[:1] * 3], told(TEXT, "")])
def test_one_wish_is_too_few(answers: list[dict[str, str]], reader: Reader) -> None:
    with pytest.raises(DataError):
        compare_sense(reader, answers)


def test_a_real_reader_puts_texts_in_order(real_folder: Path) -> None:
    reader = open_reader(real_folder, PLACE)
    sense = (
        "小刺猬捡到一个红苹果，想带回家给奶奶。半路上他遇见了饿肚子的小松鼠。"
        "小刺猬想了想，把苹果切成了三块，一块给小松鼠，一块留给奶奶，一块自己吃。"
        "奶奶知道以后，摸着他的头笑了。"
    )
    parts = list(sentences(sense))
    other_order = "".join(parts[i] for i in (3, 1, 0, 2))
    no_order = sense[:40] + "".join(random.Random(1).sample(sense[40:], len(sense) - 40))
    read = reader.read([("请讲一个刺猬的故事。", text) for text in (sense, other_order, no_order)])
    surprises = [each.per_token for each in read]
    assert surprises == sorted(surprises) and surprises[2] > surprises[0] + 1
