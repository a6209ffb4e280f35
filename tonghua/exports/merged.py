"""Write base + adapter as one model folder, as transformers and vLLM open it.

model.safetensors       W + scale * B A, computed in fp32 and rounded once to the type of the base
config.json             of the base
tokenizer.json ...      of the run
chat_template.jinja     the contract's: with the system prompt of the run
generation_config.json  the stop ids and the sampling of the run
"""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RefusedError
from ..inference.loading import CheckedRun
from ..models.guarded import SIDE_FILE_LIMIT_BYTES, read_object
from ..models.model_config import CONFIG, EMBEDDING
from ..models.safetensors_file import DTYPE_BYTES
from ..models.tensor_rows import Rows, TensorRows
from ..models.vocabulary import GENERATION, TOKENIZER, TOKENIZER_CONFIG
from ..prompt.plain_template import plain_template
from ..prompt.template_file import read_template
from ..system.files import replacing, write_files
from ..text import json_text

TYPES = {"BF16": "bf16", "F16": "f16", "F32": "f32", "F64": "f32"}
"""Name of each type of a weight in a proof."""

_PATHS = ("_name_or_path", "name_or_path")
"""Keys of old files that may hold a path of somebody's machine."""


def merged_type(source: CheckedRun) -> str:
    """Return the type that the weights are saved in: that of the base."""
    return TYPES[source.base.tensors[EMBEDDING].dtype]


def write_merged(source: CheckedRun, folder: Path) -> None:
    """Write the model folder. Raises ResourceError on a full disk."""
    _write_weights(source, folder / "model.safetensors")
    config = {key: value for key, value in source.base.raw_config.items() if key not in _PATHS}
    files = {CONFIG: config, GENERATION: generation(source), TOKENIZER_CONFIG: _settings(source)}
    write_files(folder, {name: (json_text(value, indent=2) + "\n").encode() for name, value in files.items()})
    write_files(folder, {"chat_template.jinja": template_of(source).encode()})
    shutil.copyfile(source.run.folder / TOKENIZER, folder / TOKENIZER)


def template_of(source: CheckedRun) -> str:
    """Return the contract's template; that of the base if it does more than put constant text around messages."""
    try:
        return plain_template(source.renderer, source.contract).jinja()
    except RefusedError:
        return read_template(source.run.folder, _settings(source, whole=True))


def _settings(source: CheckedRun, whole: bool = False) -> dict[str, Any]:
    """Return tokenizer_config.json; without its template and paths unless `whole`."""
    path = source.run.folder / TOKENIZER_CONFIG
    found = read_object(path, SIDE_FILE_LIMIT_BYTES) if path.is_file() else {}
    return {key: value for key, value in found.items() if whole or key not in ("chat_template", *_PATHS)}


def generation(source: CheckedRun) -> dict[str, Any]:
    """Return generation_config.json: where answers end, and how they are drawn; DRY is unknown to transformers."""
    sampling, stops = source.run.config.sampling, list(source.contract.stop_ids)
    pad = source.renderer.named_tokens.get("pad_token")
    found: dict[str, Any] = {"eos_token_id": stops, "do_sample": sampling.temperature > 0}
    if pad is not None:
        found["pad_token_id"] = source.renderer.tokenizer.token_to_id(pad)
    if sampling.temperature > 0:
        found |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
        found |= {"min_p": sampling.min_p}
    return found | {"repetition_penalty": sampling.repetition_penalty, "max_new_tokens": sampling.max_new_tokens}


def _write_weights(source: CheckedRun, target: Path) -> None:
    weights, tensors = TensorRows(source.base, source.adapter), source.base.tensors
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, entry in tensors.items():
        start, end = end, end + math.prod(entry.shape) * DTYPE_BYTES[entry.dtype]
        header[name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [start, end]}
    told = json.dumps(header, separators=(",", ":")).encode()
    told += b" " * (-len(told) % 8)  # the format asks that the data begin at a multiple of 8
    with replacing(target, 8 + len(told) + end) as part, part.open("wb") as file:
        file.write(len(told).to_bytes(8, "little") + told)
        for name, entry in tensors.items():
            for rows in weights.blocks(name):
                file.write(stored(rows, entry.dtype).tobytes())


def stored(rows: Rows, dtype: str) -> NDArray[Any]:
    """Return fp32 values in a type of safetensors, rounded to the nearest, ties to even; bf16 as its bits."""
    if dtype != "BF16":
        return rows.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype])
    bits = np.ascontiguousarray(rows).view(np.uint32)
    # Adds half of what is cut off, and a bit less if the kept part is even. No weight is so large that this overflows.
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype("<u2")
