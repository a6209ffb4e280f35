"""What does a file cost that was made to do harm? `tonghua check` on each: exit code, seconds, memory and what it says.

    python benchmarks/harmful_files.py                       # all; each is made anew in a folder of its own
    python benchmarks/harmful_files.py parquet-dictionary template-squares

Memory is the peak of the process and its children together. A run over --memory-gb or --seconds is killed and told.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import report

import tonghua

TINY = Path(tonghua.__file__).parent / "tiny"

HARMLESS = '{"instruction": "灯灭了怎么办？", "output": "再点上就是。"}\n' * 8

TEMPLATES = {
    "template-batches": "{{ [1]|batch(1000000000, 0)|list }}",
    "template-squares": "{% set n=namespace(n=10) %}{% for i in range(40) %}{% set n.n=n.n*n.n %}{% endfor %}",
    "template-doubling": "{% set n=namespace(s='ab') %}{% for i in range(40) %}{% set n.s=n.s~n.s %}{% endfor %}",
    "template-loops": "{% for a in range(9999) %}" * 3 + "{% endfor %}" * 3,
    "template-padding": "{{ 'a'.center(999999999) }}",
    "template-nesting": "{% set n=namespace(l=[1]) %}{% for i in range(60) %}{% set n.l=[n.l]*2 %}{% endfor %}{{n.l}}",
}

REPLACING = {"type": "Replace", "pattern": {"String": "灯"}, "content": "灯" * 10}
PATTERN = {"type": "Split", "pattern": {"Regex": "((.*)*)*灯x"}, "behavior": "Isolated", "invert": False}

TOKENIZERS: Mapping[str, dict[str, Any]] = {
    "tokenizer-replacing": {"normalizer": {"type": "Sequence", "normalizers": [REPLACING] * 10}},
    "tokenizer-pattern": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [PATTERN]}},
}

TEXTS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "json-brackets": ("rows.json", lambda: "[" * 900_000),
    "json-digits": ("rows.json", lambda: '[{"instruction": "q", "output": ' + "9" * 900_000 + "}]"),
    "json-empty-rows": ("rows.json", lambda: "[{}" + ",{}" * 300_000 + "]"),
    "json-50,000-keys": ("rows.jsonl", lambda: json.dumps({f"k{i}": "v" for i in range(50_000)} | json_row()) + "\n"),
    "csv-columns": ("rows.csv", lambda: "instruction,output" + ",x" * 400_000 + "\n1,2\n"),
    "csv-open-quote": ("rows.csv", lambda: 'instruction,output\n"' + "a" * 900_000),
}


class Cost(NamedTuple):
    exit_code: int
    seconds: float
    peak_bytes: int
    said: str


def json_row() -> dict[str, str]:
    row: dict[str, str] = json.loads(HARMLESS.splitlines()[0])
    return row


def text_file(name: str, folder: Path) -> Path:
    file, text = TEXTS[name]
    (folder / file).write_text(text(), encoding="utf-8")
    return folder / file


def parquet_file(name: str, folder: Path) -> Path:
    import pyarrow
    from pyarrow import parquet

    columns = {
        "parquet-dictionary": lambda: {
            "instruction": pyarrow.array(["灯" * 3_000_000] * 1000).dictionary_encode(),
            "output": ["a"] * 1000,
        },
        "parquet-nulls": lambda: {"instruction": ["q"], "output": ["a"], "history": [[None] * 20_000_000]},
        "parquet-cell": lambda: {"instruction": ["灯" * 60_000_000], "output": ["a"]},
    }
    parquet.write_table(pyarrow.table(columns[name]()), folder / "rows.parquet", compression="zstd")
    return folder / "rows.parquet"


def zip_file(name: str, folder: Path) -> Path:
    with (
        zipfile.ZipFile(folder / "rows.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("rows.csv", "w") as rows,
    ):
        rows.write(b"instruction,output\n")
        for _ in range(500):
            rows.write(b"a,b\n" * 25_000)
    return folder / "rows.zip"


def many_texts(name: str, folder: Path) -> Path:
    for number in range(20_000):
        story = "".join(chr(0x4E00 + number * 7 % 9000 + i * i % 900) for i in range(260))
        (folder / f"{number:05d}.txt").write_text(f"灯{number}\n{story}。\n", encoding="utf-8")
    return folder


MAKERS: dict[str, Callable[[str, Path], Path]] = {
    **dict.fromkeys(TEXTS, text_file),
    **dict.fromkeys(("parquet-dictionary", "parquet-nulls", "parquet-cell"), parquet_file),
    "zip-of-rows": zip_file,
    "20,000-texts": many_texts,
}


def model(name: str, folder: Path) -> Path:
    """`tiny`, with the template or the tokenizer of this name."""
    made = folder / "model"
    shutil.copytree(TINY, made)
    (made / "MANIFEST.json").unlink()
    file = "tokenizer_config.json" if name in TEMPLATES else "tokenizer.json"
    change = {"chat_template": TEMPLATES[name]} if name in TEMPLATES else TOKENIZERS[name]
    values = json.loads((made / file).read_text(encoding="utf-8"))
    (made / file).write_text(json.dumps(values | change), encoding="utf-8")
    return made


def made(name: str, folder: Path) -> tuple[list[str], int]:
    """The arguments of `check`, and the bytes of what does the harm."""
    if name in MAKERS:
        (folder / "rows").mkdir()
        given = MAKERS[name](name, folder / "rows")
        files = given.iterdir() if given.is_dir() else [given]
        return [str(given), "model=tiny"], sum(file.stat().st_size for file in files)
    rows = folder / "rows.jsonl"
    rows.write_text(HARMLESS, encoding="utf-8")
    size = len(TEMPLATES[name]) if name in TEMPLATES else len(json.dumps(TOKENIZERS[name]))
    return [str(rows), f"model={model(name, folder)}"], size


def cost(arguments: list[str], home: Path, most_bytes: int, most_s: float) -> Cost:
    """Run `tonghua check` with these arguments, within these bounds."""
    command = [sys.executable, "-m", "tonghua", "check", *arguments]
    environment = os.environ | {"TONGHUA_HOME": str(home), "TONGHUA_LANG": "en"}
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    said: list[bytes] = []
    assert child.stdout is not None
    reader = threading.Thread(target=lambda read=child.stdout.read: said.append(read()))
    reader.start()
    begun, peak_bytes, verdict = time.perf_counter(), 0, ""
    while child.poll() is None:
        family = []
        with suppress(psutil.Error):
            process = psutil.Process(child.pid)
            family = [process, *process.children(recursive=True)]
        now_bytes = 0
        for each in family:
            with suppress(psutil.Error):
                now_bytes += each.memory_info().rss
        peak_bytes = max(peak_bytes, now_bytes)
        verdict = "killed: memory" if now_bytes > most_bytes else verdict
        verdict = "killed: time" if time.perf_counter() - begun > most_s else verdict
        for each in family if verdict else ():
            with suppress(psutil.Error):
                each.kill()
        time.sleep(0.01)
    seconds = time.perf_counter() - begun
    reader.join()
    lines = b"".join(said).decode("utf-8", "replace").split("\n")
    return Cost(child.returncode, seconds, peak_bytes, verdict or next((line for line in lines if line.strip()), ""))


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("names", nargs="*", metavar="name", help="which of them (default: all)")
    made.add_argument("--memory-gb", type=float, default=3, help="kill a run above this (default: %(default)s)")
    made.add_argument("--seconds", type=float, default=60, help="kill a run after this (default: %(default)s)")
    return made


def main() -> None:
    options = parser().parse_args()
    known = [*TEMPLATES, *TOKENIZERS, *MAKERS]
    if unknown := [name for name in options.names if name not in known]:
        sys.exit(f"{unknown[0]} is none of {', '.join(known)}")
    figures: dict[str, Any] = {}
    report.header("file", "bytes", "exit", "s", "GB", "says")
    for name in options.names or known:
        with tempfile.TemporaryDirectory() as folder:
            arguments, size = made(name, Path(folder))
            found = cost(arguments, Path(folder) / "home", int(options.memory_gb * 1e9), options.seconds)
            said = found.said.replace(folder + os.sep, "").replace("|", "/")[:90]
        report.row(name, f"{size:,}", found.exit_code, f"{found.seconds:.1f}", f"{found.peak_bytes / 1e9:.2f}", said)
        figures[name] = {"bytes": size, **found._asdict()}
    report.finish("harmful_files", {"files": figures})


if __name__ == "__main__":
    main()
