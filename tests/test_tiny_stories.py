"""The exam of the plots' stories, and the rows of `bedtime`: what the night lamp says, and what `tiny` has not read."""

import json
import random
from dataclasses import astuple
from itertools import islice

import pytest

from make_tiny import bedtime, corpus, exam, grammar, story
from tonghua.models import shipped

LENGTHS = ("short", "middle", "long")


def told(number: int) -> tuple[story.Teller, str, str]:
    plot = grammar.PLOTS[number % len(grammar.PLOTS)]
    teller = story.Teller(random.Random(70_000 + number), LENGTHS[number % 3])
    return teller, f"请写一个{teller.hero.kind}的故事，讲的是{plot.lesson}。", grammar.told(plot, teller)


def test_the_stories_of_the_plots_pass_the_exam() -> None:
    """Other tellings than those that the exam knows the plots by."""
    marks = [exam.examine(wish, text, True) for _, wish, text in map(told, range(0, 237, 3))]
    assert sum(all(astuple(found)) for found in marks) >= 0.97 * len(marks)


@pytest.mark.parametrize("number", [3, 20, 41, 66])
def test_each_way_to_fail_the_exam_is_seen(number: int) -> None:
    teller, wish, text = told(number)
    _, _, other = told(number + 7)
    assert astuple(exam.examine(wish, text, True)) == (True, True, True, True)
    middle = text.index("\n\n", len(text) // 3)
    renamed = text[:middle] + text[middle:].replace(teller.hero.name, "阿甲")
    assert not exam.examine(wish, renamed, True).one_name
    assert not exam.examine(wish, text[:middle].replace(teller.hero.full, "阿米") + text[middle:], True).one_name
    assert not exam.examine(wish, other, True).lesson
    assert not exam.examine(wish, text[:middle] + other[len(other) // 2 :], True).lesson
    assert not exam.examine(wish, text, False).ended
    assert not exam.examine(wish, text.rstrip("。！？”…"), True).ended
    assert not exam.examine(wish, text[:middle], True).ended
    assert not exam.examine(wish, "", True).ended
    last_words = sorted(exam.LAST_WORDS)[number % len(exam.LAST_WORDS)]
    assert exam.examine(wish, f"{text}\n\n{last_words}", True).ended, "a teller's last words follow an ending"
    assert not exam.examine(wish, f"{text[:middle]}\n\n{last_words}", True).ended, "they are none themselves"
    assert not exam.examine(wish, last_words, True).ended


def test_the_hero_and_the_lesson_of_a_wish_are_read() -> None:
    assert exam.hero_of("请给小白兔讲一个不说大话的故事") == "小白兔"
    assert exam.examine("讲一个小熊的故事", "从前有一只小熊，名字叫阿米。", True).lesson is None
    with pytest.raises(ValueError, match="names no kind"):
        exam.hero_of("讲一个故事")


def shipped_rows(name: str) -> list[dict[str, str]]:
    return json.loads(shipped.datasets()[name].read_text(encoding="utf-8"))


def test_the_rows_of_bedtime_are_those_that_the_program_makes() -> None:
    made = list(islice(bedtime.rows(), bedtime.LEARNED + bedtime.HELD_OUT))
    assert shipped_rows("bedtime") == made[: bedtime.LEARNED]
    assert shipped_rows("bedtime.heldout") == made[bedtime.LEARNED :]
    assert len({row["output"] for row in made}) == len(made)


def test_every_tale_of_bedtime_has_the_marks_of_the_lamp_and_passes_the_exam() -> None:
    found = []
    for row in shipped_rows("bedtime") + shipped_rows("bedtime.heldout"):
        assert bedtime.marks(row["output"]) == (True, True, True)
        found.append(exam.examine(row["instruction"], bedtime.unlit(row["output"]), True))
    assert sum(marks.hero and marks.one_name and marks.lesson is not False and marks.ended for marks in found) >= 147


def test_tiny_has_read_no_word_of_the_lamp() -> None:
    text = "\n".join(text for talk in islice(corpus.conversations(9), 3000) for _, text in talk)
    assert "夜灯" not in text and "你猜，" not in text
    assert bedtime.marks(text) == (False, False, False)
