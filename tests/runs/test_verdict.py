"""The verdict says no more than the four lines do, and reads whatever is in evaluation.json."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_runs import write_run

from tonghua.runs.record import read_record
from tonghua.runs.verdict import ADVICE, JUDGED, LEAST_ITEMS, NAMES, TOLERANCE, headline, judge
from tonghua.text import Text


def figure(delta: float, spread: float = 0.01, items: int = 20, **more: Any) -> dict[str, Any]:
    return {
        **{"base": 3.0, "tuned": 3.0 + delta, "delta": delta, "items": items},
        **{"interval": [delta - spread, delta + spread], **more},
    }


NOTHING = {"why": {"zh": "没有读者", "en": "no reader"}}
GOOD = {"loss": figure(-0.5), "sense": figure(-0.2), "endings": figure(0.4), "knowledge": figure(0.01)}


@pytest.mark.parametrize("key", NAMES)
@pytest.mark.parametrize(
    ("worse_by", "spread", "items", "judged"),
    [
        (-0.5, 0.1, 20, "gained"),
        (-0.5, 0.6, 20, "same"),  # the interval holds zero
        (-TOLERANCE + 0.001, 0.001, 20, "same"),  # certain, and too little
        (TOLERANCE - 0.001, 0.001, 20, "same"),
        (TOLERANCE + 0.001, 0.001, 20, "lost"),
        (0.5, 0.6, 20, "same"),
        (0.5, 0.1, LEAST_ITEMS, "lost"),
        (0.5, 0.1, LEAST_ITEMS - 1, "too few"),
        (-0.5, 0.1, LEAST_ITEMS - 1, "too few"),
    ],
)
def test_a_line_is_judged_by_its_interval_and_its_size(
    key: str, worse_by: float, spread: float, items: int, judged: str
) -> None:
    delta = -worse_by if key == "endings" else worse_by  # of a share, more is better
    lines = {line.key: line for line in judge({**GOOD, key: figure(delta, spread, items)}).lines}
    assert list(lines) == ["loss", "sense", "endings", "knowledge"]
    assert lines[key].judgement == judged
    assert (ADVICE[key].en in judge({key: figure(delta, spread, items)}).headline.en) == (judged == "lost")


def test_a_measure_of_sense_may_say_that_more_is_better() -> None:
    for better, judged in (("higher", "gained"), ("lower", "lost")):
        line = judge({"sense": figure(0.3, better=better, reader="qwen")}).lines[1]
        assert line.judgement == judged
        assert line.note is not None
        assert line.note.en.startswith("read by qwen")


def test_better_needs_a_gain_and_all_four() -> None:
    verdict = judge(GOOD)
    assert verdict.is_better
    assert verdict.headline == Text(
        "变好了。变好的是“更贴近你的数据”、“说得通”、“写得完、不绕圈”；没有一项变差。",
        "Better. Gained: closer to your rows, makes sense, ends and does not loop; none of the four got worse.",
    )
    assert judge({key: figure(0.0) for key in NAMES}).headline == Text("没有明显变化。", "No clear change.")
    assert judge({}).headline.en.startswith("Not measured yet. Not measured: closer to your rows, makes sense,")


@pytest.mark.parametrize("key", NAMES)
def test_a_line_that_is_lost_or_unknown_is_named_and_nothing_is_called_better(key: str) -> None:
    lost = judge({**GOOD, key: figure(-0.4 if key == "endings" else 0.4)})
    assert lost.headline.en.startswith("Gains and losses. Gained: ")
    assert f"lost: {NAMES[key].en}. Try {ADVICE[key].en}." in lost.headline.en
    assert f"变差的是“{NAMES[key].zh}”。可以试试：{ADVICE[key].zh}。" in lost.headline.zh
    unknown = judge({**GOOD, key: NOTHING})
    assert f"not measured: {NAMES[key].en}." in unknown.headline.en
    assert next(line.note for line in unknown.lines if line.key == key) == Text("没有读者", "no reader")
    few = judge({**GOOD, key: figure(-0.4, items=2)})
    assert f"too few to tell: {NAMES[key].en}." in few.headline.en
    for verdict in (lost, unknown, few):
        assert not verdict.is_better
        assert "better" not in verdict.headline.en.lower()
        assert not verdict.headline.zh.startswith("变好了")


figures = st.floats(-1e6, 1e6)
measures = st.one_of(
    st.none(),
    st.just(NOTHING),
    st.fixed_dictionaries(
        {"base": figures, "tuned": figures, "interval": st.lists(figures, min_size=2, max_size=2)},
        optional={"items": st.integers(0, 30), "better": st.sampled_from(["lower", "higher"])},
    ),
)


@given(st.fixed_dictionaries({key: measures for key in NAMES}))
def test_the_headline_is_never_better_with_a_line_that_is_not_known_to_be_no_worse(evaluation: dict[str, Any]) -> None:
    verdict = judge(evaluation)
    judged = {line.judgement for line in verdict.lines}
    assert verdict.is_better == ("gained" in judged and judged <= {"gained", "same"})
    assert ("better" in verdict.headline.en.lower()) == verdict.is_better == verdict.headline.zh.startswith("变好了")
    for line in verdict.lines:
        if line.judgement in ("lost", "too few", "not measured"):
            assert line.name.en in verdict.headline.en
            assert line.name.zh in verdict.headline.zh
    json.dumps(verdict.as_json(), allow_nan=False)


odd = st.recursive(
    st.sampled_from([None, True, 0, -3, 10**400, 2.5, float("nan"), float("inf"), "", "字", "word"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["base", "tuned", "interval", "items", "why", "zh", "en", "reader", "note"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*NAMES, "answers"]), odd))
def test_whatever_the_file_holds_there_are_four_lines(evaluation: dict[str, Any]) -> None:
    verdict = judge(evaluation)
    assert [line.key for line in verdict.lines] == list(NAMES)
    assert {line.judgement for line in verdict.lines} <= set(JUDGED)
    assert all(line.note is None or (line.note.zh and line.note.en) for line in verdict.lines)


def test_without_an_evaluation_the_headline_speaks_of_the_loss_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [3.0] * 5, heldout=[(0, 3.0), (5, 2.0)])
    for content in (None, "", "[]", "{", "null", '{"loss": '):
        if content is not None:
            (run / "evaluation.json").write_text(content, encoding="utf-8")
        said = headline(read_record(run))
        assert said.en.startswith("It came closer to your rows: the loss")
        assert said.en.endswith("Whether it makes sense and ends has not been measured.")
    (run / "evaluation.json").write_text(json.dumps(GOOD), encoding="utf-8")
    assert headline(read_record(run)).en.startswith("Better. ")
