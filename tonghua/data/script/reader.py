"""Read a text line by line: each utterance with its speaker, or with the reason why the speaker is uncertain."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from .doubts import GOES_ON, NO_LABEL, NOBODY, NOT_ALOUD, SEVERAL, TWO_LABELS, UNMATCHED, UNQUOTED, guess_why, once_why
from .lexicon import CLAUSE_ENDS, NARRATORS, SIMPLE, SPEECH_WITHOUT_QUOTES
from .paragraphs import (
    BARE_STAGE,
    CLOSING_MARK,
    INNER_LABEL,
    INNER_VOICE,
    Label,
    Paragraph,
    TextPiece,
    inside_quotes,
    is_scene_break,
    label_of,
    opens_quote,
    without_directions,
)
from .speakers import Cast, Utterance, Voice, acting, first_sentence, followed, introduced, is_utterance, voice_of


class _Quote(NamedTuple):
    """A quote and the words around it; `last` is True for the last quote of its paragraph."""

    before: str
    piece: TextPiece
    after: str
    last: bool


@dataclass(slots=True)
class ScriptReader:
    """Reads paragraph by paragraph; `said` collects the utterances, with None for each scene break."""

    cast: Cast
    said: list[Utterance | None] = field(default_factory=list)
    pending: Label | None = None
    """A label whose words are on the next line."""
    below: bool = False
    """True if the previous paragraph is a labelled line or continues one."""
    closed: bool = False
    """True if the words of that labelled line are in quotes, so that no line below continues them."""
    carried: str = ""
    """The end of the previous paragraph, if it introduces a quote in this one."""
    continued: Utterance | None = None
    """A quote that continues in this paragraph after a repeated opening mark."""
    recent: list[str] = field(default_factory=list)
    """The last two speakers, the latest at the end."""

    def read(self, paragraph: Paragraph, following: Paragraph | None) -> None:
        """Read one paragraph; `following` is the next one, None at the end."""
        breaks = is_scene_break(paragraph)
        if breaks or paragraph.blank_before >= 2:
            self.said.append(None)
            self.pending, self.below, self.carried, self.continued, self.recent = None, False, "", None, []
        if breaks:
            return
        quoted = paragraph.text.lstrip()[:1] in CLOSING_MARK
        label = label_of(paragraph.text)
        known = label is not None and (label.name in self.cast.labels or self.cast.knows(label.name))
        if label and known and (inside_quotes(label.said) or not opens_quote(label.said)):
            self._labelled(paragraph, label)
        elif label and label.name.translate(SIMPLE) in NARRATORS:
            self._prose(paragraph, following, label)
        elif self.pending and not quoted and not BARE_STAGE.match(paragraph.text.strip()):
            self._labelled(paragraph, self.pending._replace(said=paragraph.text.strip()))
        elif len(paragraph.pieces()) == 1 and BARE_STAGE.match(paragraph.text.strip()):
            return
        elif self.below and paragraph.blank_before == 0 and len(paragraph.pieces()) == 1:
            self._unlabelled(paragraph)
        else:
            self._prose(paragraph, following, label)

    def _add(self, paragraph: Paragraph, start: int, end: int, text: str, voice: Voice) -> Utterance:
        line, offset = paragraph.line_at(start), paragraph.start
        said = Utterance(
            line, offset + start, offset + end, paragraph.line, text.strip(), *voice[:3], blocks=voice.aloud
        )
        self.said.append(said)
        if voice.speaker:
            self._heard(voice.speaker)
        return said

    def _heard(self, name: str) -> None:
        self.recent = [*(other for other in self.recent[-1:] if other != name), name]

    def _labelled(self, paragraph: Paragraph, label: Label) -> None:
        self.carried, self.continued, self.pending = "", None, None
        enclosed = inside_quotes(label.said)
        words = without_directions(enclosed or label.said)
        self.below, self.closed = bool(label.said), enclosed is not None
        if not label.said:
            self.pending = label
            # If a quote follows, the name introduces it.
            self.carried = f"{label.name}："
        if not words:
            return
        voice = voice_of(label.name, self.cast)
        parts = re.split("[、/&＆]", label.name)
        if INNER_VOICE.search(label.action):
            voice = Voice(None, voice.named, NOT_ALOUD, aloud=False)
        elif len(parts) > 1 and self.cast.wished in map(self.cast.whose, parts):
            voice = Voice(None, None, SEVERAL)
        elif self._names_another(paragraph, label):
            voice = Voice(None, voice.named, TWO_LABELS)
        elif any(words.count(opening) != words.count(closing) for opening, closing in ("“”", "「」", "『』")):
            voice = Voice(None, voice.named, UNMATCHED)
        self._add(paragraph, 0, len(paragraph.text), words if voice.speaker else label.said, voice)

    def _names_another(self, paragraph: Paragraph, label: Label) -> bool:
        """True if a second label is inside the words, or starts one of their lines."""
        inner = INNER_LABEL.findall(label.said)
        starts = (label_of(paragraph.text[joint:]) for joint in paragraph.joints)
        return any(name in self.cast.labels for name in (*inner, *(found.name for found in starts if found)))

    def _unlabelled(self, paragraph: Paragraph) -> None:
        text = paragraph.text.strip()
        above = self.said[-1] if self.said else None
        if above is None or self.closed or above.why is NO_LABEL or above.text[-1:] in CLAUSE_ENDS + '”」』）)"—':
            self._add(paragraph, 0, len(paragraph.text), text, Voice(None, None, NO_LABEL, aloud=False))
            return
        above.text, above.speaker, above.why = f"{above.text}\n{text}", None, GOES_ON

    def _prose(self, paragraph: Paragraph, following: Paragraph | None, label: Label | None) -> None:
        pieces = paragraph.pieces()
        carried, self.carried, self.pending, self.below = self.carried, "", None, False
        if label and len(pieces) == 1 and label.said and self.cast.may_be_label(label.name):
            self._add(paragraph, 0, len(paragraph.text), paragraph.text, Voice(None, None, once_why(label.name)))
            return
        previous: Utterance | None = None
        for index, piece in enumerate(pieces):
            if piece.kind == "gap":
                self._unquoted(paragraph, piece)
                continue
            before = pieces[index - 1].text
            if index == 1 and not before.strip():
                before = carried
            elif index == 1 and label and self.cast.knows(label.name):
                before = f"{label.name}："
            last = index == len(pieces) - 2
            opener = paragraph.text[piece.start - 1]
            if piece.kind == "open" and not (following and following.text.lstrip().startswith(opener)):
                piece = piece._replace(kind="broken")
            voice = self._voice(_Quote(before, piece, pieces[index + 1].text, last), previous)
            self.continued = None
            if voice is not None:
                previous = self._add(paragraph, piece.start, piece.start + len(piece.text), piece.text, voice)
                if piece.kind == "open":
                    self.continued = previous
        if pieces[-1].text.rstrip().endswith(("：", ":")):
            self.carried = pieces[-1].text

    def _voice(self, quote: _Quote, previous: Utterance | None) -> Voice | None:
        """Return who speaks a quote, or None if it is no utterance."""
        before, piece, after, last = quote
        if not piece.text.strip():
            return None
        if piece.kind == "broken":
            return Voice(None, None, UNMATCHED)
        if self.continued and not before.strip():
            return Voice(self.continued.speaker, self.continued.named, self.continued.why, self.continued.blocks)
        voice = introduced(before, piece.text, previous, self.cast) or followed(after, piece.text, last, self.cast)
        if voice or not is_utterance(before, piece.text, after):
            return voice
        if previous and previous.speaker and first_sentence(before)[1]:
            between = followed(before, previous.text, True, self.cast)
            if between and between.speaker == previous.speaker:
                return Voice(previous.speaker, previous.speaker)
        guess = acting(after, self.cast) or (previous.speaker if previous else None)
        if not guess and not previous and not after.strip() and len(self.recent) == 2:
            guess = self.recent[0]
            self._heard(guess)
        return Voice(None, None, guess_why(guess) if guess else NOBODY)

    def _unquoted(self, paragraph: Paragraph, gap: TextPiece) -> None:
        """Add speech without quotes (黛玉道：你来了。) as uncertain."""
        found = SPEECH_WITHOUT_QUOTES.search(gap.text)
        if found:
            start = gap.start + found.end()
            end = gap.start + len(gap.text)
            self._add(paragraph, start, end, gap.text[found.end() :], Voice(None, None, UNQUOTED))
