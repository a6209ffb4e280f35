"""A conversation: what each speaker is prompted with; what becomes of it when it is taken back, broken off, kept."""

import json
from itertools import islice
from pathlib import Path

import pytest
from told import Scripted, dialogue

from tonghua.config.schema import Sampling
from tonghua.data.read.dataset import read_rows
from tonghua.errors import DataError, UsageError
from tonghua.inference.dialogue import Dialogue, Spoken


def said(one: Dialogue) -> list[tuple[int | None, str]]:
    return [(each.by, each.text) for each in one.said]


def test_an_answer_comes_piece_by_piece_and_is_heard_with_the_next_message() -> None:
    teller = Scripted([["还", "下着呢。"], ["好。"]])
    talk = dialogue(teller)
    *pieces, answer = talk.ask("雪停了没有？")
    assert pieces == ["还", "下着呢。"]
    assert not isinstance(answer, str) and answer.text == "还下着呢。"
    [*talk.ask("煮茶？")]
    assert teller.heard == [("user", "雪停了没有？"), ("assistant", "还下着呢。"), ("user", "煮茶？")]
    talk.new()
    teller.script.append(["谁？"])
    [*talk.ask("你好")]
    assert teller.heard == [("user", "你好")]


def test_what_was_said_before_a_break_is_kept_and_marked() -> None:
    teller = Scripted([["还", "下着", "呢。"], ["好。"]])
    talk = dialogue(teller)
    stream = talk.ask("雪停了没有？")
    assert [*islice(stream, 2)] == ["还", "下着"]
    stream.close()
    assert teller.closed == 1, "the run stops too"
    assert talk.said[-1] == Spoken("还下着", 0, False, Sampling())
    [*talk.ask("接着说")]
    assert teller.heard[1] == ("assistant", "还下着")
    assert talk.said[-1].whole, "negative control: an answer that the model ended"


@pytest.mark.parametrize("trouble", [KeyboardInterrupt(), DataError("太长", "too long")], ids=["ctrl-c", "too long"])
def test_a_break_before_the_first_piece_keeps_nothing(trouble: BaseException) -> None:
    talk = dialogue(Scripted([["好。"], [trouble], ["半", trouble]]))
    [*talk.ask("你好")]
    with pytest.raises(type(trouble)):
        [*talk.ask("再说")]
    assert said(talk) == [(None, "你好"), (0, "好。")]
    with pytest.raises(type(trouble)):
        [*talk.ask("再说")]
    assert said(talk)[2:] == [(None, "再说"), (0, "半")], "negative control: here something was said"


def test_retry_answers_the_same_message_with_another_seed() -> None:
    teller = Scripted([["一"], ["二"], ["三"], ["四"]])
    talk = dialogue(teller, sampling=Sampling(seed=2**32 - 1))
    [*talk.ask("数")]
    [*talk.retry()]
    [*talk.retry()]
    assert {str(heard) for heard, _, _ in teller.asked} == {str([("user", "数")])}
    assert [sampling.seed for _, sampling, _ in teller.asked] == [2**32 - 1, 0, 1]
    assert said(talk) == [(None, "数"), (0, "三")]
    [*talk.ask("再数")]
    assert teller.asked[-1][1].seed == 2**32 - 1, "a new message begins at the seed that was set"


def test_a_retry_that_brings_nothing_leaves_the_old_answer() -> None:
    talk = dialogue(Scripted([["一"], [KeyboardInterrupt()]]))
    [*talk.ask("数")]
    with pytest.raises(KeyboardInterrupt):
        [*talk.retry()]
    assert said(talk) == [(None, "数"), (0, "一")]


def test_a_retry_that_could_only_repeat_itself_is_refused() -> None:
    teller = Scripted([["一"], ["二"]])
    talk = dialogue(teller, sampling=Sampling(temperature=0))
    with pytest.raises(UsageError, match="nothing was said yet"):
        talk.retry()
    [*talk.ask("数")]
    with pytest.raises(UsageError) as caught:
        talk.retry()
    assert caught.value.text.zh.startswith("temperature 是 0，重说还是一样的")
    talk.set({"temperature": "0.8"})
    [*talk.retry()]
    assert said(talk)[-1] == (0, "二")


