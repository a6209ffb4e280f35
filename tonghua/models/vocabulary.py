"""Compare the files of a model that name tokens: tokenizer.json, its settings, and config.json.

tokenizer.json           text -> id       every id must have a row of the embedding
tokenizer_config.json    role -> text     the texts must be tokens
generation_config.json   role -> id       the ids must have a row
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator

from ..config.fields import NotAllowed
from ..text import Text, shown
from .guarded import SIDE_FILE_LIMIT_BYTES, holds, read_object, refused
from .model_config import CONFIG, ModelConfig
from .typed import ID_LIMIT, TokenIds, Typed, is_whole, read_typed

TOKENIZER = "tokenizer.json"

TOKENIZER_CONFIG = "tokenizer_config.json"

GENERATION = "generation_config.json"

TOKENIZER_LIMIT_BYTES = 200_000_000
"""Maximum size of tokenizer.json, in bytes."""


def _vocabulary(value: Any) -> dict[str, int]:
    """Return token to id, from an object, or from a list of [token, score] as in Unigram."""
    if isinstance(value, dict) and all(is_whole(each, 0, ID_LIMIT) for each in value.values()):
        return value
    if isinstance(value, list) and all(isinstance(each, list) and each and isinstance(each[0], str) for each in value):
        return {each[0]: place for place, each in enumerate(value)}
    raise NotAllowed("应是 token 到编号的表", "must map tokens to ids")


def _added(value: Any) -> dict[str, int]:
    """Return token to id, from the objects in `added_tokens`."""
    listed: list[Any] = value if isinstance(value, list) else [None]
    if not all(
        isinstance(each, dict) and isinstance(each.get("content"), str) and is_whole(each.get("id"), 0, ID_LIMIT)
        for each in listed
    ):
        raise NotAllowed("应是一个列表，每一项有 content 和 id", "must be a list of objects with a content and an id")
    return {each["content"]: each["id"] for each in listed}


class TokenizerModel(Typed):
    """`model` of tokenizer.json."""

    vocab: Annotated[dict[str, int], PlainValidator(_vocabulary)]


class TokenizerFile(Typed):
    """The tokens in tokenizer.json and their ids."""

    model: TokenizerModel
    added_tokens: Annotated[dict[str, int], PlainValidator(_added)] = {}  # noqa: RUF012

    @property
    def ids(self) -> dict[str, int]:
        """The id of each token."""
        return {**self.model.vocab, **self.added_tokens}


def _token_text(value: Any) -> str | None:
    text = value.get("content") if isinstance(value, dict) else value
    if text is not None and not (isinstance(text, str) and len(text) <= 1_000):
        raise NotAllowed("应是一个 token 的文字", "must be the text of a token")
    return text


TokenText = Annotated[str | None, PlainValidator(_token_text)]
"""A token in tokenizer_config.json: null, its text, or an object with its text as `content`."""


class TokenizerConfig(Typed):
    """The keys of tokenizer_config.json that prompting reads. `scan.py` checks the chat template."""

    bos_token: TokenText = None
    eos_token: TokenText = None
    unk_token: TokenText = None
    pad_token: TokenText = None
    chat_template: Any = None


class Generation(Typed):
    """The keys of generation_config.json that generating reads."""

    bos_token_id: TokenIds = ()
    eos_token_id: TokenIds = ()
    pad_token_id: TokenIds = ()


def read_tokenizer_config(value: dict[str, Any]) -> TokenizerConfig:
    """Return tokenizer_config.json by its schema. Raises RefusedError."""
    return read_typed(TokenizerConfig, value, TOKENIZER_CONFIG)


def read_generation(value: dict[str, Any]) -> Generation:
    """Return generation_config.json by its schema. Raises RefusedError."""
    return read_typed(Generation, value, GENERATION)


def compare_vocabulary(folder: Path, config: ModelConfig) -> tuple[Text, ...]:
    """Compare the tokens of all files with the rows of the embedding; return what is unusual and harmless.

    More rows than tokens are common: they pad the embedding. Raises RefusedError if a token or a stop id has no row,
    or if the template's first token is unknown.
    """
    ids = read_typed(TokenizerFile, read_object(folder / TOKENIZER, TOKENIZER_LIMIT_BYTES), TOKENIZER).ids
    rows = config.vocab_size
    beyond = [token for token, id in ids.items() if id >= rows]
    if beyond:
        token = shown(beyond[0], 80)
        raise refused(
            TOKENIZER,
            f"token {token} 的编号是 {ids[beyond[0]]}，词嵌入却只有 {rows} 行（config.json 的 vocab_size），"
            f"没有行的 token 有 {len(beyond)} 个；请把它和 config.json、权重一起重新下载；"
            "如果是自己加的 token，请先把词嵌入加大",
            f"the token {token} has the id {ids[beyond[0]]}, but the embedding has {rows} rows (vocab_size in "
            f"config.json); tokens without a row: {len(beyond)}; fetch it, config.json and the weights together again, "
            "or enlarge the embedding if you added tokens",
        )
    return (*_odd_ids(folder, config, rows), *_odd_names(folder, ids))


def _odd_ids(folder: Path, config: ModelConfig, rows: int) -> Iterator[Text]:
    sources: list[tuple[str, ModelConfig | Generation]] = [(CONFIG, config)]
    if holds(folder, GENERATION):
        sources.append((GENERATION, read_generation(read_object(folder / GENERATION, SIDE_FILE_LIMIT_BYTES))))
    for where, source in sources:
        for key in ("eos_token_id", "bos_token_id", "pad_token_id"):
            beyond = [id for id in getattr(source, key) if id >= rows]
            if not beyond:
                continue
            what = Text(
                f"{key} 是 {beyond[0]}，词表却只有 {rows} 个编号", f"{key} is {beyond[0]}, and there are {rows} ids"
            )
            if key == "eos_token_id":
                raise refused(
                    where,
                    f"{what.zh}，回答会停不下来；请把它和 tokenizer.json 一起重新下载",
                    f"{what.en}, so an answer would not end; fetch it and tokenizer.json together again",
                )
            yield Text(f"{where}：{what.zh}；用不到，略去了", f"{where}: {what.en}; it is not used")


def _odd_names(folder: Path, ids: dict[str, int]) -> Iterator[Text]:
    if not holds(folder, TOKENIZER_CONFIG):
        return
    named = read_tokenizer_config(read_object(folder / TOKENIZER_CONFIG, SIDE_FILE_LIMIT_BYTES))
    for key in ("bos_token", "eos_token"):
        token = getattr(named, key)
        if token and token not in ids:
            raise refused(
                TOKENIZER_CONFIG,
                f"{key} 是 {shown(token, 80)}，tokenizer.json 里没有这个 token；请把这两个文件一起重新下载",
                f"{key} is {shown(token, 80)}, which is no token of tokenizer.json; fetch both files together again",
            )
    if named.pad_token and named.pad_token not in ids:
        pad = shown(named.pad_token, 80)
        yield Text(
            f"{TOKENIZER_CONFIG}：pad_token {pad} 不在 tokenizer.json 里；用不到，略去了",
            f"{TOKENIZER_CONFIG}: the pad_token {pad} is not in tokenizer.json; it is not used",
        )
