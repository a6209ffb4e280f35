"""Long rows in pieces: every answer learned exactly once and to its end, cut where a reader would pause."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from chat_templates import CHATML, THINKING, with_template
from hypothesis import given, settings
from hypothesis import strategies as st

from tonghua.data.samples.endings import GO_ON, split_conversation
from tonghua.data.sentences import without_space
from tonghua.prompt.conversation import Conversation, Message, Role
from tonghua.prompt.renderer import Renderer

MESSAGE = 5
"""What each message costs in `count` besides its characters."""


def count(messages: Sequence[Message]) -> int:
    return sum(len(message.content) + MESSAGE for message in messages)


def talk(*contents: str, system: str | None = None, context: Sequence[int] = (), line: int = 7) -> Conversation:
    """A conversation from what is said in turn; `context` counts the answers, from 0, that are not learned."""
    roles: tuple[Role, Role] = ("user", "assistant")
    said = [Message(roles[i % 2], text, i // 2 not in context or i % 2 == 0) for i, text in enumerate(contents)]
    return Conversation(tuple(said if system is None else [Message("system", system), *said]), line)


def drawn(rows: Sequence[Conversation]) -> list[list[str]]:
    """What is said in each row; a star marks an answer that is learned."""
    return [[m.content + "*" * (m.role == "assistant" and m.learn) for m in row.messages] for row in rows]


def cut(answer: str, room: int, question: str = "问") -> list[str]:
    """The parts of an answer where two of them may have so many characters together."""
    go_on = max(len(GO_ON.zh), len(GO_ON.en))
    rows = split_conversation(talk(question, answer), count, 4 * MESSAGE + len(question) + go_on + room)
    assert rows is not None
    return [m.content for row in rows for m in row.messages if m.role == "assistant" and m.learn]


# Exact rows

STORY = (
    "从前有一只小狐狸。它住在山里。\n\n"
    "一天，它遇见了一只兔子。兔子说：“我们去看海吧。海很大。”\n\n"
    "它们走了很久。天黑了，星星亮了。\n\n"
    "最后，它们看见了海。（完）\n"
)
P1 = "从前有一只小狐狸。它住在山里。"
P2 = "一天，它遇见了一只兔子。兔子说：“我们去看海吧。海很大。”"
P3 = "它们走了很久。天黑了，星星亮了。"
P4 = "最后，它们看见了海。（完）\n"


def test_a_story_is_cut_at_its_paragraphs() -> None:
    rows = split_conversation(talk("讲个故事", STORY, system="你是作家。"), count, 84)
    assert rows is not None
    assert drawn(rows) == [
        ["你是作家。", "讲个故事", P1 + "*"],
        ["你是作家。", "讲个故事", P1, "请接着讲。", P2 + "*"],
        ["你是作家。", "讲个故事", P2, "请接着讲。", P3 + "*"],
        ["你是作家。", "讲个故事", P3, "请接着讲。", P4 + "*"],
    ]
    assert [row.line for row in rows] == [7, 7, 7, 7]
    assert all(m.learn for row in rows for m in row.messages if m.role != "assistant")


def test_an_english_story_goes_on_in_english() -> None:
    story = 'Mr. Fox lived alone. He paid 3.50 a week.\n\n"Go away!" he said. The hen stayed. They became friends.'
    rows = split_conversation(talk("Tell me a story.", story), count, 120)
    assert rows is not None
    assert drawn(rows) == [
        ["Tell me a story.", "Mr. Fox lived alone. He paid 3.50 a week.*"],
        ["Tell me a story.", "Mr. Fox lived alone. He paid 3.50 a week.", "Please go on.", '"Go away!" he said.*'],
        ["Tell me a story.", '"Go away!" he said.', "Please go on.", "The hen stayed. They became friends.*"],
    ]


def test_turns_stay_whole_and_follow_the_one_before() -> None:
    row = talk("一问", "一答", "二问", "二答", "三问", "三答", "四问", "四答", system="甲")
    rows = split_conversation(row, count, 6 + 3 * 14)
    assert rows is not None
    assert drawn(rows) == [
        ["甲", "一问", "一答*", "二问", "二答*", "三问", "三答*"],
        ["甲", "三问", "三答", "四问", "四答*"],
    ]


def test_a_long_turn_among_short_ones_is_cut_behind_its_own_question() -> None:
    row = talk(
        "一问",
        "一答。",
        "二问",
        "二答很长。说了很多。还没说完。说到天黑。又到天亮。他还在说。她睡着了。终于完了。",
        "三问",
        "三答。",
    )
    rows = split_conversation(row, count, 48)
    assert rows is not None
    assert drawn(rows) == [
        ["一问", "一答。*"],
        ["二问", "二答很长。说了很多。*"],
        ["二问", "二答很长。说了很多。", "请接着讲。", "还没说完。说到天黑。*"],
        ["二问", "还没说完。说到天黑。", "请接着讲。", "又到天亮。他还在说。*"],
        ["二问", "又到天亮。他还在说。", "请接着讲。", "她睡着了。终于完了。*"],
        ["三问", "三答。*"],
    ]


def test_context_stays_context() -> None:
    row = talk("一问", "一答", "二问", "二答", "三问", "三答", "四问", "四答", context=[0, 2])
    rows = split_conversation(row, count, 3 * 14)
    assert rows is not None
    assert drawn(rows) == [["一问", "一答", "二问", "二答*"], ["三问", "三答", "四问", "四答*"]]


def test_a_long_answer_that_is_context_is_left_out() -> None:
    row = talk("一问", "一答" * 30, "二问", "二答", context=[0])
    rows = split_conversation(row, count, 30)
    assert rows is not None
    assert drawn(rows) == [["二问", "二答*"]]
    assert split_conversation(talk("一问", "一答" * 30, context=[0]), count, 30) == []


def test_a_greeting_stays_before_the_first_question_and_is_never_learned() -> None:
    greeting = Message("assistant", "客官好。", learn=False)
    (system, *talked) = talk("一问", "一答", "二问", "二答", system="设").messages
    rows = split_conversation(Conversation((system, greeting, *talked)), count, 34)
    assert rows is not None
    assert drawn(rows) == [["设", "客官好。", "一问", "一答*"], ["设", "一问", "一答", "二问", "二答*"]]
    whole = split_conversation(Conversation((system, replace(greeting, content=STORY), *talked)), count, 34)
    assert whole is not None and drawn(whole) == [["设", "一问", "一答*", "二问", "二答*"]]


def test_reasoning_stays_with_the_beginning_of_its_answer() -> None:
    question, answer = talk("问", STORY).messages
    rows = split_conversation(Conversation((question, replace(answer, reasoning="想"))), count, 60)
    assert rows is not None and len(rows) > 2
    assert [[m.reasoning for m in row.messages if m.role == "assistant"] for row in rows] == [
        ["想"],
        *[["", ""]] * (len(rows) - 1),
    ]


def test_what_fits_comes_back_as_it_is() -> None:
    row = talk("讲个故事", STORY)
    assert split_conversation(row, count, count(row.messages)) == [row]
    shorter = split_conversation(row, count, count(row.messages) - 1)
    assert shorter is not None
    assert len(shorter) > 1


@pytest.mark.parametrize(
    ("contents", "limit"),
    [
        (["问" * 40, "一句。两句。三句。"], 40),
        (["问", "没有标点的一句话" * 9], 60),
        (["问", "短句。" + "没有标点的一句话" * 6 + "。短句。"], 60),
        (["一问", "一答。", "二问" * 30, "二答。"], 60),
        (["问", " \n" * 60], 60),
    ],
    ids=["question", "no place", "one long sentence", "second question", "nothing but space"],
)
def test_what_cannot_be_done_is_none(contents: list[str], limit: int) -> None:
    assert split_conversation(talk(*contents), count, limit) is None


def test_the_same_with_commas_can_be_done() -> None:
    """Negative control of the long sentence above."""
    assert split_conversation(talk("问", "短句。" + "没有标点的一句话，" * 6 + "。短句。"), count, 60) is not None


@pytest.mark.parametrize(("lengths", "room"), [([20, 12, 6, 15], 33), ([20, 12, 20], 34)])
def test_where_two_parts_do_not_fit_either_of_them_may_be_cut(lengths: list[int], room: int) -> None:
    """Of two parts that are too long together, one is a sentence already: the other can be cut."""
    parts = ["一二三四五六七八九十甲乙丙丁戊己庚辛壬"[: length - 1] + "。" for length in lengths]
    rows = split_conversation(talk("问", "".join(parts)), count, 4 * MESSAGE + len("问" + GO_ON.zh) + room)
    assert rows is not None
    assert drawn(rows) == [
        ["问", parts[0] + "*"],
        *(["问", before, GO_ON.zh, part + "*"] for before, part in pairwise(parts)),
    ]


# Where it is cut


def test_parts_are_about_as_long_as_one_another() -> None:
    answer = "".join(f"这是第{i:03}句话。" for i in range(100))
    sizes = [len(part) for part in cut(answer, 200)]
    assert sum(sizes) == 900
    assert max(sizes) - min(sizes) <= 9
    assert len(sizes) <= 11


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        # A paragraph before a sentence, a sentence before a comma, even if that is nearer to the middle.
        ("一二三四五六。七八。\n九十一二三四。五六七。", ["一二三四五六。七八。", "九十一二三四。五六七。"]),
        ("一二三四五六七八。九，十一二三四五六七八。", ["一二三四五六七八。", "九，十一二三四五六七八。"]),
        # The quotation is kept whole, with its marks.
        ("他说：“一二三。四五。”六七八九十一二三四。", ["他说：“一二三。四五。”", "六七八九十一二三四。"]),
        ("一二三。他道：「六。七八。」九十一二三四五。", ["一二三。他道：「六。七八。」", "九十一二三四五。"]),
        ("He left. I said, “Go! Go!” The hen was happy.", ["He left. I said, “Go! Go!”", "The hen was happy."]),
        ('一二三四五。"六。七八。"\n九十一二三四五。', ['一二三四五。"六。七八。"', "九十一二三四五。"]),
        # Who said it belongs to what was said.
        ("一二三四五六七。“八九！”他说。十一二三四五。", ["一二三四五六七。", "“八九！”他说。十一二三四五。"]),
        ("一二三四。我……我不去六七。八九十一二三。", ["一二三四。我……我不去六七。", "八九十一二三。"]),
        # Code is kept whole.
        (
            "一二三。\n```\na = 1\n\nb = 2\n```\n四五六七八九。",
            ["一二三。\n```\na = 1\n\nb = 2\n```", "四五六七八九。"],
        ),
        # The indent of a line is kept.
        (
            "　　一二三四五六七八九。\n　　十一二三四五六七八。",
            ["　　一二三四五六七八九。", "　　十一二三四五六七八。"],
        ),
        ("def f(x):\n    y = x\n    return y", ["def f(x):\n    y = x", "    return y"]),
        # A heading goes with what it heads, a list with what announces it, and each number with its item.
        ("一二三四五六七八。\n\n# 九\n\n十一二三四五。", ["一二三四五六七八。", "# 九\n\n十一二三四五。"]),
        ("一二三四五六七。\n八九十：\n\n- 一二三四五。", ["一二三四五六七。", "八九十：\n\n- 一二三四五。"]),
        ("1. 一二三四五六七八\n2. 九十一二三四五", ["1. 一二三四五六七八", "2. 九十一二三四五"]),
        # No mark ends a sentence within a number, a name or a word.
        ("Pi is 3.14 or so. I asked Mr. A. Lee of it", ["Pi is 3.14 or so.", "I asked Mr. A. Lee of it"]),
        ("It goes on, e.g. so. But it ends too, you see", ["It goes on, e.g. so.", "But it ends too, you see"]),
        # Markup closes a sentence, and an action opens one.
        ("**一二三四五六七八。** 九十一二三四五六七。", ["**一二三四五六七八。**", "九十一二三四五六七。"]),
        ("一二三四五六七八九。*十一二三*四五六七八。", ["一二三四五六七八九。", "*十一二三*四五六七八。"]),
        # Last of all a space.
        ("one two three four five six", ["one two three", "four five six"]),
    ],
)
def test_where_an_answer_is_cut_in_two(answer: str, parts: list[str]) -> None:
    assert in_two(answer) == parts


def in_two(answer: str) -> list[str]:
    """The parts of an answer, counted in bytes, where one row of two turns may hold it and none of one turn may."""

    def one_turn_is_dear(messages: Sequence[Message]) -> int:
        return sum(len(message.content.encode()) for message in messages) + 1000 * (len(messages) == 2)

    limit = len(answer.encode()) + len(("问" + GO_ON.zh).encode())
    rows = split_conversation(talk("问", answer), one_turn_is_dear, limit)
    assert rows is not None
    return [m.content for row in rows for m in row.messages if m.role == "assistant" and m.learn]


@pytest.mark.parametrize("after", ["\u0301", "\ufe0f", "\u200d👧", "🏽", "\u20e3"], ids=ascii)
def test_what_belongs_to_the_character_before_stays_with_it(after: str) -> None:
    assert in_two(f"一二三四，五六七！{after}八九，十一二。") == ["一二三四，", f"五六七！{after}八九，十一二。"]


def test_without_it_the_cut_is_there() -> None:
    """Negative control of the above."""
    assert in_two("一二三四，五六七！八九，十一二。") == ["一二三四，五六七！", "八九，十一二。"]


def test_a_long_answer_is_counted_a_few_times_for_each_part() -> None:
    calls = 0

    def counted(messages: Sequence[Message]) -> int:
        nonlocal calls
        calls += 1
        return count(messages)

    answer = "".join(f"这是第{i}句话，{'很' * (i % 17)}长。" for i in range(2000))
    rows = split_conversation(talk("问", answer), counted, 500)
    assert rows is not None
    assert len(rows) > 100
    assert calls < 4 * len(rows)


# Any conversation


def fault(original: Conversation, rows: Sequence[Conversation], limit: int) -> str:
    """What is wrong with these rows as pieces of the original, "" for nothing."""
    system = [m for m in original.messages if m.role == "system"]
    users = {m.content for m in original.messages if m.role == "user"} | {*GO_ON}
    given = [m for m in original.messages if m.role == "assistant"]
    learned: list[str] = []
    for row in rows:
        turns = list(row.messages[len(system) :])
        if count(row.messages) > limit:
            return "too long"
        if row.line != original.line or list(row.messages[: len(system)]) != system:
            return "another line or system message"
        if [m.role for m in turns] != ["user", "assistant"] * (len(turns) // 2) or not turns[-1].learn:
            return "not question and answer by turns up to a learned answer"
        if not {m.content for m in turns[::2]} <= users:
            return "a question that nobody asked"
        for message in turns[1::2]:
            if message.learn and message is not turns[-1] and message.content not in {m.content for m in given}:
                return "a part that is learned before the last"
            known = any(message.content == m.content and not m.learn for m in given)
            if not message.learn and not known and message.content not in learned[-1:]:
                return "context that does not come right before"
            learned += [message.content] * message.learn
    return _covered([m.content for m in given if m.learn], learned)


def _covered(answers: Sequence[str], parts: Sequence[str]) -> str:
    """Whether the parts are these answers, each once, in order, and whole but for white space at the cuts."""
    left = list(parts)
    for answer in answers:
        taken: list[str] = []
        while left and len(without_space("".join(taken))) < len(without_space(answer)):
            taken.append(left.pop(0))
        if without_space("".join(taken)) != without_space(answer):
            return "words that are not those of the answer"
        if not answer.startswith(taken[0]) or not answer.endswith(taken[-1]) or any(t not in answer for t in taken):
            return "white space that was not at a cut"
        if any(unicodedata.category(part[0]) in ("Mn", "Me", "Cf") or part[0] == "🏽" for part in taken[1:]):
            return "a character cut in two"
    return "words that are taught twice" if left else ""


SENTENCES = st.tuples(
    st.text(st.sampled_from("天地玄黄宇宙洪荒ab🦊é "), min_size=1, max_size=9).map(lambda words: "字" + words),
    st.sampled_from(
        ["。", "！”", "？", "……", "，", ". ", ".\n", "。\n\n", "：“", "\n　　", " ", "\n```\n", "3.14", "*"]
    ),
    st.sampled_from(["", "", "", "\u0301", "\u200d👧", "🏽", "”", "\r\n"]),
).map("".join)
TEXTS = st.lists(SENTENCES, min_size=1, max_size=25).map("".join)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """System message or none, one to five turns, some of them context; answers within one row are distinct."""
    turns = draw(st.integers(1, 5))
    contents = [text for i in range(turns) for text in (f"{i}问", f"{i}" + draw(TEXTS))]
    context = draw(st.sets(st.integers(0, turns - 1), max_size=2))
    return talk(*contents, system=draw(st.sampled_from([None, "你是作家。"])), context=sorted(context))


@settings(max_examples=300, deadline=None)
@given(conversations(), st.integers(30, 300))
def test_any_conversation_is_taught_whole_and_once(original: Conversation, limit: int) -> None:
    rows = split_conversation(original, count, limit)
    if count(original.messages) <= limit:
        assert rows == [original]
    elif rows is not None:
        assert fault(original, rows, limit) == ""
        assert all(split_conversation(row, count, limit) == [row] for row in rows)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(20, 60))
def test_what_can_be_done_is_done(lengths: list[int], room: int) -> None:
    """Two sentences of ten characters always fit, so there is a way."""
    assert cut("".join("一二三四五六七八九"[:length] + "。" for length in lengths), room)


def long_row() -> tuple[Conversation, list[Conversation], int]:
    row = talk("讲个故事", STORY, "再讲一个", "没有了。", system="你是作家。")
    rows = split_conversation(row, count, 84)
    assert rows is not None
    assert drawn(rows)[3:] == [
        ["你是作家。", "讲个故事", P3, "请接着讲。", P4 + "*"],
        ["你是作家。", "再讲一个", "没有了。*"],
    ]
    return row, rows, 84


def with_message(row: Conversation, at: int, **changes: object) -> Conversation:
    messages = list(row.messages)
    messages[at] = replace(messages[at], **changes)  # type: ignore[arg-type]
    return Conversation(tuple(messages), row.line)


Break = Callable[[list[Conversation]], list[Conversation]]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda rows: rows, ""),
        (lambda rows: rows[:-1], "words that are not those of the answer"),
        (lambda rows: [*rows[:3], rows[4]], "words that are not those of the answer"),
        (lambda rows: [*rows, rows[-1]], "words that are taught twice"),
        (lambda rows: [with_message(rows[1], 2, learn=True), *rows[2:]], "a part that is learned before the last"),
        (lambda rows: [rows[0], rows[2], rows[1], *rows[3:]], "context that does not come right before"),
        (
            lambda rows: [*rows[:3], with_message(rows[3], 4, content=P4[1:]), rows[4]],
            "words that are not those of the answer",
        ),
        (
            lambda rows: [*rows[:3], with_message(rows[3], 4, content=P4.rstrip()), rows[4]],
            "white space that was not at a cut",
        ),
        (lambda rows: [with_message(rows[0], 1, content="讲"), *rows[1:]], "a question that nobody asked"),
        (lambda rows: [with_message(rows[0], 0, content=""), *rows[1:]], "another line or system message"),
        (lambda rows: [replace(rows[0], line=8), *rows[1:]], "another line or system message"),
        (lambda rows: [with_message(rows[0], 1, content="讲" * 80), *rows[1:]], "too long"),
        (
            lambda rows: [*rows[:4], with_message(rows[4], -1, learn=False)],
            "not question and answer by turns up to a learned answer",
        ),
    ],
    ids=range(13),
)
def test_a_splitter_that_errs_would_be_seen(damage: Break, found: str) -> None:
    """Negative controls of the check above; the first is its positive one."""
    original, rows, limit = long_row()
    assert fault(original, damage(rows), limit) == found


# With a model's own template and tokenizer


@pytest.mark.parametrize("template", [CHATML, THINKING], ids=["every answer", "the last answer alone"])
def test_each_piece_trains_its_part_to_the_end_of_turn(tiny_folder: Path, tmp_path: Path, template: str) -> None:
    """Whether the template teaches every answer of a conversation or only the last."""
    renderer = Renderer(with_template(tiny_folder, tmp_path, template))
    row = talk("讲个故事", STORY * 12)

    def tokens(messages: Sequence[Message]) -> int:
        return len(renderer.examples([Conversation(tuple(messages))], "你是作家。")[0].ids)

    limit = tokens(row.messages) // 4
    rows = split_conversation(row, tokens, limit)
    assert rows is not None
    examples = renderer.examples(rows, "你是作家。")
    assert all(len(example.ids) <= limit for example in examples)
    learned = [
        [id for id, wanted in zip(example.ids, example.is_target, strict=True) if wanted] for example in examples
    ]
    assert all(ids[-1] == renderer.stop_ids[0] for ids in learned)
    assert [ids.count(renderer.stop_ids[0]) for ids in learned] == [1] * len(rows)
    assert [renderer.decode(ids) for ids in learned] == [row.messages[-1].content for row in rows]
    assert without_space("".join(map(renderer.decode, learned))) == without_space(STORY * 12)
    assert renderer.decode(learned[-1]).endswith("（完）\n")


def test_a_part_before_the_last_would_not_be_learned(tiny_folder: Path, tmp_path: Path) -> None:
    """Negative control of the above: a template may teach nothing but the end of a conversation."""
    both = Conversation(
        (Message("user", "讲个故事"), Message("assistant", P1), Message("user", GO_ON.zh), Message("assistant", P2))
    )
    taught = {}
    for name, template in {"every": CHATML, "last": THINKING}.items():
        (tmp_path / name).mkdir()
        renderer = Renderer(with_template(tiny_folder, tmp_path / name, template))
        (example,) = renderer.examples([both], None)
        ids = [id for id, wanted in zip(example.ids, example.is_target, strict=True) if wanted]
        taught[name] = renderer.decode(ids)
    assert taught == {"every": P1 + P2, "last": P2}


@pytest.mark.parametrize(
    "answer",
    ["b" + " " * 40_000 + "a", "a。" * 2_000 + "b" * 3_000 + "。" + "c。" * 2_000, "x " * 300 + "。".join("字" * 50)],
    ids=["one place", "one long word", "dense at the end"],
)
def test_each_text_is_counted_a_few_times_at_most(answer: str) -> None:
    """However many parts are tried, the whole is not counted anew at each try."""
    counted = 0

    def count(messages: Sequence[Message]) -> int:
        nonlocal counted
        size = sum(len(message.content) for message in messages)
        counted += size
        return size

    talk = Conversation((Message("user", "q"), Message("assistant", answer)), 1)
    split_conversation(talk, count, 100)
    assert counted < 25 * len(answer)