def test_undo_takes_back_a_message_with_its_answer() -> None:
    talk = dialogue(Scripted([["一"], ["二"]]))
    [*talk.ask("甲")]
    [*talk.ask("乙")]
    talk.undo()
    assert said(talk) == [(None, "甲"), (0, "一")]
    talk.undo()
    assert said(talk) == []
    with pytest.raises(UsageError, match="nothing was said yet"):
        talk.undo()


# Several speakers


def test_each_hears_the_others_words_as_the_users() -> None:
    one, two = Scripted([["还下着呢。"], ["依你。"]]), Scripted([["<think>\n想\n</think>\n\n那便煮茶罢。"]])
    talk = dialogue(one, two)
    [*talk.ask("雪停了没有？")]
    talk.switch("甄嬛")
    [*talk.ask("你看呢？")]
    assert two.heard == [("user", "雪停了没有？\n还下着呢。\n你看呢？")]
    talk.switch("黛玉")
    [*talk.ask("好么？")]
    assert one.heard == [
        ("user", "雪停了没有？"),
        ("assistant", "还下着呢。"),
        ("user", "你看呢？\n那便煮茶罢。\n好么？"),
    ]


def test_a_duet_goes_in_turn_from_one_line() -> None:
    one, two = Scripted([["A1"], ["A2"]]), Scripted([["B1"]])
    talk = dialogue(one, two)
    order = []
    for speaker, stream in talk.duet("下雪了", 3):
        order.append((speaker.name, len([*stream])))
    assert order == [("黛玉", 2), ("甄嬛", 2), ("黛玉", 2)]
    assert said(talk) == [(None, "下雪了"), (0, "A1"), (1, "B1"), (0, "A2")]
    assert two.heard == [("user", "下雪了\nA1")]
    assert one.heard == [("user", "下雪了"), ("assistant", "A1"), ("user", "B1")]
    one.script.append(["A2'"])
    talk.switch("甄嬛")
    [*talk.retry()]
    assert said(talk)[-1] == (0, "A2'"), "the one whose turn it was answers again"
    talk.undo()
    assert said(talk)[-1] == (1, "B1"), "one turn, not the whole duet"


def test_retry_lets_the_one_who_was_called_answer_the_user() -> None:
    one, two = Scripted([["甲"]]), Scripted([["乙"]])
    talk = dialogue(one, two, sampling=Sampling(temperature=0))
    [*talk.ask("你好")]
    talk.switch("甄嬛")
    [*talk.retry()]
    assert said(talk) == [(None, "你好"), (1, "乙")]
    assert two.heard == [("user", "你好")]


@pytest.mark.parametrize(
    ("name", "at"), [("甄嬛", 1), ("甄", 1), ("run-0", 0), (" ＲＵＮ-1 ", 1), ("宝玉", 2), ("Lin", 3), ("LIN DAIYU", 3)]
)
def test_a_name_or_its_start_calls_a_speaker(name: str, at: int) -> None:
    talk = dialogue(*(Scripted([]) for _ in range(4)), names=("黛玉", "甄嬛", "宝玉", "Lin Daiyu"))
    talk.switch(name)
    assert talk.at == at


@pytest.mark.parametrize(
    ("name", "zh", "en"),
    [
        ("宝玉", "没有 宝玉；在座的有 黛玉、甄嬛", "there is no 宝玉; here are 黛玉, 甄嬛"),
        ("run", "run 不止一位；请写全名：黛玉、甄嬛", "run fits several; write the whole name: 黛玉, 甄嬛"),
        ("玉", "没有 玉；在座的有 黛玉、甄嬛", "there is no 玉; here are 黛玉, 甄嬛"),
    ],
)
def test_a_name_that_fits_nobody_or_several_is_told(name: str, zh: str, en: str) -> None:
    talk = dialogue(Scripted([]), Scripted([]))
    with pytest.raises(UsageError) as caught:
        talk.switch(name)
    assert tuple(caught.value.text) == (zh, en)
    assert talk.at == 0


