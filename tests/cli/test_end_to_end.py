"""The whole way through the command line: look at rows, train, talk, compare; on a random model of 3 layers.

`call` runs the command line in this process, `spawn` in one of its own; both give exit code, stdout and stderr.
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import pytest
from command_line import (
    ONE_STEP,
    QUICK,
    ROWS,
    SHORT,
    Called,
    call,
    environment,
    logged,
    settings,
    sha256,
    spawn,
    steps_kept,
    write_rows,
)
from user_files import RUN_FILES

import tonghua
from tonghua.config.load import load
from tonghua.config.schema import Sampling
from tonghua.errors import UsageError
from tonghua.inference.engine import Answer, AnswerPiece, Engine, Pieces
from tonghua.prompt.conversation import Message
from tonghua.text import Text


@dataclass(frozen=True)
class Work:
    """A user's folder with rows and one run in it, made by the real command line with relative paths."""

    folder: Path
    rows: Path
    run: Path
    model: Path
    called: Called


@pytest.fixture(scope="session")
def work(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Work:
    folder = tmp_path_factory.mktemp("我的 童话")
    rows = write_rows(folder / "黛玉 数据.json", ROWS)
    called = spawn(
        "train", "daiyu", f"dataset={rows.name}", f"model={tiny_folder}", *settings(**QUICK), "--json", folder=folder
    )
    assert called.code == 0, called.err
    return Work(folder, rows, folder / called.json["run"], tiny_folder, called)


@pytest.fixture
def train(work: Work, tmp_path: Path) -> Any:
    """Train through Python on the rows of `work`, in a folder of the test's own; the settings lie over QUICK."""

    def run(**values: Any) -> Any:
        given = {"dataset": work.rows, "model": work.model, "output_dir": tmp_path / "结果", **QUICK, **values}
        return tonghua.train(None, **given)

    return run


# tonghua check

CHECK_KEYS = {
    *("read", "kept", "dropped", "problems", "examples"),
    *("mended", "split", "duplicates", "near_duplicates", "repeated_instructions", "leaks", "encoding", "format"),
    *("columns", "tokens", "fix", "kind", "ignored", "remarks", "notes", "histogram", "findings", "advice", "epoch_s"),
}


def test_check_tells_what_training_will_see(work: Work) -> None:
    rows = write_rows(work.folder / "坏 行.json", [*ROWS[:3], {"instruction": "没有答案"}])
    called = call("check", rows, f"model={work.model}", "--json", "system=你是林黛玉。")
    assert called.code == 3
    assert called.out.count("\n") == 1
    found = called.json
    assert set(found) == CHECK_KEYS
    assert (found["read"], found["kept"], found["dropped"]) == (4, 3, 1)
    assert found["problems"] == [
        {
            "line": 1,
            "what": 'row 4: no "output" (the answer), only instruction',
            "mend": 'add "output", or delete the row',
        }
    ]
    assert [set(one) for one in found["examples"]] == [{"ids", "targets", "text"}] * 2
    first = found["examples"][0]
    assert first["text"] == (
        "<|im_start|>system\n你是林黛玉。<|im_end|>\n<|im_start|>user\n请讲一个关于月亮的故事。<|im_end|>\n"
        "<|im_start|>assistant\n从前有一个月亮，天黑了。<|im_end|>\n"
    )
    assert len(first["ids"]) == len(first["targets"])
    assert set(first["targets"]) == {0, 1}


def test_check_of_good_rows_ends_well(work: Work) -> None:
    called = call("check", f"dataset={work.rows}", f"model={work.model}")
    assert (called.code, called.out) == (0, "")
    assert "⟦从前有一个月亮，天黑了。<|im_end|>⟧" in called.err


def test_check_is_a_doctor(work: Work, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "病 行.json", [*ROWS, ROWS[0], {**ROWS[1], "output": "好\u200b的，知道了。"}])
    before = rows.read_bytes()
    out, page = tmp_path / "改好.json", tmp_path / "检查 报告.html"
    called = call("check", rows, f"model={work.model}", "--fix", out, "--html", page, "--json", language="zh")
    assert called.code == 0
    found = called.json
    assert (found["duplicates"], found["repeated_instructions"], found["mended"]) == (1, 2, 1)
    assert {one["kind"] for one in found["findings"]} >= {"duplicates", "invisible_characters", "missing_system"}
    assert found["fix"]["written"] == len(ROWS) + 1
    assert found["tokens"]["per_epoch"] > 0
    assert found["epoch_s"] > 0
    assert rows.read_bytes() == before
    mended = json.loads(out.read_text(encoding="utf-8"))
    assert mended == [*ROWS, {**ROWS[1], "output": "好的，知道了。"}]
    assert '<html lang="zh' in page.read_text(encoding="utf-8")
    assert "· 1 条与前面某一条完全相同（第 13 条）；删掉多余的，免得模型只会背这几句\n" in called.err
    again = call("check", rows, f"model={work.model}", "--html", page, language="zh")
    assert (again.code, again.out) == (2, "")
    assert again.err.splitlines()[-1] == f"{page} 已经有了；要覆盖请加 --force，或换一个文件"


def test_answers_on_both_sides_are_told(work: Work, tmp_path: Path) -> None:
    answer = "很久很久以前，森林里住着一只会唱歌的小狐狸。"
    learned = write_rows(tmp_path / "学.json", [*ROWS, {"instruction": "讲个故事", "output": answer}])
    held = write_rows(tmp_path / "考.json", [*ROWS[:1], {"instruction": "再讲一个", "output": answer}])
    called = call("check", learned, f"eval_dataset={held}", f"model={work.model}", "--json")
    assert called.json["leaks"] == 2
    apart = write_rows(tmp_path / "另考.json", [{"instruction": "再讲一个", "output": "天亮了，公鸡叫了起来。"}])
    assert call("check", learned, f"eval_dataset={apart}", f"model={work.model}", "--json").json["leaks"] == 0


def test_columns_are_found_and_told(work: Work, tmp_path: Path) -> None:
    path = tmp_path / "中文 列.csv"
    lines = ["问题,回答", *(f"{row['instruction']},{row['output']}" for row in ROWS)]
    path.write_bytes("\n".join(lines).encode("gb18030"))
    called = call("check", path, f"model={work.model}", "--json")
    assert called.code == 0
    assert (called.json["encoding"], called.json["columns"]) == ("gb18030", [{"instruction": "问题", "output": "回答"}])
    trained = call("train", f"dataset={path}", f"model={work.model}", *settings(**ONE_STEP), folder=tmp_path)
    assert trained.code == 0
    assert "columns: instruction <- 问题, output <- 回答" in trained.err


def test_check_looks_at_one_dataset(work: Work) -> None:
    for named in (f"dataset=[{work.rows},{work.rows}*2]", f"{work.rows},{work.rows}*2"):
        called = call("check", named, f"model={work.model}", language="zh")
        assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)
        assert called.err.startswith("check 一次看一份数据，这里写了 2 份；请逐个来")


