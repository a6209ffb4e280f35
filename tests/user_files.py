"""Files as users have them: rows that tests write, the files of a run, and the message for pickled weights."""

import json
from pathlib import Path

from tonghua.text import Text

RUN_FILES = (
    "adapter_model.safetensors",
    "adapter_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "contract.json",
    "prompt.jinja",
    "config.yaml",
    "facts.json",
    "metrics.jsonl",
    "evaluation.json",
    "result.json",
    "run.lock",
    "samples.jsonl",
    "report.html",
    "loss.png",
)
"""Files directly in a run folder; `test_end_to_end` compares them with a real run."""

ONLY_A_PICKLE = Text(
    "pytorch_model.bin：权重只有 pickle 格式，打开它可能会运行别人的代码，所以没有打开；"
    "请下载 safetensors 版本（model.safetensors）",
    "pytorch_model.bin: the weights come only as a pickle, which can run code when opened, so it was left closed; "
    "get the safetensors edition (model.safetensors)",
)


def written(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file into the folder and return its path. Text becomes UTF-8; line ends stay as they are."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def alpaca(*pairs: tuple[str, str]) -> str:
    """Return JSON Lines in Alpaca format for pairs (question, answer)."""
    return "".join(
        json.dumps({"instruction": question, "output": answer}, ensure_ascii=False) + "\n" for question, answer in pairs
    )
