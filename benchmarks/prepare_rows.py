"""Preparing very many rows: rate and memory, beside `datasets.map` with the same tokenizer and processes.

    python benchmarks/prepare_rows.py --model qwen2.5-0.5b --rows 1000000 --baseline-rows 100000

Rows of about 280 tokens are made, never the same twice. Three fresh processes: preparing, a second start from what
the first kept, and the baseline: one `datasets.map` over the rows as the usual tutorial writes it (prompt and answer
tokenized, labels masked), with as many processes. With `--baseline-rows 0` there is no baseline.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import report

WORDS = ["月亮", "小熊", "森林", "河边", "妈妈", "星星", "慢慢地", "轻轻地", "走过去", "说道", "故事", "春天", "下雨了"]
SYSTEM = "你是一个优秀的童话故事作家。"


def write_rows(path: Path, count: int) -> None:
    """JSON lines of about 280 tokens each."""
    chance = random.Random(0)  # noqa: S311 - rows for a measurement
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for number in range(count):
            words = chance.choices(WORDS, k=110)
            answer = "".join(word + ("，" if place % 6 else "。") for place, word in enumerate(words, 1))
            row = {"instruction": f"写第{number}个故事，主角是{words[0]}。", "input": "", "output": answer}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def measured(command: list[str], home: Path) -> dict[str, float]:
    """What the process prints last, and the most memory that it and its children held at one time."""
    environment = {**os.environ, "TONGHUA_HOME": str(home), "HF_HOME": str(home), "HF_DATASETS_OFFLINE": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    peaks = [0.0, 0.0]

    def watch() -> None:
        while process.poll() is None:
            try:
                own = psutil.Process(process.pid)
                held = own.memory_info().rss
                everyone = held + sum(child.memory_info().rss for child in own.children(recursive=True))
            except psutil.Error:
                continue
            peaks[:] = max(peaks[0], held), max(peaks[1], everyone)
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, _ = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{command[1:3]} ended with {process.returncode}")
    return {**json.loads(out.splitlines()[-1]), "peak_gb": peaks[0] / 1e9, "peak_with_children_gb": peaks[1] / 1e9}


def prepare(model: str, rows: str) -> None:
    """Run by itself: from the command to the first step's samples."""
    start = time.perf_counter()
    from tonghua.config.schema import Config
    from tonghua.data.samples.prepare import open_model, split
    from tonghua.data.samples.prepare import prepare as prepared

    config = Config(model=model, dataset=rows, system=SYSTEM)
    files, renderer = open_model(model)
    imported = time.perf_counter()
    ready = prepared(config, files, renderer)
    done = time.perf_counter()
    train, _ = split(ready, config.val_size, config.seed)
    first = [train.examples[i] for i in range(16)]
    assert all(example.targets for example in first)
    now = time.perf_counter()
    figures = {"s": done - imported, "to_first_step_s": now - start, "rows": ready.table.read}
    print(json.dumps({**figures, "tokens": float(ready.samples.tokens.mean())}))


def baseline(model: str, rows: str) -> None:
    from datasets import load_dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)

    def process(row: dict[str, str]) -> dict[str, list[int]]:
        prompt = tokenizer(
            f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{row['instruction']}{row['input']}<|im_end|>\n"
            "<|im_start|>assistant\n",
            add_special_tokens=False,
        )
        answer = tokenizer(f"{row['output']}<|im_end|>\n", add_special_tokens=False)
        ids = prompt["input_ids"] + answer["input_ids"]
        labels = [-100] * len(prompt["input_ids"]) + answer["input_ids"]
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}

    data = load_dataset("json", data_files=rows, split="train")
    start = time.perf_counter()
    made = data.map(process, remove_columns=data.column_names, num_proc=os.cpu_count())
    print(json.dumps({"s": time.perf_counter() - start, "rows": len(made)}))


def tell(found: dict[str, dict[str, Any]]) -> None:
    report.header("", "rows/s", "s", "to the first step, s", "peak GB", "with its workers")
    for label, row in found.items():
        first = f"{row['to_first_step_s']:.2f}" if "to_first_step_s" in row else ""
        rate, memory = f"{row['rows'] / row['s']:.0f}", (row["peak_gb"], row["peak_with_children_gb"])
        report.row(label, rate, f"{row['s']:.2f}", first, *(f"{each:.2f}" for each in memory))


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("--model", required=True, help="name or folder of the model")
    made.add_argument("--rows", type=int, default=1_000_000, help="rows to prepare (default: %(default)s)")
    made.add_argument("--baseline-rows", type=int, default=50_000, help="rows of the baseline (default: %(default)s)")
    made.add_argument("--baseline-python", default=sys.executable, help="interpreter with the extra `benchmark`")
    return made


def main() -> None:
    options = parser().parse_args()
    if options.baseline_rows:
        report.require(options.baseline_python, "transformers", "datasets")
    # Here, so that the processes that are timed import all of tonghua themselves, and the baseline none of it.
    from tonghua import download

    model = str(download(options.model))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.jsonl", options.rows)
        ours = [sys.executable, __file__, "--prepare", model, str(folder / "rows.jsonl")]
        found = {"prepare": measured(ours, folder), "second start": measured(ours, folder)}
        if options.baseline_rows:
            write_rows(folder / "fewer.jsonl", options.baseline_rows)
            theirs = [options.baseline_python, __file__, "--baseline", model, str(folder / "fewer.jsonl")]
            found["datasets.map"] = measured(theirs, folder)
    tell(found)
    report.finish("prepare_rows", {"runs": found})


if __name__ == "__main__":
    if sys.argv[1:2] in (["--prepare"], ["--baseline"]):
        {"--prepare": prepare, "--baseline": baseline}[sys.argv[1]](*sys.argv[2:])
    else:
        main()