def test_a_comma_in_the_name_of_a_file_stays_in_it(work: Work, tmp_path: Path) -> None:
    path = tmp_path / "甲,乙 [1].json"
    path.write_text(json.dumps(ROWS, ensure_ascii=False), encoding="utf-8")
    called = call("check", path, f"model={work.model}", "--json")
    assert (called.code, called.json["read"]) == (0, len(ROWS))


def test_validation_rows_have_no_weight(train: Any, work: Work) -> None:
    with pytest.raises(UsageError, match="validation rows are seen once"):
        train(eval_dataset=f"{work.rows}*2")


def test_a_story_longer_than_max_length_is_learned_to_its_end(train: Any, work: Work, tmp_path: Path) -> None:
    story = "从前有一只小熊。\n\n它走进了森林。\n\n天黑了，它回家了。\n\n妈妈在等它。"
    rows = write_rows(tmp_path / "长.json", [*ROWS, {"instruction": "讲一个长故事", "output": story}])
    result = train(dataset=rows, max_length=90, max_steps=1)
    assert result.steps == 1
    found = call("check", rows, f"model={work.model}", "max_length=90", "--json").json
    assert (found["split"], found["dropped"], found["tokens"]["longer"]) == (1, 0, 1)


# tonghua train


def test_train_prints_one_object(work: Work) -> None:
    assert work.called.out.count("\n") == 1
    found = work.called.json
    assert set(found) == {
        "run", "steps", "samples", "train_loss", "heldout_loss", "samples_per_s", "peak_memory_gb",
        "trainable_parameters",
    }  # fmt: skip
    assert (found["steps"], found["samples"]) == (6, 18)
    assert found["train_loss"] > 0
    assert found["heldout_loss"] > 0
    assert found["samples_per_s"] > 0
    assert 0.05 < found["peak_memory_gb"] < 20
    hidden, kv, wide, rank, layers = 64, 32, 96, 8, 3
    inputs_and_outputs = 2 * (hidden + hidden) + 2 * (hidden + kv) + 3 * (hidden + wide)
    assert found["trainable_parameters"] == layers * rank * inputs_and_outputs


