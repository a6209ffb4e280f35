"""A conversation of a user with one or more opened runs, which knows no terminal.

    dialogue = Dialogue([Speaker("黛玉", "daiyu-20260101-120000", teller, sampling), ...])
    for piece in dialogue.ask("这是暹罗进贡的茶叶"): ...        pieces of the answer, then its `Answer`

    what was said              as 黛玉 is prompted           as 甄嬛 is prompted
    user   雪停了没有？        user       雪停了没有？       user       雪停了没有？
    黛玉   还下着呢。          assistant  还下着呢。                    还下着呢。
    甄嬛   那便煮茶罢。        user       那便煮茶罢。       assistant  那便煮茶罢。

Each hears the words of another as the user's: a run has learned to answer one person, under its own system prompt.
"""

import secrets
import unicodedata
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from ..config.load import resampled
from ..config.schema import Persona, Sampling
from ..errors import UsageError
from ..prompt.conversation import JOIN, Message
from ..prompt.thoughts import without_thought
from ..text import json_text, listed
from .engine import Answer
from .teller import Teller

Stream = Generator[str | Answer, None, None]
"""Pieces of text as they come, then the whole answer. Closing it breaks the answer off."""

SEEDS = 2**32
"""Seeds are below this."""

MOST_TURNS = 100
"""Maximum number of answers of a duet."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """One who answers: the name that people see, the name of the run, the opened run, how it draws answers, its card.

    The card is for people alone. Nothing of it enters a prompt: the run was trained without it.
    """

    name: str
    run: str
    teller: Teller
    sampling: Sampling
    card: Persona = field(default_factory=Persona)


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the user, or the speaker of this index, has said. `whole`: the model itself ended it."""

    text: str
    by: int | None = None
    whole: bool = True
    sampling: Sampling | None = None


