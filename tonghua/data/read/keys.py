"""What the keys of a row or a message mean beside its texts: marks, and data that only other trainers use.

"loss": false         a mark: this answer is context only      LEARN, HIDE: XTuner, ms-swift, axolotl, OpenAI
"label": false        a mark: this answer is a bad one         GOOD: KTO files
"images": ["a.png"]   more than text: the row is refused
"id": 7               anything else is counted, and not used
"""

from collections.abc import Mapping
from typing import Literal

from ...text import Text, shown
from .faults import Fault, fault
from .remarks import RowFaults
from .roles import plain_name

KeyKind = Literal["learn", "hide", "good", "mask", "spans", "media", "tools", "preference", "refusal"]

_NAMES: Mapping[KeyKind, tuple[str, ...]] = {
    # true or 1: learned. `loss` is of XTuner and ms-swift, `train` of axolotl, `weight` of OpenAI, Mistral and
    # Together, `loss_weight` of LLaMA-Factory, `output_with_loss` of XTuner's rounds.
    "learn": (
        *("loss", "loss_mask", "loss_weight", "loss_scale", "output_with_loss", "compute_loss", "weight"),
        *("loss_masks", "loss_weights", "loss_scales", "weights", "train_mask", "training_mask"),
        *("train", "training", "trainable", "train_on", "should_train", "learn"),
    ),
    # true or 1: not learned.
    "hide": ("ignore", "ignored", "ignore_loss", "no_loss", "masked"),
    # false or 0: a bad answer. KTO files of TRL, ms-swift and LLaMA-Factory.
    "good": ("label", "kto_tag", "kto_label", "desirable"),
    # 1 means learned in some files and hidden in others; NeMo writes the role that is not learned.
    "mask": ("mask", "masks", "turn_mask", "turn_masks", "message_mask", "answer_mask"),
    "spans": ("train_detail", "training_detail", "train_spans", "loss_spans", "spans", "segments"),
    "media": (
        *("image", "images", "image_url", "image_urls", "image_path", "image_paths", "img", "objects"),
        *("video", "videos", "video_path", "audio", "audios", "audio_path"),
    ),
    "tools": ("tools", "functions", "tool_calls", "tool_call", "function_call"),
    "preference": (
        *("chosen", "rejected", "rejected_response", "rejected_messages", "preferred", "non_preferred"),
        *("preferred_output", "non_preferred_output", "preferred_completion", "non_preferred_completion"),
        *("positive_messages", "negative_messages"),
    ),
    "refusal": ("refusal",),
}

_KIND_OF: Mapping[str, KeyKind] = {name: kind for kind, names in _NAMES.items() for name in names}

MEDIA = frozenset(_NAMES["media"])

MARKS: tuple[KeyKind, ...] = ("learn", "hide", "good", "mask")
"""Kinds of keys that say whether an answer is learned."""

REASONING = ("reasoning_content", "reasoning", "thinking")
"""Keys of what an answer's author thought before it; the first that is filled is taken."""

PLACEHOLDERS = ("<image>", "<video>", "<audio>")
"""What stands in a text for a picture, a film or a sound of its row."""

_YES, _NO = ("true", "yes", "1", "1.0", "是"), ("false", "no", "0", "0.0", "否")


def kind_of(key: str) -> KeyKind | None:
    """Return what a key of a row or a message means, or None if it is nothing known."""
    return _KIND_OF.get(key) or _KIND_OF.get(plain_name(key))


def boolean(value: object) -> bool | None:
    """Return what a mark says: true, 1, "1" and "yes" are True, false, 0, "0" and "no" are False; else None."""
    if isinstance(value, bool | int | float):
        return bool(value) if value in (0, 1) else None
    word = value.strip().casefold() if isinstance(value, str) else ""
    return True if word in _YES else False if word in _NO else None


def is_mark(key: str, value: object) -> bool:
    """True if a key with this value is a mark. A `label` that is neither true nor false is a class of the row."""
    return kind_of(key) in MARKS and (boolean(value) is not None or plain_name(key) != "label")


def learned(key: str, value: object, where: Text, faults: RowFaults) -> bool:
    """Return True if a mark lets an answer be learned; add a fault if it is not clear. `where` is its message."""
    kind = kind_of(key)
    name, said = shown(key, 40), shown(value, 40)
    if kind == "mask":
        faults.append(_unclear_mask(name, where))
        return True
    says = boolean(value)
    if says is not None:
        return says is (kind != "hide")
    if isinstance(value, int | float) and kind == "learn":
        faults.add(
            f"{where.zh}的 {name} 是 {value:g}，而一个答案要么学，要么不学",
            f'"{name}" of {where.en} is {value:g}, and an answer is either learned or not',
            f"{name} 写成 1（学）或 0（只作上文），或删掉这一条",
            f'write 1 (learn it) or 0 (context only) as "{name}", or delete the row',
        )
    else:
        faults.add(
            f"{where.zh}的 {name} 是 {said}，看不出要不要学",
            f'"{name}" of {where.en} is {said}, which does not say whether to learn it',
            f"{name} 写成 true 或 false，或删掉它",
            f'write true or false as "{name}", or remove it',
        )
    return True


def _unclear_mask(name: str, where: Text) -> Fault:
    return fault(
        f"{where.zh}有 {name}，有的文件用它表示学，有的表示不学",
        f'{where.en} has "{name}", which means learned in some files and not learned in others',
        f'把 {name} 换成 "loss"：true 学，false 只作上文',
        f'write "loss" instead of "{name}": true to learn, false for context only',
    )


def mark(key: str, value: object) -> str:
    """Return a mark as it stands in a row: `"loss": false`."""
    written = f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else shown(value, 20)
    return f'"{shown(key, 40)}": {written}'


def refused(key: str, kind: KeyKind | None) -> Fault | None:
    """Return why a row with this key, if it is filled, is refused; None for marks and for what is only not used."""
    if kind is None or kind in MARKS:
        return None
    name = shown(key, 40)
    match kind:
        case "media" | "refusal":
            return fault(
                f"用了 {name}，这里不支持",
                f'uses "{name}", which is not supported',
                "这里只学文字问答；请删掉它，或删掉这样的数据",
                "only text is learnt; remove it, or remove such rows",
            )
        case "tools":
            return fault(
                f"用了 {name}（工具调用），这里不支持",
                f'uses "{name}" (tool calls), which is not supported',
                "改成只有文字的对话，或删掉这样的数据",
                "make it a conversation of text only, or remove such rows",
            )
        case "spans":
            return fault(
                f"用了 {name}（只学答案的一部分），这里不支持",
                f'uses "{name}" (to learn parts of an answer), which is not supported',
                "删掉它（整个答案都会学），或删掉这样的数据",
                "remove it (the whole answer is then learned), or remove such rows",
            )
        case "preference":
            return fault(
                f"用了 {name}（好坏答案成对），这里不支持",
                f'uses "{name}" (a better and a worse answer), which is not supported',
                "只留好的答案，或用 columns=output:列名 指明好的那一列",
                "keep the better answers alone, or name their column with columns=output:NAME",
            )
        case _:
            return None
