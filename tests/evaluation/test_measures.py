"""The measures give the values worked out by hand, and the interval covers what it says it covers."""

import math
import random

import numpy as np
import pytest
from numpy.typing import NDArray

from tonghua.data.sentences import ends_complete, without_space
from tonghua.errors import DataError
from tonghua.evaluation import bootstrap
from tonghua.evaluation.bootstrap import Interval, paired_bootstrap
from tonghua.evaluation.measures import bits_per_character, clause_length, dialogue_share, distinct_n, rep_n

# Text


def test_white_space_of_every_width_is_removed() -> None:
    assert without_space(" 从前\u3000有\n\t一只 cat。\u00a0") == "从前有一只cat。"


@pytest.mark.parametrize(
    ("text", "n", "expected"),
    [
        ("", 4, 0.0),
        ("小兔子", 4, 0.0),
        ("小兔子跑", 4, 0.0),
        ("一二三四五六", 4, 0.0),
        ("啊啊啊啊啊", 4, 1 - 1 / 2),
        ("一二三四一二三四", 4, 1 - 4 / 5),
        ("一二一二一", 2, 1 - 2 / 4),
        ("一 二\n三四　一二三四", 4, 1 - 4 / 5),
    ],
)
def test_rep_n_by_hand(text: str, n: int, expected: float) -> None:
    assert rep_n(text, n) == pytest.approx(expected)


def test_rep_n_sees_a_loop_but_not_an_order() -> None:
    sentences = ["从前有一只小兔子。", "它住在大森林里面。", "每天早上都去采蘑菇。", "后来遇见了一位老人。"]
    story = "".join(sentences)
    assert rep_n(story) < 0.05
    assert rep_n(story + sentences[-1] * 4) > 0.4
    assert rep_n("".join(reversed(sentences))) == pytest.approx(rep_n(story), abs=0.05)


@pytest.mark.parametrize(
    "text",
    [
        "他回家了。",
        "“我们回家吧。”",
        "「快跑！」",
        "『真的吗？』」",
        "他慢慢地睡着了……",
        "好呀～",
        "好呀~",
        "（他笑了。）",
        "The end.",
        'He said, "Stop!"',
        "Is it over?'",
        "走吧。 ”\n\n",
        "第一点：\n- 早睡早起。",
        "# 小红帽\n从前有一个小女孩。",
        "这是第 3.",
    ],
)
def test_complete_endings(text: str) -> None:
    assert ends_complete(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "”",
        "他回家",
        "他回家，",
        "他说：",
        "他说：“",
        "苹果、梨；",
        "我——",
        "《小红帽》",
        "**他回家了。**",
        "```\n他回家了。\n```",
        "他回家了。\n## 第二章。",
        "有三点：\n1. 早睡。\n2.",
        "有三点：\n- ",
        "真好！😊",
    ],
)
def test_incomplete_endings(text: str) -> None:
    assert not ends_complete(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0.0),
        ("……！", 0.0),
        ("小兔子", 3.0),
        ("从前，有一只小兔子。", (2 + 6) / 2),
        ("“走吧！”他说。", (2 + 2) / 2),
        ("他想……想了很久；睡了", (2 + 4 + 2) / 3),
        ("苹果、梨：都好？", (2 + 1 + 2) / 3),
        ("Yes, it is. Why?", (3 + 4 + 3) / 3),
        ("圆周率是3.14，共1,000个，10:30见.", (7 + 6 + 5) / 3),
    ],
)
def test_clause_length_by_hand(text: str, expected: float) -> None:
    assert clause_length(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0.0),
        ("他走了。", 0.0),
        ("“走吧”他说", 2 / 6),
        ("「走 吧」\n他说", 2 / 6),
        ("『走吧』他说", 2 / 6),
        ('"走吧"他说', 2 / 6),
        ("“他喊『走』了”好", 6 / 9),
        ("“甲”和“乙”", 2 / 7),
        ('"甲"和"乙"', 2 / 7),
        ("“”", 0.0),
    ],
)
def test_dialogue_share_by_hand(text: str, expected: float) -> None:
    assert dialogue_share(text) == pytest.approx(expected)


