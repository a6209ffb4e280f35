"""Render a conversation to token ids: the same code for training, chat, evaluation and serving.

    Conversation --the grammar of the model's own template--> pieces --its own tokenizer--> Example (ids, is_target)

We know which characters come from the template (there `<|im_start|>` is a control token) and which come from a
message (there it is plain text):

    <|im_start|> user\n  ⟨message of the user⟩  <|im_end|> \n <|im_start|> assistant\n | ⟨answer⟩ <|im_end|> \n
    `--------------------------- never a target ------------------------------------´ `---- target ----´

An answer is tokenized alone, because at inference the prompt before it is tokenized alone too. All other text
is tokenized between control tokens, as the tokenizer does with the whole text. The targets of each answer begin where
the template asks for it, so reasoning and its marks are part of them, and end with the template's own end of turn.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from ..core.example import Example
from ..errors import DataError, RefusedError
from ..text import shown
from .conversation import Conversation, Message, Thinking, with_system
from .grammar import Grammar, Shape, Slot
from .template_file import grammars_of, read_template, unfit
from .thoughts import CLOSED, OPENED, settled, thinks
from .tokenizer_file import read_tokenizer
from .vocabulary import LineBreaks, TextStream, Vocabulary

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")
"""Files of the base model that prompting needs. A run folder keeps a copy of those that the base has."""

MOST_PLANS = 1000
"""Shapes of conversations that are kept: a dataset has a few dozen, and strangers may think of ever new ones."""

_NO_THOUGHT = re.compile(r"^\s*(<think>)?\s*</think>\s*")


class NotTakenError(DataError):
    """The template takes no conversation of this kind; it has no line, because a chat has none."""


class _Piece(NamedTuple):
    """A part of a rendered conversation: text or a control token of the template, or else the slot of a message.

    `message` is the index of the message that a slot holds, or whose answer the template's text belongs to; else -1.
    `asked`: part of an answer that stands where an answer is asked for, so that it can be learned.
    """

    text: str
    control: int | None = None
    slot: Slot | None = None
    message: int = -1
    asked: bool = False


class _Chunk(NamedTuple):
    """What is tokenized at once: text, or a control token with its id."""

    text: str
    control: int | None
    is_target: bool
    message: int


class Renderer:
    """The chat template and the tokenizer of a model, read from its folder.

    `has_thoughts`: the template writes the reasoning of an answer at a place of its own.
    Raises RefusedError if the template or tokenizer is missing, damaged, or breaks the prompt contract.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.tokenizer, self.tokenizer_sha256 = read_tokenizer(folder)
        self.vocabulary = Vocabulary(self.tokenizer)
        added = self.tokenizer.get_added_tokens_decoder()
        self._controls = {token.content: id for id, token in added.items() if token.special}
        self._control = re.compile("|".join(map(re.escape, sorted(self._controls, key=len, reverse=True))) or "(?!)")
        settings = _json(folder / "tokenizer_config.json")
        self.named_tokens = {
            k: v for k in ("bos_token", "eos_token", "unk_token", "pad_token") if (v := _token(settings.get(k)))
        }
        self._template = read_template(folder, settings)
        self._grammars = grammars_of(folder, self._template, self.named_tokens)
        self._plans: dict[tuple[Shape, bool, bool], tuple[_Piece, ...]] = {}
        self.has_thoughts = self._grammars.thoughts
        self._check()

    @cached_property
    def template_sha256(self) -> str:
        """SHA-256 of the text of the chat template, in hex."""
        return hashlib.sha256(self._template.encode()).hexdigest()

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

    def examples(
        self, conversations: Sequence[Conversation], system: str | None, wish: Thinking = "auto"
    ) -> list[Example]:
        """Return ids and targets of each conversation. Targets are the answers with `learn` and their end of turn.

        `system` is put in front of conversations without a system message. `wish` is the setting `enable_thinking`.

        Raises NotTakenError if the template takes no conversation of this kind; ValueError if one has no target.
        """
        talks = [with_system(self.settled(c.messages, wish), system) for c in conversations]
        chunked = [self._chunks(t, False, thinks(t, wish)) for t in talks]
        texts = list({chunk.text: None for chunks in chunked for chunk in chunks if chunk.control is None})
        encoded = dict(zip(texts, self._encoded(texts), strict=True))
        first_user = (next(i for i, m in enumerate(t) if m.role == "user") for t in talks)
        return [_assemble(chunks, encoded, user) for chunks, user in zip(chunked, first_user, strict=True)]

    def settled(self, messages: Sequence[Message], wish: Thinking = "auto") -> tuple[Message, ...]:
        """Return the messages with the reasoning of each answer where this model's template writes it, or without."""
        return settled(messages, wish, self.has_thoughts)

    def prompt(self, messages: Sequence[Message], thinking: bool = False) -> list[int]:
        """Return the ids up to where the answer begins; `thinking` asks for reasoning. Raises as `examples` does."""
        chunks = self._chunks(self.settled(messages), True, thinking)
        return [id for c in chunks for id in ([c.control] if c.control is not None else self._encode(c.text))]

    def lead(self, messages: Sequence[Message], thinking: bool) -> str:
        """Return the start of the answer that the prompt already holds: an opened mark of reasoning, or nothing."""
        shape = _shape(self.settled(messages))
        text = str(self._grammar(shape, thinking).tail(shape, True)[-1])
        opened = text.rfind(OPENED)
        return text[opened:] if opened > text.rfind(CLOSED) else ""

    def count(self, messages: Sequence[Message], wish: Thinking = "auto") -> int:
        """Return the number of tokens of a whole conversation. Raises NotTakenError as `examples` does."""
        talk = self.settled(messages, wish)
        chunks = self._chunks(talk, False, thinks(talk, wish))
        return sum(1 if c.control is not None else len(self._encode(c.text)) for c in chunks)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids without control tokens and without an incomplete character at the end."""
        return self.vocabulary.text(ids)

    def plain(self, ids: Sequence[int]) -> str:
        """Return the text of the ids with control tokens; an incomplete character becomes �."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def marked(self, ids: Sequence[int], mark: str) -> str:
        """Return what `plain` does, with `mark` before each control token."""
        controls = set(self._controls.values())
        runs = [(is_control, list(run)) for is_control, run in groupby(ids, controls.__contains__)]
        return "".join(
            "".join(mark + self.plain([id]) for id in run) if is_control else self.plain(run)
            for is_control, run in runs
        )

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
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise  # a signal that came meanwhile
            raise RefusedError(
                f"{self.folder.name} 里的 tokenizer.json 处理不了文字；请重新下载或恢复这个文件",
                f"tokenizer.json in {self.folder.name} fails on text; fetch or restore this file",
            ) from error
        return [list(encoding.ids) for encoding in made]

    def _grammar(self, shape: Shape, thinking: bool) -> Grammar:
        grammar = self._grammars.of(shape, thinking)
        if grammar.refusal is not None:
            raise _not_taken(*grammar.refusal)
        return grammar

    def _plan(self, shape: Shape, ask: bool, thinking: bool) -> tuple[_Piece, ...]:
        """Return the template's text around each message, cached: conversations of the same shape share it."""
        key = (shape, ask, thinking)
        plan = self._plans.get(key)
        if plan is None:
            grammar = self._grammar(shape, thinking)
            try:
                skeleton = grammar.skeleton(shape, ask)
            except KeyError:
                raise _not_taken("没有这样的角色顺序", "it knows no such order of roles") from None
            plan = tuple(self._planned(skeleton, grammar, shape))
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def _planned(self, skeleton: Sequence[str | Slot], grammar: Grammar, shape: Shape) -> Iterator[_Piece]:
        before, asked = -1, False
        for at in range(0, len(skeleton), 2):
            text, slot = str(skeleton[at]), skeleton[at + 1] if at + 1 < len(skeleton) else None
            assert slot is None or isinstance(slot, Slot)
            if slot is not None and slot.message == before:  # between the reasoning of an answer and its content
                for part, control in self._split(text):
                    yield _Piece(part, control, None, before if shape[before][0] == "assistant" else -1, asked)
                yield _Piece("", None, slot, before, asked)
                continue
            fits = -1 if slot is None or shape[slot.message][0] != "assistant" else _asked(grammar, shape, slot, text)
            kept = text if fits < 0 else text[:fits]
            for part, control in self._split(kept):
                if asked and control is None:
                    raise _no_end()
                yield _Piece(part, control, None, before if asked else -1, asked)
                asked = False
            if asked:
                raise _no_end()
            if slot is not None:
                before, asked = slot.message, fits >= 0
                for part, control in self._split(text[len(kept) :]):
                    yield _Piece(part, control, None, before, asked)
                yield _Piece("", None, slot, before, asked)

    def _chunks(self, messages: Sequence[Message], ask: bool, thinking: bool) -> list[_Chunk]:
        shape = _shape(messages)
        grammar = self._grammar(shape, thinking)
        chunks: list[_Chunk] = []
        for piece in self._plan(shape, ask, thinking):
            own = messages[piece.message] if piece.message >= 0 else None
            text = piece.text
            if piece.slot is not None and own is not None:
                text = grammar.trim(piece.slot)(own.reasoning if piece.slot.is_reasoning else own.content)
            learned = piece.asked and own is not None and own.learn
            if piece.control is not None:
                chunks.append(_Chunk(text, piece.control, learned, -1))
            elif own is None or own.role != "assistant":
                _append_text(chunks, text, piece.message)
            elif chunks and chunks[-1].control is None and chunks[-1].message == piece.message:
                last = chunks.pop()
                chunks.append(last._replace(text=last.text + text))
            else:
                chunks.append(_Chunk(text, None, learned, piece.message))
        return chunks

    def _split(self, text: str) -> Iterator[tuple[str, int | None]]:
        """Yield control tokens with their ids, and the text between them, in order."""
        end = 0
        for match in self._control.finditer(text):
            if match.start() > end:
                yield text[end : match.start()], None
            yield match.group(), self._controls[match.group()]
            end = match.end()
        if end < len(text):
            yield text[end:], None

    @cached_property
    def _end_of_turn(self) -> int:
        shape = _shape(self._probe.messages)
        after = str(self._grammar(shape, False).tail(shape, False)[-1])
        _, first = next(self._split(after), ("", None))
        if first is None:
            raise unfit(self.folder, "回答后面没有结束标记", "it puts no end-of-turn token after an answer")
        return first

    @cached_property
    def _probe(self) -> Conversation:
        """A sample conversation of a kind that the template takes."""
        talk = (Message("system", "甲 a"), Message("user", "乙\nb"), Message("assistant", "丙 c。"))
        refused = self._grammars.of(_shape(talk), False).refusal is not None
        return Conversation(talk[1:] if refused else talk)

    def _check(self) -> None:
        """Check the prompt contract on a sample conversation. Raises RefusedError if the model breaks it."""
        probe = self._probe
        nowhere = unfit(self.folder, "回答的位置无法确定", "it does not show where an answer stands")
        end = self._end_of_turn
        try:
            (example,) = self.examples([probe], None)
            asked = self.prompt(probe.messages[:-1])
        except ValueError as error:
            raise nowhere from error
        except NotTakenError as error:
            raise unfit(self.folder, "对话模板运行不了，" + error.text.zh, error.text.en) from error
        whole = "".join(chunk.text for chunk in self._chunks(probe.messages, False, False))
        if self.plain(example.ids) != whole:
            raise unfit(self.folder, "分词再还原得不到原文", "its tokenizer does not give the text back")
        if list(example.ids[: len(asked)]) != asked:
            raise unfit(self.folder, "训练与对话的提示词不一致", "its prompts differ between training and chat")
        learned = [id for id, wanted in zip(example.ids, example.is_target, strict=True) if wanted]
        if learned[-1] != end or _NO_THOUGHT.sub("", self.decode(learned)).strip() != "丙 c。":
            raise nowhere


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


