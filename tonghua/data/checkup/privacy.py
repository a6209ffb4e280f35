"""Personal data and secret keys in rows, which a model should not repeat to strangers.

    text ──find──► Private("mobile", start, end), ...          text ──redact──► the same, with ［手机号］ in its place

The patterns prefer a miss to a false alarm. Check digits are verified, and domains that standards reserve for
examples are ignored. Names and street addresses are not detected.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from typing import Literal, NamedTuple

from ...prompt.conversation import Conversation
from ...text import Text

PrivateKind = Literal["mobile", "identity_card", "bank_card", "email", "secret"]

NAMES: Mapping[PrivateKind, Text] = {
    "mobile": Text("手机号", "mobile number"),
    "identity_card": Text("身份证号", "identity card number"),
    "bank_card": Text("银行卡号", "bank card number"),
    "email": Text("邮箱地址", "e-mail address"),
    "secret": Text("密钥", "secret key"),
}

EXAMPLE_HOSTS = re.compile(r"example|domain|\byour|^e?mail\.com$|\.(?:test|invalid|localhost)$", re.IGNORECASE)
"""Hosts reserved for examples and tests (RFC 2606 and 6761), and common stand-ins for a host."""

_HAN = re.compile("[\u4e00-\u9fff]")


class Private(NamedTuple):
    """A piece of personal data: text[start:end] is of this kind."""

    kind: PrivateKind
    start: int
    end: int


def find_private(text: str) -> list[Private]:
    """Return all personal data and keys in a text, by position, without overlaps."""
    found: list[Private] = []
    for kind, (pattern, holds) in _SHAPES.items():
        spans = [match.span() for match in pattern.finditer(text) if holds(match.group())]
        found += (Private(kind, start, end) for start, end in spans)
        text = _blanked(text, spans)
    return sorted(found, key=lambda private: private.start)


def _blanked(text: str, spans: list[tuple[int, int]]) -> str:
    """Return the text with NUL characters in place of these spans; its length stays the same."""
    parts, end = [], 0
    for start, next_end in spans:
        parts += [text[end:start], "\0" * (next_end - start)]
        end = next_end
    return "".join([*parts, text[end:]])


def redact(conversation: Conversation) -> tuple[Conversation, tuple[Text, ...]]:
    """Return the conversation with a label such as ［手机号］ for each piece found, and one line per kind replaced.

    The label is in Chinese if the message has any Chinese, else in English. It changes what the model learns to
    say, so call this only if the user asks for it. If nothing is found, returns the same object and ().
    """
    counts: Counter[PrivateKind] = Counter()
    messages = []
    for message in conversation.messages:
        found = find_private(message.content)
        counts.update(private.kind for private in found)
        messages.append(replace(message, content=_covered(message.content, found)) if found else message)
    if not counts:
        return conversation, ()
    changes = (
        Text(f"盖住 {count} 处{NAMES[kind].zh}", f"covered {count} × {NAMES[kind].en}")
        for kind, count in counts.items()
    )
    return Conversation(tuple(messages), conversation.line), tuple(changes)


def _covered(text: str, found: list[Private]) -> str:
    language: Literal["zh", "en"] = "zh" if _HAN.search(text) else "en"
    for kind, start, end in reversed(found):
        text = f"{text[:start]}［{NAMES[kind].to(language)}］{text[end:]}"
    return text


def _always(text: str) -> bool:
    return True


def _is_identity_card(text: str) -> bool:
    """True if the date of birth exists and the check digit (ISO 7064 MOD 11-2) is right, as in GB 11643-1999."""
    try:
        date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    remainder = sum(int(digit) * 2 ** (17 - place) for place, digit in enumerate(text[:17])) % 11
    return "10X98765432"[remainder] == text[17].upper()


def _is_bank_card(text: str) -> bool:
    """True if the check digit is right by the Luhn formula, as in ISO/IEC 7812-1."""
    digits = [int(char) for char in reversed(text) if char.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _is_somebodys_email(text: str) -> bool:
    user, _, host = text.partition("@")
    # git@host is the address of a repository, and icon@2x.png is the name of a picture.
    return user != "git" and not EXAMPLE_HOSTS.search(host) and not host.endswith((".png", ".jpg", ".svg", ".webp"))


def _looks_random(text: str) -> bool:
    """True if a key looks real: placeholders (sk-xxxxxxxx, sk-your-api-key-here) lack digits or repeat characters."""
    return len(set(text)) >= 10 and any(map(str.isdigit, text))


_SHAPES: Mapping[PrivateKind, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "secret": (
        re.compile(
            r"""-----BEGIN\ (?:[A-Z]+\ )*PRIVATE\ KEY-----
                (?:(?:(?!-----BEGIN)[\s\S])*?-----END\ (?:[A-Z]+\ )*PRIVATE\ KEY-----)?
            | (?<![A-Za-z0-9_-])(?:
                  sk-[A-Za-z0-9_-]{20,}                      # OpenAI, DeepSeek, Anthropic and many others
                | AKIA[0-9A-Z]{16} | LTAI[0-9A-Za-z]{12,24}  # Amazon, Aliyun
                | gh[oprsu]_[A-Za-z0-9]{36,} | github_pat_[A-Za-z0-9_]{40,} | glpat-[A-Za-z0-9_-]{20,}
                | hf_[A-Za-z0-9]{30,} | AIza[0-9A-Za-z_-]{35} | xox[abprs]-[A-Za-z0-9-]{20,}
              )(?![A-Za-z0-9_-])""",
            re.VERBOSE,
        ),
        _looks_random,
    ),
    "identity_card": (re.compile(r"(?<![0-9A-Za-z])[1-9]\d{5}(?:19|20)\d{9}[0-9Xx](?![0-9A-Za-z])"), _is_identity_card),
    "bank_card": (
        re.compile(
            r"""(?<![\d.])(?:
                62\d{14,17} | 4\d{15} | 5[1-5]\d{14}                                 # UnionPay, Visa, Mastercard
                | (?:62\d{2}|4\d{3}|5[1-5]\d{2})(?:[ -]\d{4}){3}(?:[ -]\d{1,3})?     # the same, in groups of four
            )(?!\d)""",
            re.VERBOSE,
        ),
        _is_bank_card,
    ),
    "mobile": (re.compile(r"(?<![\d.+])(?:\+?86[ -]?)?1[3-9]\d([ -]?)\d{4}\1\d{4}(?!\d|\.\d)"), _always),
    "email": (
        re.compile(
            r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,12}"
        ),
        _is_somebodys_email,
    ),
}


def kinds(conversation: Conversation) -> Iterator[PrivateKind]:
    """Yield the kinds of personal data found in a conversation, each once."""
    yield from dict.fromkeys(
        private.kind for message in conversation.messages for private in find_private(message.content)
    )