@pytest.mark.parametrize("mark", ["“", "”", "「", "」", "『", "』", '"'])
def test_an_unpaired_quote_swallows_nothing(mark: str) -> None:
    narration = "他走进了森林，" * 20
    assert dialogue_share(mark + narration) == 0.0
    assert dialogue_share(narration + mark) == 0.0
    # A real quotation in another paragraph still counts, and only it does.
    text = f"{mark}{narration}\n“你好”{narration}\n{narration}{mark}"
    assert dialogue_share(text) == pytest.approx(2 / len(without_space(text)))


def test_an_opening_quote_without_partner_leaves_the_next_pair_alone() -> None:
    text = "“他一直在想，“走吧”他说"
    assert dialogue_share(text) == pytest.approx(2 / len(text))


def test_distinct_n_by_hand() -> None:
    assert distinct_n(["一二一二"], 1, 4) == 2 / 4
    assert distinct_n(["一二一二"], 2, 4) == 2 / 3
    # 一二, 二三 | 一二: none crosses from text to text.
    assert distinct_n(["一二三", "一二"], 2, 5) == 2 / 3
    # The last text is cut to 一二, the third is not read; white space takes no budget.
    assert distinct_n(["一 二\n三", "一二九九九", "八八"], 2, 5) == 2 / 3
    assert distinct_n(["一", "二"], 2, 2) == 0.0


def test_distinct_n_refuses_less_text_than_the_budget() -> None:
    assert distinct_n(["一二三", "四五"], 1, 5) == 1.0
    with pytest.raises(DataError) as caught:
        distinct_n(["一二三", "四 五"], 1, 6)
    assert caught.value.text.zh == ("这些文本一共只有 5 个字，不够按 6 个字计算多样性：请多生成几篇，或减小字数")
    assert caught.value.text.en == (
        "the texts hold 5 characters, too few to measure diversity over 6: generate more of them, or lower that number"
    )


def test_distinct_n_depends_on_the_budget_not_on_how_many_texts_there_are() -> None:
    draw = random.Random(0)
    texts = ["".join(draw.choices("甲乙丙丁戊己庚辛", k=50)) for _ in range(40)]
    assert distinct_n(texts, 2, 500) == distinct_n(texts[:10], 2, 500)
    # The reason for a budget: without one, the larger set looks poorer.
    assert distinct_n(texts, 2, 2000) < distinct_n(texts, 2, 500)


def test_bits_per_character_by_hand() -> None:
    assert bits_per_character(8 * math.log(2), 4) == pytest.approx(2.0)
    assert bits_per_character(0.0, 10) == 0.0
    with pytest.raises(ZeroDivisionError):
        bits_per_character(1.0, 0)


# Interval


def arrays(*rows: list[float]) -> tuple[NDArray[np.float64], ...]:
    return tuple(np.array(row, dtype=np.float64) for row in rows)


def test_identical_losses_give_exactly_zero() -> None:
    base, weights = arrays([3.3, 1.7, 9.1], [3, 1, 7])
    assert paired_bootstrap(base, base.copy(), weights, "abc") == Interval(0.0, 0.0)


def test_a_constant_difference_per_token_has_no_spread() -> None:
    base, weights = arrays([8, 2, 10, 5], [4, 1, 5, 2])
    interval = paired_bootstrap(base, base - 0.5 * weights, weights, "abca")
    assert [interval.low, interval.high] == pytest.approx([-0.5, -0.5])


def test_two_groups_give_the_three_possible_means() -> None:
    # Drawing twice from {-1, +3} at equal weight: -1 and 3 with 1/4 each, so they bound the middle 95 %.
    base, tuned, weights = arrays([0, 0], [-1, 3], [1, 1])
    assert paired_bootstrap(base, tuned, weights, [1, 2]) == Interval(-1.0, 3.0)


