"""Files as users have them: rows that tests write, what a run holds, and what is said of weights in a pickle."""

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
    "config.yaml",
    "facts.json",
    "metrics.jsonl",
    "result.json",
    "run.lock",
    "samples.jsonl",
    "report.html",
    "loss.png",
)
"""What stands in a run folder itself; `test_end_to_end` holds it against a real one."""

ONLY_A_PICKLE = Text(
    "pytorch_model.bin：权重只有 pickle 格式，打开它可能会运行别人的代码，所以没有打开；"
    "请下载 safetensors 版本（model.safetensors）",
    "pytorch_model.bin: the weights come only as a pickle, which can run code when opened, so it was left closed; "
    "get the safetensors edition (model.safetensors)",
)


def written(folder: Path, name: str, content: str | bytes) -> Path:
    """The file of this name in the folder, or in one inside it; text is UTF-8 without any change of line ends."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def alpaca(*pairs: tuple[str, str]) -> str:
    """JSON Lines of (question, answer)."""
    return "".join(
        json.dumps({"instruction": question, "output": answer}, ensure_ascii=False) + "\n" for question, answer in pairs
    )
