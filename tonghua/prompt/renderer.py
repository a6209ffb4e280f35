"""Render a conversation to token ids: the same code for training, chat, evaluation and serving.

    Conversation --the model's own chat template--> pieces --the model's own tokenizer--> Example (ids, is_target)

The template renders placeholders instead of the messages. So we know which characters of the result come from
the template (there `<|im_start|>` is a control token) and which come from a message (there it is plain text):

    <|im_start|> user\n  ⟨message of the user⟩  <|im_end|> \n <|im_start|> assistant\n | ⟨answer⟩ <|im_end|> \n
    `--------------------------- never a target ------------------------------------´ `---- target ----´

An answer is tokenized alone, because at inference the prompt before it is tokenized alone too. All other text
is tokenized between control tokens, as the tokenizer does with the whole text. The targets of each answer end
with the template's own end of turn.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from ..core.example import Example
from ..errors import DataError, RefusedError
from ..text import Text
from .conversation import Conversation, Message, Role, with_system
from .template import ChatTemplate, TemplateFaultError
from .vocabulary import LineBreaks, TextStream, Vocabulary

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")
"""Files of the base model that prompting needs. A run folder keeps a copy of those that the base has."""

_HOLDER = re.compile("\U000f0000(\\d+)\U000f0001")


class _TemplatePiece(NamedTuple):
    """A part of a rendered conversation. `message` is the index of the message that it comes from; -1 = the template.

    `control` is the token id if the piece is a control token of the template.
    """

    text: str
    message: int
    control: int | None = None


class _Chunk(NamedTuple):
    """What is tokenized at once: text, or a control token with its id."""

    text: str
    control: int | None
    is_target: bool
    message: int


class Renderer:
    """The chat template and the tokenizer of a model, read from its folder.

    Raises RefusedError if the template or tokenizer is missing, damaged, or breaks the prompt contract.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.tokenizer = _tokenizer(folder)
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.tokenizer.encode_special_tokens = True
        self.vocabulary = Vocabulary(self.tokenizer)
        added = self.tokenizer.get_added_tokens_decoder()
        self._controls = {token.content: id for id, token in added.items() if token.special}
        self._control = re.compile("|".join(map(re.escape, sorted(self._controls, key=len, reverse=True))) or "(?!)")
        settings = _json(folder / "tokenizer_config.json")
        self.named_tokens = {
            k: v for k in ("bos_token", "eos_token", "unk_token", "pad_token") if (v := _token(settings.get(k)))
        }
        self._template = _template(folder, settings)
        self._compiled = _compiled(folder, self._template)
        self._skeletons: dict[tuple[Any, ...], tuple[_TemplatePiece, ...]] = {}
        self._check()

    @cached_property
    def template_sha256(self) -> str:
        """SHA-256 of the text of the chat template, in hex."""
        return hashlib.sha256(self._template.encode()).hexdigest()

    @cached_property
    def tokenizer_sha256(self) -> str:
        """SHA-256 of tokenizer.json, in hex."""
        return hashlib.sha256((self.folder / "tokenizer.json").read_bytes()).hexdigest()

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end an answer: the end of turn first, then the other end tokens in the model's files."""
        ids = [self._end_of_turn]
        ids += (
            [self._controls[self.named_tokens["eos_token"]]]
            if self.named_tokens.get("eos_token") in self._controls
            else []
        )
        others = _json(self.folder / "generation_config.json").get("eos_token_id", [])
        ids += others if isinstance(others, list) else [others]
        return tuple(dict.fromkeys(id for id in ids if isinstance(id, int)))

    def examples(self, conversations: Sequence[Conversation], system: str | None) -> list[Example]:
        """Return ids and targets of each conversation. Targets are the answers with `learn` and their end of turn.

        `system` is put in front of conversations without a system message.

        Raises DataError with the line if the template rejects a conversation or changes its text; ValueError if
        a conversation has no target.
        """
        talks = [with_system(c.messages, system) for c in conversations]
        chunked = [self._chunks(t, False, c.line) for t, c in zip(talks, conversations, strict=True)]
        texts = list({chunk.text: None for chunks in chunked for chunk in chunks if chunk.control is None})
        encoded = dict(zip(texts, self._encoded(texts), strict=True))
        first_user = (next(i for i, m in enumerate(t) if m.role == "user") for t in talks)
        return [_assemble(chunks, encoded, user) for chunks, user in zip(chunked, first_user, strict=True)]

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids up to where the answer begins. Raises DataError as `examples` does."""
        chunks = self._chunks(messages, generate=True, line=0)
        return [id for c in chunks for id in ([c.control] if c.control is not None else self._encode(c.text))]

    def count(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a whole conversation. Raises DataError as `examples` does."""
        return sum(1 if c.control is not None else len(self._encode(c.text)) for c in self._chunks(messages, False, 0))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids without control tokens and without an incomplete character at the end."""
        return self.vocabulary.text(ids)

    def plain(self, ids: Sequence[int]) -> str:
        """Return the text of the ids with control tokens; an incomplete character becomes �."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def text_stream(self) -> TextStream:
        """Return a new stream that decodes ids one at a time; its pieces together are what `decode` returns."""
        return self.vocabulary.stream()

    def breaker_ids(self) -> LineBreaks:
        """Return the ids of all tokens that hold a line break. The DRY penalty counts no repeat across them."""
        return self.vocabulary.line_breaks

    def _encode(self, text: str) -> list[int]:
        return self._encoded([text])[0]

    def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text. Raises RefusedError if the tokenizer fails: its file is at fault, no text is."""
        try:
            made = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except BaseException as error:  # a panic of the library does not derive from Exception
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise RefusedError(
                f"{self.folder.name} 里的 tokenizer.json 处理不了文字；请重新下载或恢复这个文件",
                f"tokenizer.json in {self.folder.name} fails on text; fetch or restore this file",
            ) from error
        return [list(encoding.ids) for encoding in made]

    def _render(self, messages: Sequence[Mapping[str, str]], generate: bool, line: int) -> str:
        try:
            return self._compiled.render(
                messages=messages, add_generation_prompt=generate, enable_thinking=False, **self.named_tokens
            )
        except TemplateFaultError as error:
            where = _where(line)
            raise DataError(
                f"{where.zh}模型的对话模板不接受这段对话：{error}",
                f"{where.en}the model's chat template does not take this conversation: {error}",
            ) from error

    def _skeleton(self, roles: tuple[Role, ...], generate: bool, line: int) -> tuple[_TemplatePiece, ...]:
        """Return the template's text around each message, cached: conversations with the same roles share it."""
        if (roles, generate) not in self._skeletons:
            holders = [{"role": r, "content": f"\U000f0000{i}\U000f0001"} for i, r in enumerate(roles)]
            parts = _HOLDER.split(self._render(holders, generate, line))
            pieces = [
                _TemplatePiece(part, int(part) if i % 2 else -1, None if i % 2 else self._controls.get(part))
                for i, text in enumerate(parts)
                for part in ([text] if i % 2 else self._split(text))
            ]
            self._skeletons[roles, generate] = tuple(pieces)
        return self._skeletons[roles, generate]

    def _pieces(self, messages: Sequence[Message], generate: bool, line: int) -> list[_TemplatePiece]:
        skeleton = self._skeleton(tuple(m.role for m in messages), generate, line)
        filled = [_TemplatePiece(messages[p.message].content, p.message) if p.message >= 0 else p for p in skeleton]
        whole = self._render([{"role": m.role, "content": m.content} for m in messages], generate, line)
        if "".join(p.text for p in filled) == whole:
            return filled
        trimmed = [_TemplatePiece(p.text.strip(), p.message) if p.message >= 0 else p for p in filled]
        if "".join(p.text for p in trimmed) == whole:
            return trimmed
        where = _where(line)
        raise DataError(
            f"{where.zh}模型的对话模板会改写这段文字（例如其中的 <think> 标记）；请去掉这类标记",
            f"{where.en}the model's chat template would rewrite this text (its <think> marks, for instance);"
            " take such marks out",
        )

    def _chunks(self, messages: Sequence[Message], generate: bool, line: int) -> list[_Chunk]:
        chunks: list[_Chunk] = []
        learned = False
        for piece in self._pieces(messages, generate, line):
            if piece.message >= 0 and messages[piece.message].role == "assistant":
                asked_for = "".join(c.text for c in chunks).endswith(self._before_answer)
                learned = asked_for and messages[piece.message].learn
                chunks.append(_Chunk(piece.text, None, learned, piece.message))
            elif piece.message >= 0:
                _append_text(chunks, piece)
            elif piece.control is None:
                _append_text(chunks, piece)
                learned = False
            else:
                chunks.append(_Chunk(piece.text, piece.control, learned, -1))
                learned = False
        return chunks

    def _split(self, text: str) -> Iterator[str]:
        """Yield control tokens and the text between them, in order."""
        end = 0
        for match in self._control.finditer(text):
            if match.start() > end:
                yield text[end : match.start()]
            yield match.group()
            end = match.end()
        if end < len(text):
            yield text[end:]

    @cached_property
    def _before_answer(self) -> str:
        """Text that the template puts before an answer to be generated."""
        ask: tuple[Role, ...] = ("system", "user")
        asked = "".join(p.text for p in self._skeleton(ask, False, 0))
        return "".join(p.text for p in self._skeleton(ask, True, 0)).removeprefix(asked)

    @cached_property
    def _end_of_turn(self) -> int:
        pieces = self._skeleton(("system", "user", "assistant"), False, 0)
        after = [p.text for i, p in enumerate(pieces) if i and pieces[i - 1].message == 2]
        first = next(self._split(after[0]), "") if after else ""
        if first not in self._controls:
            raise _unfit(self.folder, "回答后面没有结束标记", "it puts no end-of-turn token after an answer")
        return self._controls[first]

    def _check(self) -> None:
        """Check the prompt contract on a sample conversation. Raises RefusedError if the model breaks it."""
        probe = Conversation((Message("system", "甲 a"), Message("user", "乙\nb"), Message("assistant", "丙 c。")))
        try:
            (example,) = self.examples([probe], None)
        except DataError as error:
            raise _unfit(self.folder, "对话模板运行不了，" + error.text.zh, error.text.en) from error
        except ValueError as error:
            raise _unfit(self.folder, "回答的位置无法确定", "it does not show where an answer stands") from error
        whole = "".join(p.text for p in self._pieces(probe.messages, False, 0))
        if self.plain(example.ids) != whole:
            raise _unfit(self.folder, "分词再还原得不到原文", "its tokenizer does not give the text back")
        learned = [id for id, wanted in zip(example.ids, example.is_target, strict=True) if wanted]
        if learned[-1] != self._end_of_turn or self.decode(learned) != "丙 c。":
            raise _unfit(self.folder, "回答的位置无法确定", "it does not show where an answer stands")
        if list(example.ids[: example.first_source + 1]) != self.prompt(probe.messages[:2]):
            raise _unfit(self.folder, "训练与对话的提示词不一致", "its prompts differ between training and chat")