def test_a_run_folder_holds_exactly_this(work: Work) -> None:
    files = {path.relative_to(work.run).as_posix() for path in work.run.rglob("*") if path.is_file()}
    inside = {"adapter_model.safetensors", "adapter_config.json", "state.safetensors", "state.json", "MANIFEST.json"}
    assert files == {
        *RUN_FILES,
        *(f"checkpoints/step-{step:06d}/{name}" for step in (0, 3, 6) for name in inside),
    }
    assert work.run.parent == work.folder / "runs"
    assert work.run.name.startswith("daiyu-")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert sha256(work.run / name) == sha256(work.model / name)


def test_manifests_are_true(work: Work) -> None:
    for step in (3, 6):
        folder = work.run / "checkpoints" / f"step-{step:06d}"
        manifest = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))
        assert manifest["step"] == step
        assert manifest["files"] == {
            name: {"size": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
            for name in ("adapter_model.safetensors", "adapter_config.json", "state.safetensors", "state.json")
        }


def test_the_contract_names_what_the_run_needs(work: Work) -> None:
    found = json.loads((work.run / "contract.json").read_text(encoding="utf-8"))
    assert found["system"] == load("daiyu").config.system
    assert (found["persona"], found["join"]) == ("daiyu", "\n")
    assert found["tokenizer_sha256"] == sha256(work.run / "tokenizer.json")
    assert found["template_sha256"] == sha256(work.run / "chat_template.jinja")
    assert found["base"]["name"] == work.model.name


def test_the_config_of_a_run_runs_again_from_elsewhere(work: Work, tmp_path: Path) -> None:
    called = call("train", work.run / "config.yaml", "max_steps=1", "--json", f"output_dir={tmp_path}", folder=tmp_path)
    assert called.code == 0, called.err
    assert called.json["steps"] == 1
    assert logged(called.json["run"], "loss") == logged(work.run, "loss")[:1]
    kept = load(Path(called.json["run"]) / "config.yaml").config
    asked = load(work.run / "config.yaml").config
    changed = {"max_steps": 1, "output_dir": str(tmp_path)}
    assert kept == asked.model_copy(update=changed)


def test_the_same_seed_gives_the_same_bits(train: Any) -> None:
    first, again, other = train(seed=1), train(seed=1), train(seed=2)
    adapters = [sha256(Path(one.run) / "adapter_model.safetensors") for one in (first, again, other)]
    assert adapters[0] == adapters[1] != adapters[2]
    for key in ("loss", "grad_norm", "heldout_loss"):
        assert logged(first.run, key) == logged(again.run, key) != logged(other.run, key)


@pytest.mark.parametrize(
    "way",
    [
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8},
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 16},
        {"tokens_per_micro_batch": 8},
        {"tokens_per_micro_batch": 4096},
    ],
    ids=["2x8", "1x16", "8 tokens", "4096 tokens"],
)
def test_how_a_step_is_cut_changes_nothing(work: Work, train: Any, plainly: Any, way: dict[str, int]) -> None:
    found = train(**{"per_device_train_batch_size": 16, "num_train_epochs": 4, **way})
    assert found.steps == plainly.steps == 4
    assert logged(found.run, "loss") == pytest.approx(logged(plainly.run, "loss"), abs=1e-5)
    assert logged(found.run, "heldout_loss") == pytest.approx(logged(plainly.run, "heldout_loss"), abs=1e-5)