def test_items_count_by_their_tokens() -> None:
    base, tuned, weights = arrays([0] * 200, [-300, 1] * 100, [300, 1] * 100)
    interval = paired_bootstrap(base, tuned, weights, list(range(200)), 500)
    # (300 * -1 + 1 * 1) / 301; the mean of ratios would be 0.
    assert interval.low < -299 / 301 < interval.high < -0.98


def test_the_same_seed_gives_the_same_interval_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    random_numbers = np.random.default_rng(1)
    base, tuned = random_numbers.normal(size=(2, 30))
    weights = random_numbers.integers(1, 9, 30)
    groups = [("问题", place // 2) for place in range(30)]
    first = paired_bootstrap(base, tuned, weights, groups, 1001)
    assert paired_bootstrap(base, tuned, weights, groups, 1001) == first
    assert paired_bootstrap(base, tuned, weights, groups, 1001, seed=1) != first
    monkeypatch.setattr(bootstrap, "CELLS_PER_CHUNK", 7 * 15)
    assert paired_bootstrap(base, tuned, weights, groups, 1001) == first


def test_copies_within_groups_do_not_narrow_the_interval() -> None:
    random_numbers = np.random.default_rng(2)
    tuned = random_numbers.normal(size=100)
    base, weights, labels = np.zeros(100), np.ones(100), list(range(100))

    def width(times: int, groups: list[int]) -> float:
        copied = [np.repeat(values, times) for values in (base, tuned, weights)]
        interval = paired_bootstrap(copied[0], copied[1], copied[2], groups, 4000)
        return interval.high - interval.low

    honest = width(1, labels)
    assert width(5, [label for label in labels for _ in range(5)]) == pytest.approx(honest, rel=1e-9)
    # Copies taken for independent items pretend to sqrt(5) times the precision.
    assert honest / width(5, list(range(500))) == pytest.approx(math.sqrt(5), rel=0.1)


def coverage(experiments: int, *, by_question: bool) -> float:
    """Share of experiments whose interval holds the true difference: 50 questions with 4 answers each."""
    random_numbers = np.random.default_rng(3)
    truth, hits = -0.2, 0
    for _ in range(experiments):
        weights = random_numbers.integers(5, 60, 200).astype(np.float64)
        question = np.repeat(random_numbers.normal(0, 0.5, 50), 4)
        difference = weights * (truth + question + random_numbers.normal(0, 0.3, 200))
        base = weights * random_numbers.normal(2.5, 0.5, 200)
        groups = [place // 4 if by_question else place for place in range(200)]
        interval = paired_bootstrap(base, base + difference, weights, groups, 400)
        hits += interval.low <= truth <= interval.high
    return hits / experiments


def test_the_interval_covers_the_truth_about_95_times_in_100() -> None:
    assert 0.91 <= coverage(400, by_question=True) <= 0.98


def test_without_groups_the_coverage_falls() -> None:
    assert coverage(200, by_question=False) < 0.85


def test_one_group_is_refused() -> None:
    base, tuned, weights = arrays([1, 2], [1, 1], [1, 1])
    with pytest.raises(DataError) as caught:
        paired_bootstrap(base, tuned, weights, ["a", "a"])
    assert caught.value.text.zh == "只有一组题目，估计不出误差范围：请至少准备两个不同的问题"
    assert caught.value.text.en == (
        "one group of questions cannot show how far the result may vary: give at least two different questions"
    )


@pytest.mark.parametrize(
    ("base", "tuned", "weights", "message"),
    [
        ([1.0], [1, 1], [1, 1], r"base has shape \(1,\), but there are 2 groups"),
        ([1.0, 2], [1, 1, 1], [1, 1], r"tuned has shape \(3,\), but there are 2 groups"),
        ([1.0, 2], [1, math.nan], [1, 1], "tuned holds NaN or infinity"),
        ([1.0, 2], [1, 1], [1, 0], "weights must be above 0"),
    ],
)
def test_arrays_that_do_not_fit_are_bugs(
    base: list[float], tuned: list[float], weights: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(np.array(base), np.array(tuned), np.array(weights), "ab")
