"""A row is a row, however many samples it was split into: in the interval, in what is counted, and in what is asked."""

import json
import math
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_templates import THINKING
from command_line import call, settings
from numpy.typing import NDArray
from reference import STOP, add_adapter, our_model

from tonghua.config.schema import Config, Sampling
from tonghua.core.lora import Adapter
from tonghua.data.samples import prepare as preparing
from tonghua.data.samples.endings import GO_ON
from tonghua.data.samples.prepare import Prepared, open_model, prepare, split
from tonghua.data.samples.samples import Samples
from tonghua.evaluation.compare import compare_answers, compare_losses
from tonghua.evaluation.losses import Losses, losses
from tonghua.inference.torch_engine import TorchEngine
from tonghua.prompt.contract import Contract
from tonghua.prompt.conversation import JOIN
from tonghua.prompt.renderer import Renderer

SENTENCES = ("月亮说你好。", "小熊回家了。", "从前有森林。", "兔子睡着了。", "天黑了。", "The moon rose.\n", "你好！")


def long_rows(count: int, sentences: int = 40) -> list[dict[str, Any]]:
    draw = random.Random(1)
    return [
        {"instruction": f"请讲第{row}个故事。", "output": "".join(draw.choices(SENTENCES, k=sentences + row))}
        for row in range(count)
    ]


def talks(count: int) -> list[dict[str, Any]]:
    """Rows of three turns. The last question is the same in all of them."""
    asked = ("你好", "再讲一个第{}号故事。", "然后呢？")
    return [
        {
            "messages": [
                {"role": role, "content": text.format(row)}
                for turn, question in enumerate(asked)
                for role, text in (("user", question), ("assistant", SENTENCES[(row + turn) % 5] * (turn + 1)))
            ]
        }
        for row in range(count)
    ]