def _append_text(chunks: list[_Chunk], text: str, message: int) -> None:
    """Append text that is not an answer to the text before it, so that both are tokenized as one."""
    if chunks and chunks[-1].control is None and not chunks[-1].is_target:
        last = chunks.pop()
        chunks.append(last._replace(text=last.text + text, message=max(last.message, message)))
    else:
        chunks.append(_Chunk(text, None, False, message))


def _shape(messages: Sequence[Message]) -> Shape:
    return tuple((message.role, bool(message.reasoning)) for message in messages)


def _asked(grammar: Grammar, shape: Shape, slot: Slot, text: str) -> int:
    """Return how much of `text`, before the first slot of an answer, stands in the prompt that asks for it.

    Returns -1 if this is not the place, or not the way, in which the template asks for this answer: it then stands
    in the history, and maybe without its reasoning.
    """
    upto = shape[: slot.message + 1]
    try:
        alone, prompt = grammar.tail(upto, False), str(grammar.tail(upto[:-1], True)[-1])
    except KeyError:
        return -1
    whole = slot.is_reasoning or not shape[slot.message][1]
    return len(prompt) if whole and alone[0] == text and text.startswith(prompt) else -1


def _not_taken(zh: str, en: str) -> NotTakenError:
    zh, en = shown(zh, 200), shown(en, 200)
    return NotTakenError(
        f"模型的对话模板不接受这段对话：{zh}", f"the model's chat template does not take this conversation: {en}"
    )


def _no_end() -> NotTakenError:
    return NotTakenError(
        "对话模板没有给这里的回答加结束标记，模型会学不会停",
        "the chat template puts no end-of-turn token after an answer here, so the model would not learn to stop",
    )


def _json(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return values if isinstance(values, dict) else {}


def _token(value: Any) -> str | None:
    return value.get("content") if isinstance(value, dict) else value
