"""Find the weight files of a model, and compare their tensors with those that config.json asks for.

model.safetensors, or the shards of an index ──► tensors ──► each has its place, its shape and its type
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import PlainValidator

from ..config.fields import NotAllowed
from ..errors import RefusedError
from ..text import Text, shown
from .guarded import SIDE_FILE_LIMIT_BYTES, damaged_file, holds, read_object, refused
from .model_config import CONFIG, EMBEDDING, HEAD, ModelConfig
from .safetensors_file import TensorEntry, read_header, same_content
from .typed import PartNotAllowed, Typed, read_typed

INDEX = "model.safetensors.index.json"

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

FLOAT_TYPES = ("F64", "F32", "F16", "BF16")
"""Types of weights. Others hold codes that need scales to be weights."""

_SHARD_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.safetensors")

# Buffers that older programs saved: tables of RoPE, causal masks and positions. All follow from config.json.
_BUFFER = re.compile(r"(.*\.)?(rotary_emb\.(inv_freq|cos_cached|sin_cached)|self_attn\.(masked_)?bias|position_ids)")


def read_weight_files(folder: Path) -> tuple[tuple[Path, ...], dict[str, TensorEntry]]:
    """Return the weight files of a model folder, and all tensors that their headers declare.

    Raises RefusedError if a file is missing, damaged or unsafe, or if files contradict each other.
    """
    index = folder / INDEX
    single = folder / "model.safetensors"
    placed: dict[str, str] = {}
    if holds(folder, index.name):
        placed = read_index(index)
        names = sorted(set(placed.values()))
        _require_shards(index, names)
        if single.name not in names and holds(folder, single.name):
            raise refused(
                single.name,
                f"与 {index.name} 各是一套权重，分不清该用哪套；请只留一套",
                f"this and {index.name} are two sets of weights; keep only the one that you mean",
            )
    elif holds(folder, single.name):
        names = [single.name]
    else:
        refuse_missing_weights(folder, single.name)
    weight_files = tuple(folder / name for name in names)
    tensors = _merged_headers(weight_files)
    for tensor, name in placed.items():
        if tensor not in tensors or tensors[tensor].file.name != name:
            raise refused(
                name,
                f"{index.name} 说张量 {shown(tensor, 80)} 在这里，其实没有；请重新下载这两个文件",
                f"tensor {shown(tensor, 80)} is not here, although {index.name} says so; fetch both files again",
            )
    return weight_files, tensors


def _merged_headers(weight_files: Iterable[Path]) -> dict[str, TensorEntry]:
    tensors: dict[str, TensorEntry] = {}
    for path in weight_files:
        header = read_header(path)
        if not header:
            raise damaged_file(path, "里面没有张量", "it holds no tensors")
        for name, entry in header.items():
            if name in tensors:
                first = tensors[name].file.name
                raise refused(
                    path.name,
                    f"张量 {shown(name, 80)} 在 {first} 里也有；请重新下载权重",
                    f"tensor {shown(name, 80)} is in {first} too; fetch the weights again",
                )
            tensors[name] = entry
    return tensors


def _placed(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not value:
        raise NotAllowed("应写明每个张量在哪个文件里", "must name the file of each tensor")
    for tensor, name in value.items():
        if not isinstance(name, str) or not _SHARD_NAME.fullmatch(name):
            tensor, name = shown(tensor, 80), shown(name, 80)
            raise PartNotAllowed(
                f"里张量 {tensor} 的文件名“{name}”不是本文件夹里的 .safetensors 文件",
                f'places the tensor {tensor} in "{name}", which is no .safetensors file of this folder',
            )
    return value


class WeightIndex(Typed):
    """The index of the shards: the file of each tensor, directly in the folder."""

    weight_map: Annotated[dict[str, str], PlainValidator(_placed)]


def read_index(path: Path) -> dict[str, str]:
    """Return tensor name to file name. Raises RefusedError if the index is damaged or leads out of the folder."""
    return read_typed(WeightIndex, read_object(path, SIDE_FILE_LIMIT_BYTES), path.name).weight_map


def _require_shards(path: Path, names: Iterable[str]) -> None:
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        more = len(missing) - 1
        raise refused(
            missing[0],
            f"{path.name} 里列了这个文件，但文件夹里没有（另缺 {more} 个）；请继续下载",
            f"listed in {path.name} but not in the folder ({more} more are missing); finish the download",
        )


def refuse_missing_weights(folder: Path, wanted: str) -> NoReturn:
    """Raise RefusedError that says why: shards without their index, only pickles, or no weights at all."""
    names = sorted(entry.name for entry in folder.iterdir())
    pickles = [name for name in names if name.lower().endswith(PICKLE_SUFFIXES)]
    shards = [name for name in names if re.fullmatch(r"model-\d+-of-\d+\.safetensors", name)]
    if shards:
        raise refused(
            INDEX,
            f"有分片 {shards[0]}，却缺少这个索引文件；请把它一起下载",
            f"there is a shard {shards[0]}, but not this index of the shards; fetch it too",
        )
    if pickles:
        raise refused(
            shown(pickles[0], 80),
            f"权重只有 pickle 格式，打开它可能会运行别人的代码，所以没有打开；请下载 safetensors 版本（{wanted}）",
            "the weights come only as a pickle, which can run code when opened, so it was left closed; "
            f"get the safetensors edition ({wanted})",
        )
    raise refused(
        wanted,
        "文件夹里没有这个权重文件；请下载完整的 safetensors 版本",
        "the folder has no such weights; fetch the complete safetensors edition",
    )


def required_tensors(
    config: ModelConfig, found: Mapping[str, TensorEntry]
) -> tuple[dict[str, TensorEntry], bool, tuple[Text, ...]]:
    """Return the tensors that `config` asks for, whether the embedding is the output head, and notes for the user.

    As in transformers 5, a head of its own wins over `tie_word_embeddings`. Raises RefusedError if a tensor is
    missing, has another shape, is no float, or has no place: leaving it out would make another model.
    """
    tied, notes = bool(config.tie_word_embeddings), list[Text]()
    if tied and EMBEDDING in found and HEAD in found and not same_content(found[EMBEDDING], found[HEAD]):
        tied, notes = False, [_own_head()]
    shapes = config.tensor_shapes(tied)
    missing = [name for name in shapes if name not in found]
    if missing:
        name = missing[0]
        raise _unfit(
            f"config.json 要的张量 {name} 不在权重里",
            f"the weights lack the tensor {name} that config.json asks for",
            len(missing),
        )
    for name, shape in shapes.items():
        _require_shape(found[name], name, shape)
    left = [name for name in found if name not in shapes and not _BUFFER.fullmatch(name)]
    strange = [name for name in left if not (tied and name == HEAD)]
    if strange:
        name = shown(strange[0], 80)
        raise _unfit(
            f"{found[strange[0]].file.name} 里的张量 {name} 在这样的模型里没有位置，略去它就成了另一个模型",
            f"the tensor {name} in {found[strange[0]].file.name} has no place in such a model, and without it "
            "this is another model",
            len(strange),
        )
    return {name: found[name] for name in shapes}, tied, tuple(notes)


def _own_head() -> Text:
    return Text(
        f"config.json 写着 tie_word_embeddings，权重里的 {HEAD} 却与词嵌入不同；与 transformers 5 一样，用这个张量",
        f"config.json says tie_word_embeddings, but {HEAD} in the weights differs from the embedding; "
        "like transformers 5, this tensor is used",
    )


def _require_shape(entry: TensorEntry, name: str, shape: tuple[int, ...]) -> None:
    if entry.shape != shape:
        raise _unfit(
            f"张量 {name} 的 shape 是 {list(entry.shape)}，按 config.json 应是 {list(shape)}",
            f"the tensor {name} has the shape {list(entry.shape)}, and by config.json it is {list(shape)}",
        )
    if entry.dtype not in FLOAT_TYPES:
        raise refused(
            entry.file.name,
            f"张量 {name} 的类型是 {entry.dtype}，不是 {'、'.join(FLOAT_TYPES)}；请换成未量化的版本",
            f"the tensor {name} is of the type {entry.dtype}, none of {', '.join(FLOAT_TYPES)}; "
            "take an unquantized edition",
        )


def _unfit(zh: str, en: str, count: int = 1) -> RefusedError:
    more = Text(f"（共 {count} 个）", f" ({count} in all)") if count > 1 else Text("", "")
    return refused(
        CONFIG,
        f"与权重不符：{zh}{more.zh}；请把 config.json 和权重一起重新下载",
        f"it does not fit the weights: {en}{more.en}; fetch config.json and the weights together again",
    )
