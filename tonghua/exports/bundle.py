"""Write a run as one zip file: all that `tonghua chat FILE.zip` needs besides the base, and nothing of the rows.

The adapter, the contract, the tokenizer and the settings of talking; README.md, answers to the questions of the proof,
licence, and the sha256 of every file.
"""

import shutil
import zipfile
from pathlib import Path

from ..config.schema import Config
from ..config.yaml_file import to_yaml
from ..evaluation.proof import QUESTIONS, Reference
from ..inference.loading import CheckedRun
from ..models.manifest import sha256_of
from ..prompt.renderer import TOKENIZER_FILES
from ..runs.bundle_file import SUMS, sums
from ..runs.folder import CONTRACT
from ..system.files import replacing, write_files
from ..text import json_text

_PLACE = 1980, 1, 1, 0, 0, 0
"""Time of every file in the zip, so that equal runs give equal files."""


def write_parts(source: CheckedRun, folder: Path, wanted: Reference) -> None:
    """Write the files of a bundle into a folder, without card and sums."""
    run = source.run
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        shutil.copyfile(run.adapter / name, folder / name)
    for name in (CONTRACT, *TOKENIZER_FILES):
        if (run.folder / name).is_file():
            shutil.copyfile(run.folder / name, folder / name)
    answers = [
        {"question": question, "answer": source.renderer.decode(answer)}
        for question, answer in zip(QUESTIONS, wanted.written, strict=True)
    ]
    files = {"config.yaml": to_yaml(_settings(source)), "samples.json": json_text(answers, indent=2) + "\n"}
    write_files(folder, {name: text.encode() for name, text in files.items()})


def _settings(source: CheckedRun) -> Config:
    """Return the settings of the run without the paths of this machine and what only training needs."""
    own = source.run.config
    kept = (
        "system",
        "enable_thinking",
        "max_length",
        "lora_rank",
        "lora_alpha",
        "use_rslora",
        "lora_target",
        "sampling",
    )
    return Config().model_copy(
        update={**{key: getattr(own, key) for key in kept}, "model": source.contract.base["name"]}
    )


def pack(folder: Path, target: Path) -> None:
    """Write all files of a folder, and their sums, as one zip. Raises ResourceError if the disk is full."""
    names = sorted(file.name for file in folder.iterdir())
    listed = sums({name: sha256_of(folder / name) for name in names})
    write_files(folder, {SUMS: listed.encode()})
    size = sum(file.stat().st_size for file in folder.iterdir())
    with replacing(target, size) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in (SUMS, *names):
            told = zipfile.ZipInfo(name, _PLACE)
            told.compress_type = zipfile.ZIP_DEFLATED
            told.external_attr = 0o644 << 16
            with (folder / name).open("rb") as file, packed.open(told, "w", force_zip64=True) as inside:
                shutil.copyfileobj(file, inside)
