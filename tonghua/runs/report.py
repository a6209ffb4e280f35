"""The report of a run: report.html, one page in both languages.

    RunRecord ──► headline, verdict, stories, charts, facts, diary, events ──report.html.j2──► "<!doctype html>…"

What people look for comes first: whether it got better, and whole stories before and after. Numbers follow.
The page loads nothing and runs nothing: no script, no picture, no font. Two radio buttons and the style sheet switch
the language. The content of rows and answers is always escaped.
"""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ..system.files import quoted, write_atomic
from ..text import Language, Text, duration, shown, visible
from .curves import WORDS, Chart, Series, draw, evenly, smooth, thin
from .record import DiaryAnswer, RunRecord, found, number, text
from .verdict import JUDGED, headline, judge
from .warnings import MOST_MARKS, listed_steps, loss_points, warnings, when

REPORT = "report.html"

MOST_ENTRIES = 12

MOST_PROMPTS = 10

MOST_EVENTS = 200

ANSWER_CHARACTERS = 1500

PROMPT_CHARACTERS = 300

MOST_STORIES, STORIES_OPEN = 12, 3
"""Stories on the page, and how many of them are not folded."""

STORY_CHARACTERS = 8000
"""A story is whole on the page up to this length."""

Named = tuple[Text, Text | str]
"""A row of a table: its name and its value."""


def write_report(record: RunRecord, language: Language = "zh") -> Path:
    """Write report.html into the run folder and return its path; `language` is the one shown first.

    Raises ResourceError if the file cannot be written.
    """
    path = record.folder / REPORT
    write_atomic(path, report_page(record, language).encode())
    return path


