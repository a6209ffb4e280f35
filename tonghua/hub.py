"""From the name of a model to the folder that holds it, and to a fingerprint that tells it from others."""

import hashlib
import json
from pathlib import Path

from .errors import UsageError
from .scan import ModelFiles

FINGERPRINT_WINDOWS = 16
FINGERPRINT_BYTES = 65536


def find(model: str | None) -> Path:
    """The folder of `model`, which for now is the path of one. Raises UsageError with the way to get it."""
    if model is None:
        raise UsageError("没有指定模型；请写 model=模型文件夹", "no model is named; write model=FOLDER of a model")
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder.resolve()
    raise UsageError(
        f"找不到模型文件夹 {model}；请先下载这个模型，再写 model=它所在的文件夹",
        f"there is no model folder {model}; fetch the model first, then write model=FOLDER",
    )


def fingerprint(files: ModelFiles) -> dict[str, str]:
    """Which base this is: hashes of config.json, and of each weight file's header and 16 windows of 64 KiB.

    The windows tell a base from its Instruct edition or another revision in a tenth of a second.
    """
    config = hashlib.sha256(json.dumps(files.config, sort_keys=True).encode()).hexdigest()
    weights = hashlib.sha256()
    for file in sorted(files.weight_files):
        size = file.stat().st_size
        weights.update(f"{file.name} {size}".encode())
        with file.open("rb") as opened:
            weights.update(opened.read(8 + int.from_bytes(opened.read(8), "little")))
            for window in range(FINGERPRINT_WINDOWS):
                opened.seek(max(0, size - FINGERPRINT_BYTES) * window // (FINGERPRINT_WINDOWS - 1))
                weights.update(opened.read(FINGERPRINT_BYTES))
    return {"config_sha256": config, "weights_sha256": weights.hexdigest()}
