"""Token ids on disk: what is read back, what becomes of rows that are too long, and when they are made anew."""

import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow
import pytest
from chat_templates import GEMMA, QWEN3, THINKING, with_template
from pyarrow import parquet

from tonghua import api
from tonghua.config.schema import Config
from tonghua.data.names import named
from tonghua.data.samples import maker as maker_room
from tonghua.data.samples import prepare as preparing
from tonghua.data.samples import store as tokenized
from tonghua.data.samples.maker import Maker, SampleSettings
from tonghua.data.samples.prepare import MOST_HELD_OUT, Prepared, open_model, prepare, require_usable, split, weighted
from tonghua.errors import DataError, ResourceError, UsageError
from tonghua.prompt.conversation import Conversation, Message
from tonghua.prompt.renderer import Renderer
from tonghua.system.environment import home
from tonghua.terminal.screen import Screen

LONG = "第一段，从前有一只小熊。\n\n第二段，它走进了森林。\n\n第三段，天黑了，它回家了。\n\n第四段，妈妈在等它。"


def rows(count: int) -> list[dict[str, str]]:
    return [{"instruction": f"第{i}个问题", "output": f"答{i}。" * (1 + i % 3)} for i in range(count)]


def written(folder: Path, written_rows: list[dict[str, str]], name: str = "数据 一.json") -> str:
    (folder / name).write_text(json.dumps(written_rows, ensure_ascii=False), encoding="utf-8")
    return str(folder / name)


@pytest.fixture
def ready(tiny_folder: Path, tmp_path: Path) -> Callable[..., Prepared]:
    files, renderer = open_model(str(tiny_folder))

    def made(dataset: str | tuple[str, ...], **settings: object) -> Prepared:
        config = Config.model_validate({"model": str(tiny_folder), "dataset": dataset, **settings})
        return prepare(config, files, renderer)

    return made


