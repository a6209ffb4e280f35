"""The model card of an export, README.md: what it is, what it was made of, how good it is, and what it is not.

Figures, and the card of the character: no row, no answer, no path and no name of a file of rows stands in it.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from ..config.schema import Persona
from ..evaluation.proof import Proof
from ..inference.loading import CheckedRun
from ..runs.record import read_record
from ..text import Text, one_line

Line = tuple[Text, Text]
"""What a line of the table is about, and what it says."""


def card(source: CheckedRun, use: Text, proof: Proof | None) -> str:
    """Return the text of README.md, in English and Chinese; `use` says how this export is opened."""
    described = source.described
    header = ["---", *([f"base_model: {described.base}"] if "/" in described.base else [])]
    header += [f"license: {described.licence}"] if described.licence else []
    header += ["tags:", "- lora", "- tonghua", "---", ""]
    lines = _lines(source, proof)
    parts = [
        "\n".join(header),
        f"# {one_line(source.name)}\n",
        "[中文](#中文)\n",
        "A small language model, taught by LoRA on a set of rows with tonghua.\n",
        _table([(name.en, told.en) for name, told in lines]),
        f"**How to open it**: {use.en}\n",
        f"**Limits**: {_LIMITS.en}\n",
        "## 中文\n",
        "用 tonghua 在一份数据上做 LoRA 训练得到的小语言模型。\n",
        _table([(name.zh, told.zh) for name, told in lines]),
        f"**怎样打开**：{use.zh}\n",
        f"**局限**：{_LIMITS.zh}",
    ]
    return "\n".join(parts) + "\n"


_LIMITS = Text(
    "一个小模型：会学到数据的口吻，也会学到数据里的错；会编造，记不住长对话，不能当作事实、医疗、法律或安全方面的依据。"
    "上面的数字只说明在留出的数据上的差别。基座的许可证和数据自己的许可都适用于它。",
    "a small model learns the manner of its rows, and their mistakes. It makes things up, forgets long conversations,"
    " and is no ground for facts, health, law or safety. The figures speak of held-out rows alone. The licence of the"
    " base and that of the rows hold for it.",
)


def _lines(source: CheckedRun, proof: Proof | None) -> list[Line]:
    record = read_record(source.run.folder)
    described, config = source.described, source.adapter.config
    base = Text(described.base, described.base + (f", {described.licence}" if described.licence else ""))
    if described.licence:
        base = base._replace(zh=f"{described.base}，{described.licence}")
    character = source.contract.card or Persona()
    found: list[Line] = [
        (name, _both(" ".join(told.split("\n"))))
        for name, told in (
            (Text("角色", "character"), character.name),
            (Text("介绍", "portrait"), character.portrait),
        )
        if told
    ]
    found += [
        (Text("基座", "base"), base),
        (
            Text("适配器", "adapter"),
            _both(f"LoRA r={config.r}, scale={config.scale:g}: {', '.join(source.adapter.modules)}"),
        ),
    ]
    facts = record.facts
    if all(isinstance(facts.get(key), int) for key in ("train", "heldout")):
        learned = Text(
            f"学了 {facts['train']} 行，留出 {facts['heldout']} 行",
            f"{facts['train']} rows learned, {facts['heldout']} held out",
        )
        found.append((Text("数据", "data"), learned))
    found += _evaluated(record.evaluation)
    if proof is not None:
        found.append((Text("核对", "proof"), proof.line))
    return found


def _evaluated(evaluation: Mapping[str, Any]) -> list[Line]:
    found: list[Line] = []
    loss = evaluation.get("loss")
    if isinstance(loss, Mapping) and _are_numbers(loss, ("base", "tuned")):
        told = f"{loss['base']:.3f} → {loss['tuned']:.3f}"
        interval = loss.get("interval")
        if isinstance(interval, Sequence) and len(interval) == 2 and all(isinstance(x, float) for x in interval):
            told += f" (95 %: {interval[0]:+.3f} … {interval[1]:+.3f})"
        found.append((Text("留出数据的损失，每 token", "held-out loss, nats a token"), _both(told)))
    for key, name in (
        ("endings", Text("完整收尾的回答", "answers that end whole")),
        ("knowledge", Text("常识题的损失", "loss on common knowledge")),
    ):
        part = evaluation.get(key)
        if isinstance(part, Mapping) and _are_numbers(part, ("base", "tuned")):
            figure = "{:.0%} → {:.0%}" if key == "endings" else "{:.3f} → {:.3f}"
            found.append((name, _both(figure.format(part["base"], part["tuned"]))))
    return found


def _are_numbers(values: Mapping[str, Any], keys: Sequence[str]) -> bool:
    return all(type(values.get(key)) in (int, float) for key in keys)


def _both(told: str) -> Text:
    return Text(told, told)


def _table(lines: Sequence[tuple[str, str]]) -> str:
    # Text of a card stays text: a page that shows the file would take it for HTML.
    rows = [f"| {name} | {html.escape(one_line(told), quote=False).replace('|', '/')} |" for name, told in lines]
    return "\n".join(["| | |", "|---|---|", *rows]) + "\n"
