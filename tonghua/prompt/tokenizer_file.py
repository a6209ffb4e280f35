"""The tokenizer of a model folder, loaded here only after a child process has vetted it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from ..errors import RefusedError
from ..system.bounded import Bounds, OutOfBoundsError
from ..text import Text, shown
from .kept import NotLearnedError, Question, learned

MEMORY_BYTES, MEMORY_PER_BYTE = 300_000_000, 25
CPU_S, BYTES_PER_CPU_S = 3, 2_000_000
"""Bounds of vetting: a part for any file, and a part that grows with its size. 262,000 tokens take half of them."""


def read_tokenizer(folder: Path) -> tuple[Tokenizer, str]:
    """Return the tokenizer in the folder's tokenizer.json, and the SHA-256 of that file in hex.

    It neither pads nor cuts, and control tokens in a text stay text. Raises RefusedError if the file is missing,
    damaged, or of a kind that could take unbounded time or memory.
    """
    path = folder / "tokenizer.json"
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        _vet(path, sha256)
        tokenizer = Tokenizer.from_file(str(path))
    except (NotLearnedError, OutOfBoundsError) as fault:
        reason = Text(*(shown(words, 240) for words in fault.reason))
        raise _refused(folder, f"不能用（{reason.zh}）", f"is unfit ({reason.en})") from None
    except Exception as error:  # the library raises no narrower class
        raise _refused(folder, "已损坏", "is damaged") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer, sha256


def _refused(folder: Path, zh: str, en: str) -> RefusedError:
    name = shown(folder.name, 80)
    return RefusedError(
        f"{name} 里的 tokenizer.json {zh}；请重新下载或恢复这个文件",
        f"tokenizer.json in {name} {en}; fetch or restore this file",
    )


def _vet(path: Path, sha256: str) -> None:
    size_bytes = path.stat().st_size
    bounds = Bounds(
        memory_bytes=MEMORY_BYTES + MEMORY_PER_BYTE * size_bytes,
        cpu_s=CPU_S + size_bytes / BYTES_PER_CPU_S,
        answer_bytes=100_000,
    )
    request = {"path": str(path.absolute())}
    learned(Question("tonghua.prompt.vetting:vetted", sha256, request, bounds), _sound)


def _sound(answer: Mapping[str, Any]) -> bool:
    if answer["fault"] is not None:
        raise NotLearnedError(Text(*answer["fault"]))
    return True