class Dialogue:
    """What was said, who is there and who answers next. An answer that is broken off stays as far as it came."""

    def __init__(self, speakers: Sequence[Speaker]):
        names = [folded(speaker.name) for speaker in speakers]
        # Two of one name could not be told apart; the name of a run is its own.
        self.speakers = [
            replace(speaker, name=speaker.run) if names.count(folded(speaker.name)) > 1 else speaker
            for speaker in speakers
        ]
        self.at = 0
        self.said: list[Spoken] = []
        self._draws = 0  # how often the last message has been answered again

    @property
    def speaker(self) -> Speaker:
        """The one who answers next."""
        return self.speakers[self.at]

    def ask(self, text: str) -> Stream:
        """Yield the answer to one more message. Raises what `Teller.stream` raises; then nothing is kept."""
        self._draws = 0
        yield from self._answer([*self.said, Spoken(text)], self.at, self.speaker.sampling)

    def retry(self) -> Stream:
        """Return another answer to the last message, drawn with another seed; the old one stays if nothing comes.

        The one who answers next gives it, or in a duet the one whose turn it was. Raises UsageError if there is no
        answer, or if the same would come again.
        """
        last = self._last_answer()
        before = self.said[:-1]
        who = self.at if before[-1].by is None else last.by
        assert who is not None
        sampling = self.speakers[who].sampling
        if sampling.temperature == 0 and last.by == who and last.sampling == sampling:
            raise UsageError(
                "temperature 是 0，重说还是一样的；请先 /设置 temperature=0.7",
                "temperature is 0, and the same answer would come again; first /set temperature=0.7",
            )
        self._draws += 1
        return self._answer(before, who, sampling)

    def duet(self, line: str, turns: int) -> Iterator[tuple[Speaker, Stream]]:
        """Yield who answers and the answer, `turns` times in turn, beginning with the first message of the user.

        Each answer has to be read before the next is asked for. Raises what `Teller.stream` raises.
        """
        self._draws = 0
        for turn in range(turns):
            who = (self.at + turn) % len(self.speakers)
            before = self.said if turn else [*self.said, Spoken(line)]
            yield self.speakers[who], self._answer(before, who, self.speakers[who].sampling)

    def compare(self, text: str | None) -> Iterator[tuple[bool, Stream]]:
        """Return (tuned, answer) of the base and of the run to one more message, with one seed; neither is kept.

        Without a text, the base alone answers the last message. Raises UsageError if there is none.
        """
        both: tuple[bool, ...] = (False, True)
        if text is None:
            who = self._last_answer().by
            assert who is not None
            messages, both = heard(self.said[:-1], who), (False,)
        else:
            who = self.at
            messages = heard([*self.said, Spoken(text)], who)
        speaker = self.speakers[who]
        seed = secrets.randbelow(SEEDS) if speaker.sampling.seed is None else speaker.sampling.seed
        sampling = speaker.sampling.model_copy(update={"seed": seed})
        return ((tuned, _stream(speaker.teller, messages, sampling, tuned)) for tuned in both)

    def _answer(self, before: Sequence[Spoken], who: int, sampling: Sampling) -> Stream:
        """Yield an answer, and keep what came of it, also where the reader or an error breaks it off."""
        drawn = sampling
        if sampling.seed is not None:
            drawn = sampling.model_copy(update={"seed": (sampling.seed + self._draws) % SEEDS})
        pieces: list[str] = []
        end: Answer | None = None
        try:
            with closing(_stream(self.speakers[who].teller, heard(before, who), drawn)) as stream:
                for piece in stream:
                    if isinstance(piece, str):
                        pieces.append(piece)
                    else:
                        end = piece
                    yield piece
        finally:
            if pieces or end:
                whole = end is not None and end.stop == "stop"
                self.said = [*before, Spoken("".join(pieces), who, whole, sampling)]

    def _last_answer(self) -> Spoken:
        if not self.said:
            raise UsageError("还没有说过话；请先说一句", "nothing was said yet; say something first")
        return self.said[-1]

    def undo(self) -> None:
        """Take back the last answer and the message before it. Raises UsageError if there is none."""
        self._last_answer()
        self._draws = 0
        self.said = self.said[:-1]
        if self.said and self.said[-1].by is None:
            self.said = self.said[:-1]

    def new(self) -> None:
        """Forget what was said; who answers and how stays."""
        self.said, self._draws = [], 0

    def switch(self, name: str) -> Speaker:
        """Let the speaker of this name answer; the start of a name is enough if only one begins so.

        The name is that of the persona or of the run. Raises UsageError if none or several are called so.
        """
        wanted = folded(name)
        names = [{folded(speaker.name), folded(speaker.run)} for speaker in self.speakers]
        found = [at for at, own in enumerate(names) if wanted in own]
        found = found or [at for at, own in enumerate(names) if any(one.startswith(wanted) for one in own)]
        if len(found) != 1 or not wanted:
            there = listed([speaker.name for speaker in self.speakers])
            short = listed([name])
            raise UsageError(
                f"{short.zh} 不止一位；请写全名：{there.zh}" if found else f"没有 {short.zh}；在座的有 {there.zh}",
                f"{short.en} fits several; write the whole name: {there.en}"
                if found
                else f"there is no {short.en}; here are {there.en}",
            )
        self.at = found[0]
        return self.speaker

    def set(self, changes: Mapping[str, Any]) -> Sampling:
        """Change how the one who answers next draws answers. Raises UsageError for a value out of its bounds."""
        sampling = resampled(self.speaker.sampling, changes)
        self.speakers[self.at] = replace(self.speaker, sampling=sampling)
        return sampling

    def rows(self) -> list[dict[str, Any]]:
        """Return the conversation as rows to train on, one for each speaker, as it was prompted.

        An answer that was cut off is context alone: a model that learned it would learn to stop in the middle.
        """
        return [{"messages": messages} for who in range(len(self.speakers)) if (messages := self._row(who)) is not None]

    def _row(self, who: int) -> list[dict[str, Any]] | None:
        own = [number for number, each in enumerate(self.said) if each.by == who]
        if not own:
            return None
        whole = iter(self.said[number].whole for number in own)
        system = self.speakers[who].teller.run.contract.system
        messages: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
        # What was said after its last answer has none.
        for message in heard(self.said[: own[-1] + 1], who):
            is_cut_off = message.role == "assistant" and not next(whole)
            messages.append(
                {"role": message.role, "content": message.content} | ({"loss": False} if is_cut_off else {})
            )
        return messages

    def json_lines(self) -> str:
        """Return `rows` as JSON lines."""
        return "".join(json_text(row) + "\n" for row in self.rows())

    def transcript(self, user: str) -> str:
        """Return the conversation as text to read; `user` is how the user is called in it."""
        parts = ((user if each.by is None else self.speakers[each.by].name, each.text.strip()) for each in self.said)
        return "\n\n".join(f"{name}：{text}" for name, text in parts) + "\n"


def folded(name: str) -> str:
    """Return a name without what a keyboard may change: case, full width, surrounding space."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def heard(said: Sequence[Spoken], who: int) -> list[Message]:
    """Return what was said as the prompt of one speaker: its own words as answers, all others joined as the user's."""
    messages: list[Message] = []
    for each in said:
        if each.by == who:
            messages.append(Message("assistant", each.text))
            continue
        text = each.text if each.by is None else without_thought(each.text).strip()
        if messages and messages[-1].role == "user":
            messages[-1] = Message("user", JOIN.join([messages[-1].content, text]))
        else:
            messages.append(Message("user", text))
    return messages


def _stream(teller: Teller, messages: Sequence[Message], sampling: Sampling, tuned: bool = True) -> Stream:
    with closing(teller.stream(messages, sampling, tuned)) as coming:
        for piece in coming:
            if isinstance(piece, Answer):
                yield piece
            elif piece.text:
                yield piece.text