def report_page(record: RunRecord, language: Language) -> str:
    """Return a whole HTML document in both languages, to be written as UTF-8; `language` is the one shown first."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_in_both
    )
    template = (resources.files("tonghua.runs") / "report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        t=Text,
        words=WORDS,
        language=language,
        record=record,
        name=shown(record.name),
        called=shown(text(record.contract, "card", "name")),
        portrait=text(record.contract, "card", "portrait"),
        headline=headline(record),
        verdict=judge(record.evaluation) if record.evaluation else None,
        judged=JUDGED,
        stories=_stories(record),
        stories_open=STORIES_OPEN,
        warnings=warnings(record),
        trained=_trained(record),
        data=_data(record),
        losses=_loss_chart(record),
        small_charts=_small_charts(record),
        diary=_diary(record),
        skipped=_skipped(record),
        events=record.events[-MOST_EVENTS:],
        earlier_events=max(0, len(record.events) - MOST_EVENTS),
        state=_state(record),
        kept=_kept(record),
        commands=_commands(record),
    )


def _in_both(value: object) -> str:
    """Return a value as markup: a `Text` in both languages, of which the style sheet shows one."""
    if isinstance(value, Markup):
        return value
    if not isinstance(value, Text):
        return visible(value)
    zh, en = map(visible, value)
    return Markup('<span class="zh" lang="zh-CN">{}</span><span class="en" lang="en">{}</span>').format(zh, en)


def _trained(record: RunRecord) -> list[Named]:
    facts, config = record.facts, record.config
    lines = [
        _line("基座", "base model", text(facts, "base", "name"), _millions(number(facts, "base", "parameters"))),
        _line("从哪里开始", "begun at", *_beginning(facts)),
        _line("数据", "dataset", *_names(found(facts, "dataset"))),
        _line("验证数据", "held-out dataset", *_names(found(facts, "eval_dataset"))),
        _line("新增参数", "trained parameters", *_share(facts)),
    ]
    if config:
        rate = f"{config.learning_rate:g}, {config.lr_scheduler_type}"
        rank = f"r = {config.lora_rank}, alpha = {config.lora_alpha:g}" + ", rsLoRA" * config.use_rslora
        lines += [
            _line("LoRA", "LoRA", rank, *config.lora_modules),
            _line("学习率", "learning rate", rate),
            _line("轮数", "epochs", f"{config.num_train_epochs:g}" if config.max_steps is None else ""),
        ]
    versions, seconds = found(facts, "versions"), sum(step.seconds or 0.0 for step in record.steps)
    pairs = versions.items() if isinstance(versions, Mapping) else ()
    lines += [
        _line("步数 × 每步样本", "steps × samples each", _steps_by_samples(facts)),
        _line("在哪里算", "device", text(facts, "place"), text(facts, "system")),
        _line("版本", "versions", *(f"{name} {version}" for name, version in pairs)),
        _line("开始", "started", _time(text(facts, "started"))),
        _line("结束", "finished", _time(text(record.result, "finished"))),
        _line("训练用时", "time in training", duration(seconds) if seconds else ""),
    ]
    return [line for line in lines if line]


def _line(zh: str, en: str, *values: Text | str) -> Named | None:
    """Return a table row with all non-empty values, or None if there is none."""
    there = [value if isinstance(value, Text) else Text(value, value) for value in values]
    there = [Text(shown(value.zh), shown(value.en)) for value in there if value.zh]
    if not there:
        return None
    return Text(zh, en), Text(" · ".join(each.zh for each in there), " · ".join(each.en for each in there))


def _beginning(facts: Mapping[str, Any]) -> list[Text | str]:
    """Return the adapter that the run began at, and the start of its sha256."""
    path, digest = text(facts, "adapter", "path"), text(facts, "adapter", "sha256")
    return [Text(f"适配器 {path}", f"the adapter {path}"), f"sha256 {digest[:12]}"] if path else []


def _names(values: Any) -> list[str]:
    values = values if isinstance(values, list) else [values]
    return [value for value in values if isinstance(value, str)]


def _millions(parameters: float | None) -> Text:
    if parameters is None:
        return Text("", "")
    return Text(f"{parameters / 1e6:,.0f} M 参数", f"{parameters / 1e6:,.0f} M parameters")


def _share(facts: Mapping[str, Any]) -> list[Text | str]:
    trainable, parameters = number(facts, "trainable"), number(facts, "base", "parameters")
    if trainable is None:
        return []
    size = f"{trainable / 1e6:.2f} M"
    if not parameters:
        return [size]
    percent = f"{100 * trainable / parameters:.2f}"
    return [size, Text(f"相当于基座的 {percent}%", f"{percent} % of the base")]


def _steps_by_samples(facts: Mapping[str, Any]) -> str:
    steps, samples = number(facts, "steps"), number(facts, "samples_per_step")
    return "" if steps is None or samples is None else f"{steps:.0f} × {samples:.0f}"


def _time(written: str) -> str:
    """Turn 2026-11-22T13:50:12+08:00 into 2026-11-22 13:50:12."""
    return written[:19].replace("T", " ")


def _data(record: RunRecord) -> list[tuple[Text, str]]:
    """Return the numbers of rows and tokens that the facts give."""
    names = [
        (("rows", "read"), Text("读到", "read")),
        (("rows", "kept"), Text("可用", "kept")),
        (("rows", "bad"), Text("有问题", "bad")),
        (("rows", "too_long"), Text("过长", "too long")),
        (("rows", "split"), Text("拆成几段", "split")),
        (("train",), Text("用于训练", "to train on")),
        (("heldout",), Text("留作验证", "held out")),
        (("tokens", "mean"), Text("平均 token 数", "mean tokens")),
        (("tokens", "longest"), Text("最长 token 数", "most tokens")),
    ]
    values = [(name, number(record.facts, *keys)) for keys, name in names]
    return [(name, f"{value:,.0f}") for name, value in values if value is not None]


def _loss_chart(record: RunRecord) -> Chart | None:
    losses = loss_points(record)
    heldout = [(each.step, each.loss) for each in record.heldout]
    series = [
        Series(WORDS["train"], "raw", thin(losses)),
        Series(WORDS["smooth"], "smooth", thin(smooth(losses))),
        Series(WORDS["heldout"], "heldout", thin(heldout), dots=True),
    ]
    odd = sorted({event.step for event in record.events} | {step for step, value in losses if value is None})
    return draw(series, 640, 300, from_zero=False, marks=[odd[place] for place in evenly(len(odd), MOST_MARKS)])


def _small_charts(record: RunRecord) -> list[tuple[Text, Chart]]:
    """Return charts of learning rate, speed and memory, if they have values."""
    series = [
        Series(WORDS["rate"], "plain", thin([(step.step, step.learning_rate) for step in record.steps])),
        Series(
            Text("速度（样本/秒）", "speed (samples/s)"),
            "plain",
            thin([(step.step, step.samples_per_s) for step in record.steps]),
        ),
        Series(
            Text("内存（GB）", "memory (GB)"), "plain", thin([(step.step, step.memory_gb) for step in record.steps])
        ),
    ]
    drawn = [(each.name, draw([each], 340, 190, from_zero=True)) for each in series]
    return [(name, chart) for name, chart in drawn if chart]


def _stories(record: RunRecord) -> list[Mapping[str, Any]]:
    """Return for each prompt of the evaluation the whole answers of base and tuned."""
    answers = found(record.evaluation, "answers")
    answers = answers if isinstance(answers, list) else []
    return [
        {"prompt": _cut(text(each, "prompt"), PROMPT_CHARACTERS), "ends": [_told(each, *side) for side in SIDES]}
        for each in answers[:MOST_STORIES]
        if text(each, "prompt")
    ]


SIDES = (("base", Text("训练前", "before")), ("tuned", Text("训练后", "after")))


def _told(answer: Mapping[str, Any], side: str, name: Text) -> Mapping[str, Any]:
    words = text(answer, side)
    more = len(words) - STORY_CHARACTERS
    return {
        "when": name,
        "text": _cut(words, STORY_CHARACTERS),
        "more": _more(more, "evaluation.json"),
        "whole": found(answer, "ended", side) is not False,
    }


def _more(characters: int, name: str) -> Text | None:
    if characters <= 0:
        return None
    return Text(f"还有 {characters} 字，都在 {name} 里", f"{characters} more characters are in {name}")


def _diary(record: RunRecord) -> list[Mapping[str, Any]]:
    """Return for each prompt its first answer, its last, and those between."""
    entries = [record.diary[place] for place in evenly(len(record.diary), MOST_ENTRIES)]
    by_prompt: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        for answer in entry.answers:
            by_prompt.setdefault(answer.prompt, []).append(_shown_answer(entry.step, answer))
    return [
        {
            "prompt": _cut(prompt, PROMPT_CHARACTERS),
            "ends": answers[:1] + answers[1:][-1:],
            "between": answers[1:-1],
        }
        for prompt, answers in list(by_prompt.items())[:MOST_PROMPTS]
    ]


def _shown_answer(step: int, answer: DiaryAnswer) -> Mapping[str, Any]:
    return {
        "when": when(step),
        "text": _cut(answer.text, ANSWER_CHARACTERS),
        "more": _more(len(answer.text) - ANSWER_CHARACTERS, "samples.jsonl"),
        "whole": answer.whole,
    }


def _cut(words: str, most: int) -> str:
    return words if len(words) <= most else words[:most] + "…"


def _skipped(record: RunRecord) -> Text | None:
    """Return a text on skipped steps that no event reports, or None."""
    told = {event.step for event in record.events}
    steps = [step.step for step in record.steps if step.loss is None and step.step not in told]
    if not steps:
        return None
    listed = listed_steps(steps)
    return Text(
        f"有 {len(steps)} 步的损失或梯度不是有限的数，跳过了：第 {listed.zh} 步。",
        f"Steps skipped because the loss or the gradient was not finite: {len(steps)} (step {listed.en}).",
    )


def _state(record: RunRecord) -> Text:
    done, total = record.last_step, record.total_steps
    if record.is_finished:
        return Text(f"已经训练完，共 {done} 步。", f"Training is finished; steps: {done}.")
    if not record.steps:
        return Text("还没有训练过一步。", "No step has been trained yet.")
    of = Text(f"，共 {total} 步", f" of {total}") if total else Text("", "")
    return Text(f"还没有训练完：到第 {done} 步{of.zh}。", f"Training is not finished: it is at step {done}{of.en}.")


def _kept(record: RunRecord) -> Text | None:
    """Return which adapter the folder holds if the held-out loss chose it, else None."""
    best = record.best if record.is_finished else None
    if best is None:
        return None
    return Text(
        f"文件夹里的适配器是验证损失最低的第 {best.step} 步。",
        f"The adapter in the folder is that of step {best.step}, whose held-out loss is the lowest.",
    )


def _commands(record: RunRecord) -> Mapping[str, str]:
    """Return the commands that make sense now, by their use."""
    run = quoted(record.folder)
    commands = {}
    if record.steps and not record.is_finished:
        commands["resume"] = f"tonghua train --resume {run}"
    elif not record.is_finished and record.config:
        commands["again"] = f"tonghua train {quoted(record.folder / 'config.yaml')}"
    if record.contract:
        commands["chat"] = f"tonghua chat {run}"
        commands["eval"] = f"tonghua eval {run}"
        commands["peft"] = (
            "from peft import PeftModel\n"
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            "base = AutoModelForCausalLM.from_pretrained(BASE)\n"
            f"model = PeftModel.from_pretrained(base, {str(record.folder)!r})\n"
            f"tokenizer = AutoTokenizer.from_pretrained({str(record.folder)!r})"
        )
    return commands