def _assemble(chunks: Sequence[_Chunk], encoded: Mapping[str, list[int]], first_user: int) -> Example:
    ids: list[int] = []
    is_target: list[bool] = []
    shared = 0
    for chunk in chunks:
        own = [chunk.control] if chunk.control is not None else encoded[chunk.text]
        if chunk.message == first_user:
            shared = len(ids)
        ids += own
        is_target += [chunk.is_target] * len(own)
    return Example(tuple(ids), tuple(is_target), shared)


def _append_text(chunks: list[_Chunk], piece: _TemplatePiece) -> None:
    """Append text that is not an answer to the text before it, so that both are tokenized as one."""
    if chunks and chunks[-1].control is None and not chunks[-1].is_target:
        last = chunks.pop()
        chunks.append(last._replace(text=last.text + piece.text, message=max(last.message, piece.message)))
    else:
        chunks.append(_Chunk(piece.text, None, False, piece.message))


def _where(line: int) -> Text:
    """Return the start of a message about this line; empty in chat, which has no lines."""
    return Text(f"第 {line} 行：", f"line {line}: ") if line else Text("", "")


def _compiled(folder: Path, template: str) -> ChatTemplate:
    try:
        return ChatTemplate(template)
    except Exception as error:  # the library's parse and compile errors have no common base class
        raise _unfit(folder, f"对话模板写错了（{error}）", f"its chat template is broken ({error})") from error


def _tokenizer(folder: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises no narrower class
        raise RefusedError(
            f"{folder.name} 里的 tokenizer.json 已损坏；请重新下载或恢复这个文件",
            f"tokenizer.json in {folder.name} is damaged; fetch or restore this file",
        ) from error


def _template(folder: Path, settings: Mapping[str, Any]) -> str:
    beside = folder / "chat_template.jinja"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):
        template = next((t["template"] for t in template if t.get("name") == "default"), None)
    if not isinstance(template, str):
        raise _unfit(
            folder,
            "没有对话模板，可能是未经指令微调的底模，请用 Instruct 版",
            "it has no chat template; it may be a base model, take the Instruct edition",
        )
    return template


def _json(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return values if isinstance(values, dict) else {}


def _token(value: Any) -> str | None:
    return value.get("content") if isinstance(value, dict) else value


def _unfit(folder: Path, zh: str, en: str) -> RefusedError:
    return RefusedError(f"模型 {folder.name} 不能用于对话：{zh}", f"model {folder.name} cannot be used for chat: {en}")