@pytest.fixture(scope="module")
def thinking_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose template teaches the last answer alone, so that a row becomes a sample for each answer."""
    folder = tmp_path_factory.mktemp("会想 的") / "模型"
    shutil.copytree(tiny_folder, folder)
    (folder / "chat_template.jinja").write_text(THINKING, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tuned(tiny_folder: Path) -> tuple[Any, Adapter]:
    decoder = our_model(tiny_folder)
    return decoder, add_adapter(decoder, b_size=0.05)


@pytest.fixture
def engine(tiny_folder: Path, tuned: tuple[Any, Adapter]) -> Iterator[TorchEngine]:
    yield TorchEngine(tuned[0], Renderer(tiny_folder), Contract(None, JOIN, (STOP, 0), "", "", {}), tuned[1])
    tuned[1].enable(True)


Ready = Callable[..., Prepared]


@pytest.fixture
def ready(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ready:
    monkeypatch.setenv("TONGHUA_HOME", str(tmp_path / "家"))

    def made(rows: Sequence[dict[str, Any]], folder: Path = tiny_folder, weight: str = "", **more: Any) -> Prepared:
        path = tmp_path / "行 rows.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        config = Config.model_validate({"model": str(folder), "dataset": f"{path}{weight}", "max_length": 150, **more})
        files, renderer = open_model(str(folder))
        return prepare(config, files, renderer)

    return made


def both_losses(engine: TorchEngine, adapter: Adapter, samples: Samples) -> tuple[Losses, Losses]:
    with adapter.off():
        base = losses(engine.decoder, samples.examples)
    return base, losses(engine.decoder, samples.examples)


def by_hand(base: Losses, tuned: Losses, groups: Sequence[object]) -> tuple[float, float]:
    """The middle 95 % of 10,000 resamples of whole groups, each summed in a loop."""
    names = list(dict.fromkeys(groups))
    difference: dict[object, float] = dict.fromkeys(names, 0.0)
    tokens: dict[object, float] = dict.fromkeys(names, 0.0)
    for group, before, after, count in zip(groups, base.nll, tuned.nll, base.targets, strict=True):
        difference[group] += float(after - before)
        tokens[group] += float(count)
    draw = np.random.default_rng(0)
    means = []
    for _ in range(10_000):
        drawn = [names[place] for place in draw.integers(len(names), size=len(names))]
        means.append(sum(difference[name] for name in drawn) / sum(tokens[name] for name in drawn))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def row_of_each(samples: Samples, rows: Sequence[dict[str, Any]]) -> list[int]:
    """The row that each sample came from, found by its line alone: the rows stand one to a line."""
    numbers = {line: place for place, line in enumerate(sorted({c.line for c in samples.conversations}))}
    assert len(numbers) == len(rows)
    return [numbers[c.line] for c in samples.conversations]


def width(interval: Sequence[float]) -> float:
    return interval[1] - interval[0]


@pytest.mark.parametrize("kind", ["parts of long answers", "a sample for each answer"])
def test_the_interval_is_that_of_whole_rows(
    kind: str, ready: Ready, engine: TorchEngine, tuned: tuple[Any, Adapter], thinking_folder: Path
) -> None:
    rows = long_rows(12) if kind == "parts of long answers" else talks(12)
    samples = ready(rows, thinking_folder if kind == "a sample for each answer" else engine.renderer.folder).samples
    assert len(samples) > 2.5 * len(rows)
    found = compare_losses(engine, samples)
    base, after = both_losses(engine, tuned[1], samples)
    assert found["interval"] == pytest.approx(by_hand(base, after, row_of_each(samples, rows)), abs=1e-12)
    assert found["rows"] == len(rows)
    # Negative controls: what the last questions, or the samples, would say is another interval.
    last_questions = [c.messages[-2].content for c in samples.conversations]
    for wrong in (last_questions, list(range(len(samples)))):
        assert by_hand(base, after, wrong) != pytest.approx(found["interval"], rel=0.02)


def test_rows_that_ask_the_same_are_one_draw(ready: Ready, engine: TorchEngine, tuned: tuple[Any, Adapter]) -> None:
    rows = [{**row, "instruction": f"问{place // 3}"} for place, row in enumerate(long_rows(9, 8))]
    samples = ready(rows).samples
    found = compare_losses(engine, samples)
    base, after = both_losses(engine, tuned[1], samples)
    of_rows = row_of_each(samples, rows)
    assert found["interval"] == pytest.approx(by_hand(base, after, [row // 3 for row in of_rows]), abs=1e-12)
    assert found["interval"] != pytest.approx(by_hand(base, after, of_rows), rel=0.02)
    assert found["rows"] == 9


@pytest.mark.parametrize("copies", [1, 2])
def test_many_parts_of_one_question_are_no_comparison(
    ready: Ready, engine: TorchEngine, tuned: tuple[Any, Adapter], copies: int
) -> None:
    samples = ready(long_rows(1, 200) * copies).samples
    assert len(samples) > 5
    found = compare_losses(engine, samples)
    assert (found["interval"], found["items"]) == (None, 1)
    assert found["base"] > 0


@pytest.mark.parametrize("kind", ["parts", "turns", "whole"])
def test_bits_per_character_count_what_is_learned(
    kind: str, ready: Ready, engine: TorchEngine, tuned: tuple[Any, Adapter]
) -> None:
    """Each row's answers once, whatever is repeated as context, and nothing of an answer that is not learned."""
    rows = talks(6) if kind == "turns" else long_rows(6, 40 if kind == "parts" else 3)
    samples = ready(rows, max_length=100 if kind == "turns" else 150).samples
    assert (len(samples) > len(rows)) == (kind != "whole")
    answers = [
        row["output"] if "output" in row else "".join(m["content"] for m in row["messages"][1::2]) for row in rows
    ]
    characters = sum(len("".join(answer.split())) for answer in answers)
    repeated = sum(
        len("".join(m.content.split())) for c in samples.conversations for m in c.messages if m.role == "assistant"
    )
    found = compare_losses(engine, samples)
    for name in ("base", "tuned"):
        nats = found[name] * found["targets"]
        assert found["bits_per_char"][name] == pytest.approx(nats / math.log(2) / characters)
    assert (repeated > characters) == (kind != "whole")