def test_two_of_one_name_are_called_by_their_runs() -> None:
    talk = dialogue(Scripted([]), Scripted([]), Scripted([]), names=("黛玉", "黛玉", "甄嬛"))
    assert [speaker.name for speaker in talk.speakers] == ["run-0", "run-1", "甄嬛"]


# Sampling


def test_a_set_value_has_the_bounds_of_the_config_and_is_the_speakers_own() -> None:
    talk = dialogue(Scripted([]), Scripted([]))
    talk.set({"temperature": "0.5", "seed": "7"})
    assert [(one.sampling.temperature, one.sampling.seed) for one in talk.speakers] == [(0.5, 7), (0.7, None)]
    for key, value in (("temperature", "9"), ("temperatur", "0.5"), ("model", "tiny"), ("top_k", "1.5")):
        with pytest.raises(UsageError, match=key):
            talk.set({key: value})
    assert talk.speaker.sampling == Sampling(temperature=0.5, seed=7)
    assert talk.set({"seed": "none"}).seed is None


def test_base_and_run_answer_one_message_with_one_seed_and_nothing_is_kept() -> None:
    teller = Scripted([["一"], ["基座"], ["学过"], ["基座二"]])
    talk = dialogue(teller)
    with pytest.raises(UsageError, match="nothing was said yet"):
        talk.compare(None)
    [*talk.ask("甲")]
    answers = [(tuned, next(stream)) for tuned, stream in talk.compare("乙")]
    assert answers == [(False, "基座"), (True, "学过")]
    (_, base), (_, tuned) = ((heard, sampling) for heard, sampling, _ in teller.asked[1:])
    assert base == tuned and base.seed is not None
    assert teller.heard == [("user", "甲"), ("assistant", "一"), ("user", "乙")]
    assert [(tuned, next(stream)) for tuned, stream in talk.compare(None)] == [(False, "基座二")]
    assert (teller.heard, teller.asked[-1][2]) == ([("user", "甲")], False)
    assert said(talk) == [(None, "甲"), (0, "一")]


# What is kept of it


def test_a_conversation_becomes_rows_that_can_be_learned(tmp_path: Path) -> None:
    """One row for each speaker, under its own system prompt; what was cut off is context."""
    one = Scripted([["还下着呢。"], ["依", "你。"]])
    two = Scripted([["那便煮茶罢。"]], system=None)
    talk = dialogue(one, two, Scripted([]))
    [*talk.ask("雪停了没有？")]
    stream = talk.ask("真的？")
    next(stream)
    stream.close()
    talk.switch("甄嬛")
    [*talk.ask("煮\n茶？")]
    assert talk.rows() == [
        {
            "messages": [
                {"role": "system", "content": "你是黛玉。"},
                {"role": "user", "content": "雪停了没有？"},
                {"role": "assistant", "content": "还下着呢。"},
                {"role": "user", "content": "真的？"},
                {"role": "assistant", "content": "依", "loss": False},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "雪停了没有？\n还下着呢。\n真的？\n依\n煮\n茶？"},
                {"role": "assistant", "content": "那便煮茶罢。"},
            ]
        },
    ]
    path = tmp_path / "说过的.jsonl"
    path.write_text(talk.json_lines(), encoding="utf-8")
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == talk.rows()
    rows = read_rows(path)
    first, second = rows.kept
    assert [(m.role, m.content, m.learn) for m in first.messages if m.role == "assistant"] == [
        ("assistant", "还下着呢。", True),
        ("assistant", "依", False),
    ]
    assert second.messages[-1].learn


def test_an_answer_at_the_limit_of_its_length_is_cut_off_too() -> None:
    talk = dialogue(Scripted([["从前"]], stop="length"))
    [*talk.ask("讲故事")]
    assert talk.rows()[0]["messages"][-1] == {"role": "assistant", "content": "从前", "loss": False}


def test_a_conversation_can_be_read() -> None:
    talk = dialogue(Scripted([["还下着呢。\n"]]))
    [*talk.ask("雪停了没有？")]
    assert talk.transcript("你") == "你：雪停了没有？\n\n黛玉：还下着呢。\n"