def kept(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows are made anew by each call from now on."""
    made: list[int] = []
    original = tokenized.tokenize
    monkeypatch.setattr(preparing, "tokenize", lambda *given: (made.append(1), original(*given))[1])
    return made


class Counted(io.FileIO):
    """A file that counts the bytes that are read of it, over all its openings."""

    read_bytes: ClassVar[Counter[str]] = Counter()

    def readinto(self, buffer: Any) -> int | None:
        count = super().readinto(buffer)
        self.read_bytes[Path(str(self.name)).name] += count or 0
        return count


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Bytes read of each file by its name, from now on."""
    real = Path.open

    def counted(path: Path, mode: str = "r", *given: Any, **named: Any) -> Any:
        return io.BufferedReader(Counted(path)) if mode == "rb" else real(path, mode, *given, **named)

    Counted.read_bytes.clear()
    monkeypatch.setattr(Path, "open", counted)
    return Counted.read_bytes


@pytest.mark.parametrize("name", ["数据.json", "数据.jsonl", "数据.csv", "数据.parquet"])
def test_a_dataset_is_read_twice_at_most(
    tiny_folder: Path, tmp_path: Path, read_bytes: Counter[str], name: str
) -> None:
    """Once to know what it is, once for its rows: before training, and in a check of it; once if its ids are kept."""
    texts = [{"instruction": f"第{i}个问题", "output": f"第{i}个答案，" + "好" * 3_000} for i in range(150)]
    path = tmp_path / name
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in texts)
    if name.endswith(".parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(texts), path, compression="none", use_dictionary=False)
    elif name.endswith(".csv"):
        path.write_text("instruction,output\n" + "".join(f"{a},{b}\n" for a, b in map(dict.values, texts)), "utf-8")
    else:
        path.write_text(lines if name.endswith("l") else json.dumps(texts, ensure_ascii=False), "utf-8")
    size, heads = path.stat().st_size, 4 * 65_536
    assert size > 5 * heads
    config = Config(model=str(tiny_folder), dataset=str(path), overlong="drop", max_length=5_000)
    files, renderer = open_model(config.model)
    assert prepare(config, files, renderer).table.kept == 150
    assert size <= read_bytes[name] <= 2 * size + heads
    read_bytes.clear()
    prepare(config, files, renderer)
    assert read_bytes[name] <= size + heads
    read_bytes.clear()
    found = api.check_rows(config.model_copy(update={"system": "别的"}), lambda event: None)
    assert found.checkup.findings.rows == 150
    assert size <= read_bytes[name] <= 2 * size + heads


def test_what_is_read_back_is_what_the_renderer_gives(
    ready: Callable[..., Prepared], tiny_folder: Path, tmp_path: Path
) -> None:
    found = ready(written(tmp_path, rows(20)), system="你是小熊。")
    talks = [
        Conversation((Message("user", row["instruction"]), Message("assistant", row["output"])), line)
        for row, line in zip(rows(20), (c.line for c in found.samples.conversations), strict=True)
    ]
    assert list(found.samples.conversations) == talks
    assert list(found.samples.examples) == Renderer(tiny_folder).examples(talks, "你是小熊。")
    assert found.samples.tokens.tolist() == [len(e.ids) for e in found.samples.examples]
    assert found.samples.targets.tolist() == [e.targets for e in found.samples.examples]
    assert found.samples.examples[-1] == found.samples.examples[19]
    with pytest.raises(IndexError):
        found.samples.examples[20]


@pytest.fixture
def thinker(tiny_folder: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(tiny_folder, tmp_path / "会想 的模型")
    (folder / "chat_template.jinja").write_text(QWEN3, encoding="utf-8")
    return folder


THOUGHT = "先想想。\n再答。"


def test_reasoning_is_learned_where_the_template_has_a_place_for_it(thinker: Path, tmp_path: Path) -> None:
    path = tmp_path / "想.jsonl"
    answer = {"role": "assistant", "content": "答。", "reasoning_content": THOUGHT}
    talks = [[{"role": "user", "content": "问"}, answer], [{"role": "user", "content": "问二"}, {**answer}]]
    talks[1][1] = {"role": "assistant", "content": f"<think>\n{THOUGHT}\n</think>\n\n答。"}
    talks.append([{"role": "user", "content": "问三"}, {"role": "assistant", "content": "\n答。"}])
    path.write_text("\n".join(json.dumps({"messages": talk}) for talk in talks), encoding="utf-8")
    files, renderer = open_model(str(thinker))
    found = {}
    for wish in ("auto", True, False):
        config = Config.model_validate({"model": str(thinker), "dataset": str(path), "enable_thinking": wish})
        found[wish] = prepare(config, files, renderer)
    (part,) = found["auto"].samples.parts
    assert [part.conversation(i).messages[-1].reasoning for i in range(3)] == [THOUGHT] * 2 + [""]
    stored = [json.loads(line) for line in (part.folder / "texts.jsonl").read_text("utf-8").splitlines()]
    assert [len(each[-1]) for each in stored] == [4, 4, 3]
    assert {wish: each.thinking for wish, each in found.items()} == {"auto": True, True: True, False: False}
    told = [note.en for note in found["auto"].notes]
    assert "2 of 3 rows are learned with their reasoning; in a chat the model reasons (enable_thinking decides)" in told
    assert {wish: each.table.thinking for wish, each in found.items()} == {"auto": 2, True: 3, False: 0}
    assert {each.table.unthought for each in found.values()} == {0}
    learned = {
        wish: [renderer.plain([i for i, t in zip(e.ids, e.is_target, strict=True) if t]) for e in each.samples.examples]
        for wish, each in found.items()
    }
    full = f"<think>\n{THOUGHT}\n</think>\n\n答。<|im_end|>"
    assert learned == {
        "auto": [full, full, "答。<|im_end|>"],
        True: [full, full, "<think>\n\n</think>\n\n答。<|im_end|>"],
        False: ["答。<|im_end|>"] * 3,
    }


def test_reasoning_without_a_place_is_counted(tiny_folder: Path) -> None:
    talk = Conversation((Message("user", "问"), Message("assistant", "答。", reasoning=THOUGHT)), 7)
    for wish, unthought in (("auto", 1), (True, 0), (False, 0)):
        made = Maker(tiny_folder, SampleSettings(None, 500, "split", wish))([(talk, ""), (talk, "")])
        assert (made.counts.kept, made.counts.unthought, made.counts.thinking) == (2, 2 * unthought, 0)


def test_a_row_that_the_template_does_not_take_is_a_bad_row(tiny_folder: Path, tmp_path: Path) -> None:
    folder = with_template(tiny_folder, tmp_path, GEMMA, ("<bos>", "<start_of_turn>", "<end_of_turn>"))
    good = (Message("user", "问"), Message("assistant", "答。"))
    talks = [Conversation((Message("system", "甲"), *good), 3), Conversation(good, 4), Conversation(good[::-1], 5)]
    made = Maker(folder, SampleSettings(None, 500, "split"))([(talk, "甲.json") for talk in talks])
    assert (made.counts.read, made.counts.kept, made.counts.bad, len(made.samples)) == (3, 1, 2, 1)
    assert [(problem.file, problem.line) for problem in made.problems] == [("甲.json", 3), ("甲.json", 5)]
    assert "System role not supported" in made.problems[0].what.en


@pytest.mark.parametrize(("length", "ungreeted"), [(20, 0), (400, 1)])
@pytest.mark.parametrize("long_turns", [False, True])
def test_a_greeting_that_is_too_long_is_counted_and_told(
    tmp_path: Path, ready: Callable[..., Prepared], length: int, ungreeted: int, long_turns: bool
) -> None:
    """The row is over max_length and parted; a greeting that leaves room for a turn stays before the first."""
    turns = [("user", "谁种的柳树？"), ("assistant", "是老艄公种的。" * (24 if long_turns else 3))] * 3
    talk = [("assistant", "好" * length), *turns]
    path = tmp_path / "开场.jsonl"
    row = {"messages": [{"role": role, "content": content} for role, content in talk]}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    found = ready(str(path), max_length=220)
    assert not found.problems
    assert (found.table.kept, found.table.split, found.table.ungreeted) == (1, 1, ungreeted)
    greeted = [c.messages[0].role == "assistant" for c in found.samples.conversations]
    assert greeted == sorted(greeted, reverse=True)
    assert any(greeted) != bool(ungreeted) and not all(greeted)
    assert not any(m.learn for c in found.samples.conversations for m in c.messages[:1] if m.role == "assistant")
    told = [note.en for note in found.notes if "greeting of 1 rows is too long for max_length" in note.en]
    assert len(told) == ungreeted


def test_the_last_answer_may_be_context_where_only_the_last_can_be_learned(thinker: Path) -> None:
    talk = tuple(Message(role, f"{role}{t}。") for t in range(2) for role in ("user", "assistant"))
    last_is_context = Conversation((*talk[:-1], replace(talk[-1], learn=False)), 4)
    maker = Maker(thinker, SampleSettings(None, 500, "split"))
    made = maker([(last_is_context, ""), (Conversation(talk, 5), "")])
    assert (made.counts.read, made.counts.kept, made.counts.bad, len(made.samples)) == (2, 2, 0, 3)
    assert len(maker([(Conversation(talk[:2], 4), "")]).samples) == 1


def test_many_rows_in_several_processes_are_the_same(
    ready: Callable[..., Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, rows(300))
    alone = list(ready(path).samples.examples)
    monkeypatch.setattr(tokenized, "ROWS_WITHOUT_PROCESSES", 32)
    monkeypatch.setattr(tokenized, "ROWS_AT_A_TIME", 16)
    spread = ready(path, system=" ").samples
    assert list(ready(path).samples.examples) == alone
    assert [c.line for c in spread.conversations] == [c.line for c in ready(path).samples.conversations]
    assert len(spread) == 300


def test_rows_are_made_once_for_the_same_content(
    ready: Callable[..., Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = kept(monkeypatch)
    path = written(tmp_path, rows(5))
    first = list(ready(path).samples.examples)
    assert list(ready(path).samples.examples) == first
    (tmp_path / "另一处").mkdir()
    assert list(ready(written(tmp_path / "另一处", rows(5))).samples.examples) == first
    assert len(made) == 1


@pytest.mark.parametrize(
    "change",
    [{"system": "别的"}, {"max_length": 500}, {"overlong": "drop"}, {"columns": {"output": "output"}}],
    ids=str,
)
def test_whatever_changes_the_ids_makes_them_anew(
    ready: Callable[..., Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    path = written(tmp_path, rows(5))
    ready(path)
    made = kept(monkeypatch)
    ready(path, **change)
    assert len(made) == 1


def test_a_changed_row_template_or_tokenizer_makes_them_anew(
    ready: Callable[..., Prepared], tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, rows(5))
    ready(path)
    made = kept(monkeypatch)
    before = Path(path).stat()
    text = Path(path).read_text(encoding="utf-8").replace("答1。", "嗒1。")
    Path(path).write_text(text, encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # neither size nor time tells it
    assert Path(path).stat().st_size == before.st_size
    assert "嗒1。" in ready(path).samples.conversations[1].messages[1].content
    assert len(made) == 1

    renderer = Renderer(tiny_folder)
    key = tokenized.key_of("c", renderer, SampleSettings(None, 8, "split"), None)
    assert key == tokenized.key_of("c", Renderer(tiny_folder), SampleSettings(None, 8, "split"), None)
    renderer.__dict__["template_sha256"] = "another"
    assert tokenized.key_of("c", renderer, SampleSettings(None, 8, "split"), None) != key


def test_a_long_answer_is_split_and_nothing_of_it_is_lost(ready: Callable[..., Prepared], tmp_path: Path) -> None:
    path = written(tmp_path, [*rows(3), {"instruction": "讲一个故事", "output": LONG}])
    found = ready(path, max_length=100)
    assert (found.table.read, found.table.kept, found.table.dropped, found.table.split) == (4, 4, 0, 1)
    assert len(found.samples) > 4
    assert found.samples.tokens.max() <= 150
    parts = [c for c in found.samples.conversations if c.messages[0].content == "讲一个故事"]
    learned = [m.content for c in parts for m in c.messages if m.role == "assistant" and m.learn]
    assert "".join("".join(learned).split()) == "".join(LONG.split())
    assert learned[-1].endswith("妈妈在等它。")
    assert sorted(found.samples.row_tokens)[-1] > 100
    assert len(found.samples.row_tokens) == 4
    train, held_out = split(found, 2, 0)
    sides = [{c.messages[0].content for c in side.conversations} for side in (train, held_out)]
    assert not sides[0] & sides[1]


@pytest.mark.parametrize("overlong", ["split", "drop"])
def test_a_row_that_cannot_be_split_is_told(ready: Callable[..., Prepared], tmp_path: Path, overlong: str) -> None:
    hopeless = {"instruction": "问一个很长很长的" * 40, "output": "答。"}
    found = ready(written(tmp_path, [*rows(3), hopeless]), max_length=100, overlong=overlong)
    assert (found.table.kept, found.table.too_long, found.table.split) == (3, 1, 0)
    (problem,) = found.problems
    assert "超过 max_length=100" in problem.what.zh
    assert ("没有可以断开的地方" in problem.what.zh) == (overlong == "split")


def test_what_blocks_training_is_told_first(
    ready: Callable[..., Prepared],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tokenized, "MOST_PROBLEMS", 3)
    endless = [{"instruction": f"背第{i}段数", "output": "1" * 500} for i in range(8)]
    (tmp_path / "行").mkdir()
    for name in ("一.json", "二.json"):
        written(tmp_path / "行", [*endless[:4], {"instruction": "问", "output": ""}, *endless[4:], *rows(2)], name)
    found = ready(str(tmp_path / "行"), max_length=64)
    assert (found.table.too_long, found.table.bad) == (16, 2)
    assert [(problem.place.en, problem.blocks) for problem in found.problems] == [
        *(("一.json line 1", True), ("二.json line 1", True), ("一.json line 1", False)),
    ]
    Screen("zh").problems(found.problems, 1)
    assert capsys.readouterr().err.startswith("一.json 第 1 行：第 5 条：output（答案）是空的")
    both = ready((str(tmp_path / "行" / "一.json"), str(tmp_path / "行" / "二.json")), max_length=64)
    assert [problem.blocks for problem in both.problems[:3]] == [True, True, False]


def test_a_long_row_stops_everything_where_that_was_asked(ready: Callable[..., Prepared], tmp_path: Path) -> None:
    path = written(tmp_path, [*rows(3), {"instruction": "讲一个故事", "output": LONG}])
    with pytest.raises(DataError) as told:
        ready(path, max_length=100, overlong="error")
    assert told.value.text.zh.endswith("整行不用（不会截断）；调大 max_length，或把它拆成几行")
    assert not list(tokenized_folders())


def tokenized_folders() -> list[Path]:

    folder = home() / "rows"
    return [each for each in folder.iterdir() if not each.name.startswith(".")] if folder.is_dir() else []


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONGHUA_HOME", str(tmp_path / "童话 home"))


def test_nothing_half_written_stays(
    ready: Callable[..., Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, rows(5))

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokenized, "_write", full)
    with pytest.raises(ResourceError) as told:
        ready(path)
    assert "TONGHUA_HOME" in told.value.text.zh
    assert list((tmp_path / "童话 home" / "rows").iterdir()) == []


def test_what_nobody_uses_any_more_is_forgotten(ready: Callable[..., Prepared], tmp_path: Path) -> None:
    paths = [written(tmp_path, rows(3 + i), f"{i}.json") for i in range(12)]
    ready(paths[0])
    (oldest,) = tokenized_folders()
    os.utime(oldest / "about.json", (1, 1))
    for path in paths[1:]:
        ready(path)
    assert len(tokenized_folders()) == 11
    assert oldest not in tokenized_folders()


def test_the_parts_of_a_long_talk_stay_on_one_side(ready: Callable[..., Prepared], tmp_path: Path) -> None:
    talks = [
        {
            "messages": [
                {"role": r, "content": f"{r}{i}-{t}，这是第{t}轮说的话。"}
                for t in range(5)
                for r in ("user", "assistant")
            ]
        }
        for i in range(10)
    ]
    found = ready(written(tmp_path, talks), max_length=150)
    assert found.table.split == 10
    for seed in range(5):
        train, held_out = split(found, 0.3, seed)
        lines = [{c.messages[0].content.split("-")[0] for c in side.conversations} for side in (train, held_out)]
        assert lines[1]
        assert not lines[0] & lines[1]


def test_another_process_may_be_first(
    ready: Callable[..., Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, rows(5))
    original = tokenized._put

    def late(temporary: Path, folder: Path) -> None:
        shutil.copytree(temporary, folder)
        original(temporary, folder)

    monkeypatch.setattr(tokenized, "_put", late)
    assert len(ready(path).samples) == 5
    assert len(list((tmp_path / "童话 home" / "rows").iterdir())) == 1


def test_named_tokens_are_part_of_the_key(tiny_folder: Path) -> None:
    renderer = Renderer(tiny_folder)
    settings = SampleSettings(None, 8, "split")
    key = tokenized.key_of("c", renderer, settings, None)
    renderer.named_tokens = {**renderer.named_tokens, "bos_token": "<|im_start|>"}
    assert tokenized.key_of("c", renderer, settings, None) != key


def test_every_answer_is_learned_where_the_template_teaches_the_last_alone(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "会想 的模型")
    (folder / "chat_template.jinja").write_text(THINKING, encoding="utf-8")
    talk = Conversation(tuple(Message(role, f"{role}{t}。") for t in range(3) for role in ("user", "assistant")), 4)
    maker = Maker(folder, SampleSettings(None, 500, "split"))
    made = maker([(talk, "")])
    assert (made.counts.read, made.counts.kept, made.counts.split, len(made.samples)) == (1, 1, 0, 3)
    ids = np.frombuffer(made.tokens, np.uint32)
    learned = [
        maker.renderer.decode([int(id - maker_room.TARGET) for id in part if id >= maker_room.TARGET])
        for part in np.split(ids, np.cumsum(made.samples["tokens"])[:-1])
    ]
    assert [text.strip().removeprefix("<think>").strip().removeprefix("</think>").strip() for text in learned] == [
        "assistant0。", "assistant1。", "assistant2。",
    ]  # fmt: skip
    assert set(made.samples["question"]) == {made.samples["question"][0]}


def test_several_files_with_weights(ready: Callable[..., Prepared], tmp_path: Path) -> None:
    one, two = written(tmp_path, rows(40), "一.json"), written(tmp_path, rows(30)[::-1], "二 *2.json")
    found = ready((f"{one}*2.5", two))
    assert found.table.read == len(found.samples) == 70
    assert found.samples.examples[40] == ready(two).samples.examples[0]
    train, held_out = split(found, 0, 0)
    assert len(held_out) == 0
    times = np.bincount(train.order, minlength=70)
    assert set(times[:40]) == {2, 3}
    assert 90 <= times[:40].sum() <= 110
    assert (times[40:] == 1).all()
    assert [train.examples[i] for i in range(3)] == [train.examples[0], *(train.examples[i] for i in (1, 2))]
    assert (split(found, 0, 0)[0].order == train.order).all()


def test_only_the_first_rows_of_each_dataset(
    ready: Callable[..., Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after them is neither learned nor a problem, and is not mistaken for the whole later."""
    long = written(tmp_path, [*rows(5), {"instruction": "坏的"}], "长.json")
    short = written(tmp_path, rows(3), "短.json")
    made = kept(monkeypatch)
    found = ready((long, short), max_samples=4)
    assert (found.table.read, found.table.bad, len(found.samples)) == (7, 0, 7)
    assert [found.samples.conversations[place].line for place in (3, 4)] == [1, 1]
    assert found.notes[0].en == f"{long}: at most 4 rows are used (max_samples)"
    whole = ready((long, short))
    assert (whole.table.read, whole.table.bad, whole.notes) == (9, 1, ())
    assert ready((long, short), max_samples=5).table.read == 8
    assert len(made) == 6
    ready((long, short), max_samples=4)
    assert len(made) == 6


@pytest.mark.parametrize("weight", ["0", "101", "99999999999"])
def test_weights_have_bounds(ready: Callable[..., Prepared], tmp_path: Path, weight: str) -> None:
    path = written(tmp_path, rows(5))
    with pytest.raises(UsageError, match="must be above 0 and at most 100"):
        ready(f"{path}*{weight}")
    assert len(split(ready(f"{path}*0.01"), 0, 0)[0]) == 1


def test_a_problem_names_its_dataset(ready: Callable[..., Prepared], tmp_path: Path) -> None:
    good, bad = written(tmp_path, rows(5), "好.json"), written(tmp_path, [*rows(2), {"instruction": "问"}], "坏.json")
    (problem,) = ready((good, bad)).problems
    assert problem.file == bad
    with pytest.raises(DataError) as told:
        require_usable(ready((good, bad)), named((good, bad)), False)
    assert told.value.text.zh.startswith(f"{good}、{bad} 有 1 行不能用")
    assert f"\n  {bad} 第 " in told.value.text.zh


def test_nobodys_home_is_a_path_like_others(ready: Callable[..., Prepared]) -> None:
    with pytest.raises(DataError, match=r"~nobody-of-that-name/rows\.json"):
        ready("~nobody-of-that-name/rows.json")


def test_a_weight_below_one_leaves_out() -> None:
    places = np.arange(1000)
    kept_places = weighted(places, np.full(1000, 0.25), 1)
    assert 200 < len(kept_places) < 300
    assert len(set(kept_places)) == len(kept_places)
    assert (weighted(places, np.ones(1000), 1) == places).all()


def test_a_share_holds_out_so_many_at_most(
    ready: Callable[..., Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ready(written(tmp_path, rows(100)))
    assert len(split(found, 0.5, 0)[1]) == 50
    assert MOST_HELD_OUT >= 1000
    monkeypatch.setattr(preparing, "MOST_HELD_OUT", 20)
    assert len(split(found, 0.5, 0)[1]) == 20
    assert len(split(found, 50, 0)[1]) == 50