@pytest.mark.parametrize("work", ["losses", "answers"])
def test_an_error_leaves_the_adapter_on(
    work: str, ready: Ready, engine: TorchEngine, tuned: tuple[Any, Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever catches it and talks on talks to the tuned model."""
    samples = ready(long_rows(3, 2)).samples
    engine.decoder.eval()

    def stopped(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        if work == "losses":
            compare_losses(engine, samples, stopped)
        else:
            compare_answers(engine, samples.conversations[:], Sampling(max_new_tokens=2), stopped)
    asked = [talk.messages[:-1] for talk in samples.conversations[:2]]
    greedy = Sampling(max_new_tokens=4, temperature=0)
    with_it, without = (list(engine.answers(asked, greedy, tuned=tuned)) for tuned in (True, False))
    assert list(engine.answers(asked, greedy)) == with_it != without
    assert [layer.enabled for layer in tuned[1].layers] == [True] * len(tuned[1].layers)
    assert not engine.decoder.training


def test_the_loss_of_an_error_leaves_training_on(ready: Ready, engine: TorchEngine) -> None:
    samples = ready(long_rows(3, 2)).samples
    engine.decoder.train()

    def stopped(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        losses(engine.decoder, samples.examples, advance=stopped)
    assert engine.decoder.training
    engine.decoder.eval()


# Rows of samples


def learned_lines(samples: Samples) -> list[int]:
    return [conversation.line for conversation in samples.conversations]


@pytest.mark.parametrize(("val_size", "rows"), [(3, 3), (0.25, 3), (0.5, 6), (11, 11)])
def test_as_many_rows_are_held_out_as_were_asked_for(ready: Ready, val_size: float, rows: int) -> None:
    found = ready(long_rows(12))
    train, held_out = split(found, val_size, 0)
    assert (train.row_count, held_out.row_count) == (12 - rows, rows)
    assert len(held_out) > 2 * rows
    assert not set(learned_lines(train)) & set(learned_lines(held_out))
    assert sorted([*train.order, *held_out.order]) == list(range(len(found.samples)))


def test_a_share_holds_out_so_many_rows_at_most(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "MOST_HELD_OUT", 4)
    found = ready(long_rows(12))
    assert split(found, 0.9, 0)[1].row_count == 4
    assert split(found, 6, 0)[1].row_count == 6


def test_a_weight_repeats_whole_rows(ready: Ready) -> None:
    found = ready(long_rows(12), weight="*2.5")
    train, _ = split(found, 0, 0)
    times = np.bincount(train.order, minlength=len(found.samples))
    assert set(times) == {2, 3}
    rows: NDArray[np.int64] = found.samples.rows
    assert all(len(set(times[rows == row])) == 1 for row in range(12))
    assert train.row_count == 12
    # All parts of a row stand together, the first one first.
    parts = [found.samples.order[place] - np.flatnonzero(rows == rows[place])[0] for place in train.order]
    assert all(part == 0 or part == before + 1 for before, part in zip([-1, *parts], parts, strict=False))


@pytest.mark.parametrize("template", ["made", "thinking"])
def test_the_first_part_of_a_row_never_goes_on(
    template: str, ready: Ready, tiny_folder: Path, thinking_folder: Path
) -> None:
    """Long answers in every turn: whichever is cut, the first part asks a question of the row."""
    rows = talks(4)
    for place, row in enumerate(rows):
        row["messages"][1 + 2 * (place % 3)]["content"] = "".join(SENTENCES[:5]) * 6
    samples = ready(rows, thinking_folder if template == "thinking" else tiny_folder, max_length=120).samples
    last = [[c.messages[-2].content for c in part.conversations] for part in (samples, samples.first_parts)]
    assert set(last[0]) & {*GO_ON}
    assert len(last[1]) == 4
    assert set(last[1]) <= {m["content"] for row in rows for m in row["messages"] if m["role"] == "user"}


def test_rows_are_numbered_over_all_datasets(ready: Ready) -> None:
    samples = ready(long_rows(5)).samples
    both = Samples([*samples.parts, *samples.parts])
    assert both.row_count == 10
    assert list(both.rows) == [*samples.rows, *(samples.rows + 5)]
    assert list(both.first_parts.rows) == list(range(10))
    chosen = both.chosen(np.array([len(both) - 1, 0]))
    assert (chosen.row_count, list(chosen.rows)) == (2, [9, 0])
    assert list(both.of_rows(np.array([7, 2, 7])).rows) == [
        number for row in (7, 2, 7) for number in [row] * int((both.rows == row).sum())
    ]


def test_the_tokens_of_an_epoch_are_those_that_it_reads(ready: Ready, engine: TorchEngine, tmp_path: Path) -> None:
    rows = long_rows(4)
    samples = ready(rows).samples
    called = call("check", tmp_path / "行 rows.jsonl", f"model={engine.renderer.folder}", "max_length=150", "--json")
    told = called.json["tokens"]
    assert told["per_epoch"] == samples.tokens.sum() > samples.row_tokens.sum()
    assert told["targets_per_epoch"] == samples.targets.sum()
    assert told["longest"] == samples.row_tokens.max() > 150
    assert told["longer"] == 4


# The whole way


def test_a_run_on_long_rows_asks_and_counts_rows(tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "长 rows.json"
    path.write_text(json.dumps(long_rows(8), ensure_ascii=False), encoding="utf-8")
    given = {"dataset": path, "model": tiny_folder, "output_dir": tmp_path / "结果", "max_length": 150, "val_size": 3}
    given |= {"max_steps": 1, "dtype": "float32", "device": "cpu", "sampling.max_new_tokens": 3}
    trained = call("train", *settings(**given), "--json")
    assert trained.code == 0, trained.err
    run = Path(trained.json["run"])
    table = next(line for line in trained.err.splitlines() if line.split()[:1] == ["8"])
    assert [cell.strip() for cell in table.split("│")][-2:] == ["5", "3"]
    facts = json.loads((run / "facts.json").read_text(encoding="utf-8"))
    assert (facts["train"], facts["heldout"]) == (5, 3)
    assert facts["tokens"]["longest"] > 150
    diary = [json.loads(line) for line in (run / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = {one["prompt"] for entry in diary for one in entry["answers"]}
    assert len(asked) == 3
    assert not asked & {*GO_ON}
    compared = call("eval", run, "--generate", 20, "--json", "max_new_tokens=3")
    assert compared.code == 0, compared.err
    assert compared.json["loss"]["rows"] == 3
    assert {one["prompt"] for one in compared.json["answers"]} == asked
    assert len(compared.json["answers"]) == 3