@pytest.fixture(scope="session")
def plainly(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Steps of 16 samples, the default way."""
    values = {**QUICK, "per_device_train_batch_size": 16, "num_train_epochs": 4}
    return tonghua.train(
        None, dataset=work.rows, model=work.model, output_dir=tmp_path_factory.mktemp("plain"), **values
    )


def test_the_size_of_a_step_does_matter(train: Any, plainly: Any) -> None:
    """Negative control of the comparison above."""
    found = train(per_device_train_batch_size=8, num_train_epochs=2)
    assert found.steps == 4
    assert logged(found.run, "loss") != pytest.approx(logged(plainly.run, "loss"), abs=1e-3)


def test_recomputing_activations_changes_nothing(train: Any) -> None:
    kept, recomputed = train(gradient_checkpointing=False), train(gradient_checkpointing=True)
    assert logged(kept.run, "loss") == logged(recomputed.run, "loss")
    assert sha256(Path(kept.run) / "adapter_model.safetensors") == sha256(
        Path(recomputed.run) / "adapter_model.safetensors"
    )


def test_every_row_is_learned_once_an_epoch(train: Any) -> None:
    found = train(val_size=1, num_train_epochs=3)
    samples, targets = logged(found.run, "samples"), logged(found.run, "targets")
    assert samples == [4, 4, 3] * 3
    epochs = [sum(targets[start : start + 3]) for start in (0, 3, 6)]
    assert len(set(epochs)) == 1
    assert targets[:3] != targets[3:6], "the order changes with the epoch"
    assert logged(found.run, "epoch")[-1] == 3


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ({"num_train_epochs": 2}, 6),
        ({"num_train_epochs": 2, "max_steps": 4}, 4),
        ({"num_train_epochs": 1, "max_steps": 100}, 3),
        ({"num_train_epochs": 0.4}, 2),
    ],
    ids=["epochs", "fewer steps", "more steps", "part of an epoch"],
)
def test_epochs_and_steps(train: Any, values: dict[str, Any], steps: int) -> None:
    found = train(**values)
    assert found.steps == steps == len(logged(found.run, "loss"))
    assert steps in steps_kept(Path(found.run))


@pytest.fixture(scope="session")
def overfitted(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """60 steps of all of 8 rows, with 3 other rows held out, which get worse in the end."""
    rows = write_rows(tmp_path_factory.mktemp("八 行") / "八.json", ROWS[:8])
    held = write_rows(rows.with_name("三.json"), ROWS[8:])
    return tonghua.train(
        None,
        dataset=rows,
        eval_dataset=held,
        model=work.model,
        output_dir=rows.parent / "runs",
        num_train_epochs=60,
        per_device_train_batch_size=8,
        learning_rate=0.02,
        lora_rank=16,
        save_total_limit=2,
        dtype="float32",
        device="cpu",
    )


def test_the_best_adapter_is_at_the_root(overfitted: Any) -> None:
    run = Path(overfitted.run)
    losses = logged(run, "heldout_loss")[1:]
    best = losses.index(min(losses)) + 1
    assert best < 60, "the held-out loss never rose"
    assert overfitted.heldout_loss == min(losses)
    assert steps_kept(run) == [best, 60]
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert sha256(run / name) == sha256(run / "checkpoints" / f"step-{best:06d}" / name)
    last = run / "checkpoints" / "step-000060" / "adapter_model.safetensors"
    assert sha256(run / "adapter_model.safetensors") != sha256(last)


def test_what_is_learned_is_told(work: Work, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "八.json", ROWS[:8])
    values = {**QUICK, "val_size": 0, "num_train_epochs": 60, "per_device_train_batch_size": 8, "lora_rank": 16}
    found = tonghua.train(
        None, dataset=rows, model=work.model, output_dir=tmp_path / "runs", **{**values, "learning_rate": 0.02}
    )
    losses = logged(found.run, "loss")
    assert losses[-1] < 0.1 < 3 < losses[0]
    assert found.heldout_loss is None
    assert sha256(Path(found.run) / "adapter_model.safetensors") == sha256(
        Path(found.run) / "checkpoints" / "step-000060" / "adapter_model.safetensors"
    )
    teller = tonghua.load(found.run)
    greedy = {"temperature": 0, "repetition_penalty": 1, "dry_multiplier": 0, "max_new_tokens": 60}
    assert [teller.tell(row["instruction"], **greedy) for row in (ROWS[0], ROWS[4])] == [
        ROWS[0]["output"],
        ROWS[4]["output"],
    ]


@pytest.mark.parametrize("limit", [2, 4])
def test_only_so_many_checkpoints_stay(train: Any, limit: int) -> None:
    found = train(num_train_epochs=6, save_total_limit=limit, learning_rate=1e-4)
    kept = steps_kept(Path(found.run))
    assert len(kept) == limit
    assert kept[-1] == 18


DOCUMENTED = {
    "lora_dropout": 0.1,
    "gradient_checkpointing": "true",
    "optim": "paged_adamw_8bit",
    "lr_scheduler_type": "linear",
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 8,
    "num_train_epochs": 1,
}


@pytest.mark.parametrize("recipe", ["daiyu", "fairytale", "qa", "zhenhuan"])
def test_each_recipe_trains_with_the_values_of_the_tutorials(work: Work, tmp_path: Path, recipe: str) -> None:
    given = settings(dataset=work.rows, model=work.model, output_dir=tmp_path, **DOCUMENTED)
    called = call("train", recipe, *given, "sampling.max_new_tokens=8", "--json")
    assert called.code == 0, called.err
    kept = load(Path(called.json["run"]) / "config.yaml").config
    assert (kept.lora_dropout, kept.gradient_checkpointing, kept.lr_scheduler_type) == (0.1, True, "linear")
    assert (kept.samples_per_step, called.json["steps"]) == (16, 1)
    assert kept.system == load(recipe).config.system
    assert "note: optim need not be set" in called.err


def test_dropout_is_part_of_training_and_not_of_answers(work: Work, train: Any) -> None:
    """With dropout the losses differ from those without, and the held-out loss is measured without it."""
    with_, without = (train(lora_dropout=p, num_train_epochs=1) for p in (0.5, 0.0))
    assert logged(with_.run, "loss")[0] == pytest.approx(logged(without.run, "loss")[0], abs=1e-6)
    assert logged(with_.run, "loss")[1:] != pytest.approx(logged(without.run, "loss")[1:], abs=1e-6)
    teller = tonghua.load(with_.run)
    again = [teller.tell("你好", max_new_tokens=8, seed=1) for _ in range(2)]
    assert again[0] == again[1]


# tonghua chat


def chatted(called: Called) -> list[dict[str, Any]]:
    return [json.loads(line) for line in called.out.splitlines() if line.startswith('{"text"')]


def test_chat_answers_one_prompt(work: Work) -> None:
    called = call("chat", work.run, "--prompt", "你好", "--json", *SHORT)
    assert called.code == 0, called.err
    assert called.out.count("\n") == 1
    assert set(called.json) == {"text", "stop", "tokens", "prompt_tokens", "tokens_per_s", "first_token_s"}
    assert called.json["stop"] in ("stop", "length")
    assert 1 <= called.json["tokens"] <= 8
    plain = call("chat", work.run, "--prompt", "你好", *SHORT)
    assert plain.out == called.json["text"] + "\n"
    piped = call("chat", work.run, "--prompt", "-", *SHORT, stdin="你好")
    assert piped.out == plain.out


def test_chat_takes_the_newest_run_of_a_folder(work: Work) -> None:
    named = call("chat", work.run, "--prompt", "你好", *SHORT)
    newest = call("chat", "--prompt", "你好", *SHORT, folder=work.folder)
    by_name = call("chat", work.run.name, "--prompt", "你好", *SHORT, folder=work.folder)
    elsewhere = call("chat", "--prompt", "你好", *SHORT, f"output_dir={work.folder / 'runs'}")
    assert named.out == newest.out == by_name.out == elsewhere.out
    assert f"the newest run: {Path('runs') / work.run.name}\n" in newest.err


def test_in_chat_a_seed_is_that_of_the_answers(work: Work) -> None:
    given = ("chat", work.run, "--prompt", "你好", "max_new_tokens=8", "dtype=float32", "seed=3")
    assert len({call(*given).out for _ in range(3)}) == 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[list[Message], Sampling]]]:
    """What the engine was asked, and how it was to answer; it answers 好 instead of writing."""
    seen: list[tuple[list[Message], Sampling]] = []

    def stream(
        self: Engine, messages: Sequence[Message], sampling: Sampling, tuned: bool = True, likeliest: int | None = None
    ) -> Pieces:
        seen.append((list(messages), sampling))
        yield AnswerPiece(0, "好", False)
        yield Answer("好", "stop", 2, 30, 0.1, 10.0)

    monkeypatch.setattr(Engine, "stream", stream)
    yield seen


@pytest.mark.parametrize(
    "end", ["exit\n", "quit\n", "EXIT\n", "退出\n", ""], ids=["exit", "quit", "EXIT", "退出", "EOF"]
)
def test_a_chat_goes_on_until_its_end(work: Work, asked: list[Any], end: str) -> None:
    after = "不该问到\n" if end else ""
    called = call("chat", work.run, stdin=f"你好\n\n   \n讲故事\nclear\n月亮\n{end}{after}")
    assert (called.code, called.out) == (0, "好\n好\n好\n")
    user, answer = Message("user", "你好"), Message("assistant", "好")
    assert [messages for messages, _ in asked] == [
        [user],
        [user, answer, Message("user", "讲故事")],
        [Message("user", "月亮")],
    ]


def test_a_real_chat_through_a_pipe(work: Work) -> None:
    called = spawn("chat", *SHORT, "--json", folder=work.folder, stdin="你好\n月亮\nclear\n你好\n".encode())
    assert called.code == 0, called.err
    answers = [one["text"] for one in chatted(called)]
    assert len(answers) == 3
    assert answers[0] == answers[2]
    assert "daiyu" in called.err


def test_bytes_that_are_no_text_do_not_end_a_chat(work: Work) -> None:
    called = spawn("chat", *SHORT, "--json", folder=work.folder, stdin=b"\xff\xfe\n\xe4\xbd\xa0\xe5\xa5\xbd\n")
    assert "Traceback" not in called.err
    assert called.code == 0
    assert len(chatted(called)) >= 1


STYLES = {
    "varied": {"temperature": 0.85, "top_p": 0.95},
    "steady": {"temperature": 0.55, "repetition_penalty": 1.2},
    "long": {"max_new_tokens": 1536},
    "short": {"max_new_tokens": 512},
}


@pytest.mark.parametrize("style", STYLES)
def test_a_style_changes_how_answers_are_drawn(work: Work, asked: list[Any], style: str) -> None:
    own = load("daiyu").config.sampling
    call("chat", work.run, "--prompt", "你好")
    call("chat", work.run, "--prompt", "你好", "--style", style)
    call("chat", work.run, "--prompt", "你好", "--style", style, "temperature=0.1", "--top-p", "0.5")
    drawn = [sampling for _, sampling in asked]
    assert drawn[0] == own
    assert drawn[1] == own.model_copy(update=STYLES[style])
    assert drawn[2] == own.model_copy(update={**STYLES[style], "temperature": 0.1, "top_p": 0.5})


def test_an_unknown_style_is_refused(work: Work) -> None:
    called = call("chat", work.run, "--prompt", "你好", "--style", "wild")
    assert (called.code, called.out) == (2, "")
    assert "varied" in called.err


def test_the_model_may_have_another_name_in_chat(work: Work, tmp_path: Path) -> None:
    """Whatever name `train` takes for the model, `chat` takes too and does not pass over."""
    for name in ("model", "base_model", "model_name_or_path"):
        called = call("chat", work.run, "--prompt", "你好", *SHORT, f"{name}={tmp_path / 'nowhere'}")
        assert called.code == 2, name
        assert "nowhere" in called.err


# tonghua eval


def test_eval_compares_on_what_was_held_out(work: Work) -> None:
    called = call("eval", work.run, "--json", "dtype=float32", "--generate", 0)
    assert called.code == 0, called.err
    assert called.out.count("\n") == 1
    found = called.json
    assert set(found) == {
        *("data", "loss", "sense", "endings", "knowledge", "generated", "answers", "verdict"),
    }
    loss = found["loss"]
    assert set(loss) == {"base", "tuned", "delta", "interval", "items", "rows", "targets", "bits_per_char"}
    assert (found["data"], loss["rows"], found["generated"], found["answers"]) == (None, 3, {}, [])
    before, *after = logged(work.run, "heldout_loss")
    assert loss["base"] == pytest.approx(before, abs=1e-5)
    assert loss["tuned"] == pytest.approx(min(after), abs=1e-5)
    assert loss["delta"] == pytest.approx(min(after) - before, abs=1e-5)
    low, high = loss["interval"]
    assert low <= loss["delta"] <= high < 0
    # Three rows are too few for a verdict, whatever their interval says.
    assert found["verdict"]["lines"] == {
        **{"loss": "too few", "sense": "not measured", "endings": "not measured"},
        "knowledge": found["verdict"]["lines"]["knowledge"],
    }
    assert found["verdict"]["lines"]["knowledge"] in ("gained", "same", "lost")
    assert "too few to tell  closer to your rows" in called.err
    assert json.loads((work.run / "evaluation.json").read_text(encoding="utf-8")) == found
    assert found["verdict"]["headline"]["en"] in (work.run / "report.html").read_text(encoding="utf-8")


def test_eval_takes_other_rows_and_lets_both_answer(work: Work, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "新 数据.json", ROWS[4:9])
    called = call("eval", work.run, "--json", "--data", rows, "--generate", 2, *SHORT)
    assert called.code == 0, called.err
    found = called.json
    assert (found["loss"]["rows"], found["data"]) == (5, str(rows))
    measures = {"stop_rate", "ends_complete", "rep4", "chars", "clause_length", "dialogue_share"}
    assert {name: set(values) for name, values in found["generated"].items()} == {"base": measures, "tuned": measures}
    assert [one["prompt"] for one in found["answers"]] == [row["instruction"] for row in ROWS[4:6]]
    assert [set(one) for one in found["answers"]] == [{"prompt", "base", "tuned", "ended"}] * 2
    targets, nll = found["loss"]["targets"], found["loss"]["tuned"]
    characters = sum(len(row["output"].replace(" ", "")) for row in ROWS[4:9])
    assert found["loss"]["bits_per_char"]["tuned"] == pytest.approx(targets * nll / math.log(2) / characters)


def test_eval_shows_that_overfitting_pays_on_its_own_rows_alone(overfitted: Any, work: Work) -> None:
    held = call("eval", overfitted.run, "--json", "dtype=float32", "--generate", 0).json
    assert held["loss"]["tuned"] == pytest.approx(overfitted.heldout_loss, abs=1e-5)


# Python


def test_train_and_talk_from_python(work: Work, train: Any) -> None:
    found = train(max_steps=1, run_name="小说家")
    assert Path(found.run).name.startswith("小说家-")
    teller = tonghua.load(found.run)
    sampling = Sampling(max_new_tokens=8, seed=3)
    text = teller.tell("你好", max_new_tokens=8, seed=3)
    assert text == teller.tell("你好", max_new_tokens=8, seed=3)
    *pieces, answer = teller.stream([Message("user", "你好")], sampling)
    assert isinstance(answer, Answer)
    assert "".join(piece.text for piece in pieces if isinstance(piece, AnswerPiece)) == answer.text == text
    newest = tonghua.load(output_dir=Path(found.run).parent)
    assert newest.run.folder == Path(found.run)


def test_base_and_tuned_in_turn(work: Work) -> None:
    """Two answers written piece by piece at the same time are those written one after the other."""
    teller = tonghua.load(work.run)
    drawn: dict[str, Any] = {"max_new_tokens": 12, "seed": 3, "temperature": 2.0}
    base, tuned = (teller.tell("你好", tuned=tuned, **drawn) for tuned in (False, True))
    assert base != tuned
    both = zip_longest(teller.pieces("你好", tuned=False, **drawn), teller.pieces("你好", **drawn), fillvalue="")
    assert ["".join(each) for each in zip(*both, strict=True)] == [base, tuned]


def test_what_was_said_before_counts(work: Work) -> None:
    teller = tonghua.load(work.run)
    drawn: dict[str, Any] = {"max_new_tokens": 8, "seed": 3}
    said = [{"role": "user", "content": "你是谁？"}, {"role": "assistant", "content": "我是黛玉。"}]
    parts = [{**each, "content": [{"type": "text", "text": each["content"]}]} for each in said]
    assert teller.tell("然后呢？", history=said, **drawn) == teller.tell("然后呢？", history=parts, **drawn)
    messages = [Message("user", "你是谁？"), Message("assistant", "我是黛玉。"), Message("user", "然后呢？")]
    sampling = teller.run.config.sampling.model_copy(update=drawn)
    *_, answer = teller.stream(messages, sampling)
    assert isinstance(answer, Answer)
    assert answer.text == teller.tell("然后呢？", history=said, **drawn)


def test_mistakes_in_python_are_told_at_once(work: Work) -> None:
    teller = tonghua.load(work.run)
    wrong_role, no_content = {"role": "bot", "content": "好"}, {"role": "user"}
    for history in ([{"role": "system", "content": "你是海盗"}], [wrong_role], [no_content]):
        with pytest.raises(UsageError, match="history"):
            teller.pieces("你好", history=history)
    for wrong in ({"temperature": 99}, {"temprature": 1}, {"learning_rate": 1}):
        with pytest.raises(UsageError):
            teller.pieces("你好", **wrong)


def test_the_public_names_stay_what_they_are(work: Work) -> None:
    """No module of the package takes the place of a function of the same name once it is imported."""
    for _ in range(2):
        assert tonghua.download(str(work.model)) == work.model.resolve()
    assert not {name for name in tonghua.__all__ if (Path(tonghua.__file__).parent / f"{name}.py").exists()}


# The command line itself


def test_the_old_names_of_verbs_work(work: Work, tmp_path: Path) -> None:
    given = settings(**{**ONE_STEP, "dataset": work.rows, "model": work.model, "output_dir": tmp_path})
    called = call("sft", "zhenhuan", *given, "--json")
    assert called.code == 0, called.err
    answer = call("infer", called.json["run"], "--prompt", "你好", *SHORT, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["tokens"] >= 1


def test_settings_may_be_written_as_options(work: Work, tmp_path: Path) -> None:
    called = call(
        "train", "qa", "--dataset", work.rows, "--model", work.model, f"--output-dir={tmp_path}", "--lr", "0.003",
        "--max-steps", "1", "--json", "--val-size", "0", "sampling.max_new_tokens=8",
    )  # fmt: skip
    assert called.code == 0, called.err
    kept = load(Path(called.json["run"]) / "config.yaml").config
    assert (kept.learning_rate, kept.max_steps, kept.val_size) == (0.003, 1, 0)


@pytest.mark.parametrize(("language", "words"), [("zh", "训练完成："), ("en", "done: "), ("zh_CN.UTF-8", "训练完成：")])
def test_the_language_follows_the_variable(work: Work, tmp_path: Path, language: str, words: str) -> None:
    given = settings(**{**ONE_STEP, "dataset": work.rows, "model": work.model, "output_dir": tmp_path})
    called = call("train", *given, language=language)
    assert words in called.err
    assert called.out == ""


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TONGHUA_LANG": "zh"}, "看一看数据"),
        # Not LC_ALL: under a locale that is not installed Python itself cannot read a path with Chinese in it.
        ({"TONGHUA_LANG": "", "LC_MESSAGES": "zh_TW.UTF-8"}, "看一看数据"),
        ({"TONGHUA_LANG": "en", "LANG": "zh_CN.UTF-8"}, "Look at rows"),
    ],
    ids=["ours", "the shell's", "ours first"],
)
def test_help_is_in_the_language_too(tmp_path: Path, variables: dict[str, str], words: str) -> None:
    called = spawn("--help", folder=tmp_path, **variables)
    assert called.code == 0
    assert words in called.out
    assert [verb for verb in ("check", "train", "chat", "eval") if verb not in called.out] == []
    assert "sft" not in called.out


@pytest.mark.parametrize("verb", ["check", "train", "chat", "eval", "sft", "infer"])
def test_every_verb_has_help(verb: str) -> None:
    called = call(verb, "--help")
    assert (called.code, called.err) == (0, "")
    assert "--json" in called.out


def test_help_loads_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['tonghua', '--help']\n"
        "from tonghua.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'tokenizers', 'safetensors', 'pydantic', 'jinja2', 'transformers'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, env=environment(), timeout=60, check=True
    )
    assert done.stdout.decode("utf-8").splitlines()[-1] == "loaded: []"


def not_on_one_line(commands: str) -> list[str]:
    """Lines that are cut short, or wider than 80 columns (a Chinese character has two)."""

    def columns(line: str) -> int:
        return sum(2 if east_asian_width(character) in "WF" else 1 for character in line)

    return [line for line in commands.splitlines() if line.endswith("...") or columns(line) > 80]


@pytest.mark.parametrize("language", Text._fields)
def test_each_verb_is_told_on_one_line(tmp_path: Path, language: str) -> None:
    shown = spawn("--help", folder=tmp_path, TONGHUA_LANG=language).out.split("Commands:\n")[1]
    verbs = [line.split()[0] for line in shown.splitlines() if line]
    assert verbs == [
        *("demo", "check", "train", "plan", "chat", "serve", "eval", "report", "merge", "export"),
        *("runs", "watch", "download", "models", "rows", "doctor"),
    ]
    assert not_on_one_line(shown) == []


def test_a_line_too_long_is_seen() -> None:
    assert not_on_one_line("故" * 40) == []
    assert not_on_one_line("故" * 40 + "a") == ["故" * 40 + "a"]
    assert not_on_one_line("Look at\n  your...") == ["  your..."]


def test_the_version_is_told() -> None:
    called = call("--version")
    assert (called.code, called.out) == (0, tonghua.__version__ + "\n")


def test_without_a_verb_there_is_help() -> None:
    called = call()
    assert "check" in called.out + called.err
    assert called.code in (0, 2)
