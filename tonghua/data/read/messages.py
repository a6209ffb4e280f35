"""Convert the messages of a row, its rounds and its history to Message, or add faults.

{"role": "user", "content": "…"}             OpenAI; {"from": "human", "value": "…"} of ShareGPT, and mixtures
{"human": "…", "assistant": "…"}             a round: Firefly; {"input": "…", "output": "…"} of XTuner
["question", "answer"]                       a round of Alpaca's history
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard

from ...prompt.conversation import JOIN, Message, Role
from ...text import Text, listed, shown
from .keys import REASONING, is_mark, kind_of, learned, mark, refused
from .remarks import RowFaults
from .roles import is_empty
from .speakers import SPEAKERS, is_tool, role_of, round_part
from .texts import is_sound, known_text, required_text, type_name

_ROLE_KEYS, _CONTENT_KEYS = ("role", "from"), ("content", "value", "text")

_TEXT_PARTS = ("text", "input_text", "output_text")

_NO_PART = Text("有一段没有 type", "has a part without a type")


def is_messages(value: object) -> TypeGuard[list[object]]:
    """True if `value` is a list of dicts that is not empty."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def messages_of(written: Sequence[object], column: str, faults: RowFaults) -> list[Message]:
    """Return the messages of a list of messages or rounds, as they stand there; add what is wrong to `faults`."""
    messages: list[Message] = []
    for number, item in enumerate(written, 1):
        if plain := _plain(item):
            messages.append(plain)
        elif isinstance(item, dict) and _is_round(item):
            messages += _round(item, Text(f"{column} 第 {number} 轮", f"round {number}"), faults)
        elif isinstance(item, list | tuple):
            messages += _pair(item, number, column, faults)
        else:
            messages.append(_message(item, Text(f"{column} 第 {number} 条", f"message {number}"), faults))
    return messages


def history_of(history: object, column: str, faults: RowFaults) -> list[Message]:
    """Return the messages of a history: pairs [question, answer], rounds or messages; add what is wrong to `faults`."""
    if is_empty(history):
        return []
    if not isinstance(history, list):
        kind = type_name(history)
        faults.add(
            f"{column} 是{kind.zh}，应为列表",
            f'"{column}" is {kind.en}, not a list',
            '写成 [["上一问", "上一答"]]；没有就写 []',
            'write [["question", "answer"]], or [] if there is none',
        )
        return []
    return messages_of([item if isinstance(item, dict | list | tuple) else [item] for item in history], column, faults)


def _pair(turn: Sequence[object], number: int, column: str, faults: RowFaults) -> list[Message]:
    """Return the messages of a round [question, answer]."""
    if len(turn) != 2:
        faults.add(
            f"{column} 第 {number} 轮不是一问一答",
            f'round {number} of "{column}" is not one question and one answer',
            '每一轮写成 ["问", "答"]',
            'write each round as ["question", "answer"]',
        )
        return []
    where, where_en = f"{column} 第 {number} 轮的", f'in round {number} of "{column}", the '
    question = required_text(turn[0], Text(f"{where}问题", f"{where_en}question"), faults)
    answer = required_text(turn[1], Text(f"{where}答案", f"{where_en}answer"), faults)
    return [Message("user", question), Message("assistant", answer)]


def _plain(item: object) -> Message | None:
    """Return the message of an object with a role and a sound text alone, as most are; this path is fast."""
    if not isinstance(item, dict) or len(item) != 2:
        return None
    said = item.get("role", item.get("from"))
    role = SPEAKERS.get(said) if isinstance(said, str) else None
    content = item.get("content", item.get("value"))
    return Message(role, content) if role and isinstance(content, str) and is_sound(content) else None


def _is_round(item: Mapping[str, object]) -> bool:
    """True if an object is a question with its answer, and not one message."""
    if any(key in item for key in (*_ROLE_KEYS, "content", "value")):
        return False
    return any(round_part(key) in ("question", "input", "answer") for key in item)


def _round(item: Mapping[str, object], where: Text, faults: RowFaults) -> Iterator[Message]:
    parts: dict[str, list[str]] = {}
    for key in item:
        if (part := round_part(key)) and not (part == "system" and is_empty(item[key])):
            parts.setdefault(part, []).append(key)
    for keys in parts.values():
        if len(keys) > 1:
            names = listed(keys)
            faults.add(
                f"{where.zh}里 {names.zh} 都像是同一样东西",
                f"in {where.en}, {names.en} seem to be the same thing",
                "只留一个",
                "keep one of them",
            )
            return
    used = [key for keys in parts.values() for key in keys]
    learn, reasoning = _judged(item, used, "assistant", where, faults)
    named = {part: (keys[0], _of(keys[0], where)) for part, keys in parts.items()}
    if "system" in named:
        key, place = named["system"]
        yield Message("system", known_text(item[key], place, faults))
    asked = [named[part] for part in ("question", "input") if part in named]
    if len(asked) == 2:
        asked = [each for each in asked if not is_empty(item[each[0]])] or asked[:1]
    if asked:
        yield Message("user", JOIN.join([required_text(item[key], place, faults) for key, place in asked]))
    if "answer" in named and item[named["answer"][0]] is not None:
        key, place = named["answer"]
        yield Message("assistant", required_text(item[key], place, faults), learn, reasoning)


def _message(item: object, where: Text, faults: RowFaults) -> Message:
    if not isinstance(item, dict):
        kind = type_name(item)
        faults.add(
            f"{where.zh}是{kind.zh}，应为对象",
            f"{where.en} is {kind.en}, not an object",
            '写成 {"role": "user", "content": "…"}',
            'write {"role": "user", "content": "…"}',
        )
        return Message("user", "")
    before = len(faults)
    role_key, content_key = _filled(item, _ROLE_KEYS), _filled(item, _CONTENT_KEYS)
    role = _role(item, role_key, where, faults)
    learn, reasoning = _judged(item, (role_key, content_key), role, where, faults)
    if len(faults) > before:
        return Message("user", "")
    if content_key not in item:
        if role != "system":
            found = listed(list(item))
            faults.add(
                f"{where.zh}没有 {content_key}（它有 {found.zh}）",
                f'{where.en} has no "{content_key}" (it has {found.en})',
                f"补上 {content_key}，或删掉这一条",
                f'add "{content_key}", or delete the row',
            )
        return Message(role, "")
    said = shown(item[role_key], 40)
    place = Text(f"{where.zh}（{said}）的 {content_key} ", f'"{content_key}" of {where.en} ({said})')
    content, thought = _joined(item[content_key], place, faults)
    if len(faults) > before or (role == "system" and is_empty(content)):
        return Message(role, "")
    return Message(role, required_text(content, place, faults), learn, reasoning or thought)


def _filled(item: Mapping[str, object], keys: Sequence[str]) -> str:
    """Return the first of the keys that is filled, else the first that is there, else the first."""
    there = [key for key in keys if key in item]
    return next((key for key in there if not is_empty(item[key])), there[0] if there else keys[0])


def _of(key: str, where: Text) -> Text:
    name = shown(key, 40)
    return Text(f"{where.zh}的 {name} ", f'"{name}" of {where.en}')


def _role(item: Mapping[str, object], key: str, where: Text, faults: RowFaults) -> Role:
    said = item.get(key)
    role = role_of(said) if isinstance(said, str) else None
    if role:
        return role
    if isinstance(said, str) and is_tool(said):
        name = shown(said, 40)
        faults.add(
            f"{where.zh}是工具调用或它的结果（{name}），这里不支持",
            f"{where.en} is a tool call or its result ({name}), which is not supported",
            "改成只有文字的对话，或删掉这一条",
            "make it a conversation of text only, or delete the row",
        )
        return "user"
    roles = Text("system、human 或 gpt", "system, human or gpt")
    if key == "role":
        roles = Text("system、user 或 assistant", "system, user or assistant")
    if isinstance(said, str):
        name = shown(said, 40)
        what = Text(f"{where.zh}的 {key} 是 {name}", f'the {key} of {where.en} is "{name}"')
    elif key in item:
        kind = type_name(said)
        what = Text(f"{where.zh}的 {key} 是{kind.zh}", f"the {key} of {where.en} is {kind.en}")
    else:
        found = listed(list(item))
        what = Text(f"{where.zh}没有 {key}（它有 {found.zh}）", f"{where.en} has no {key} (it has {found.en})")
    mend = f"{key} 只能是 {roles.zh}", f"write {roles.en} as its {key}, or delete the row"
    faults.add(*what, *mend)
    return "user"


def _judged(
    item: Mapping[str, object], used: Sequence[str], role: Role, where: Text, faults: RowFaults
) -> tuple[bool, str]:
    """Return whether a message is learned, and its reasoning; tell or refuse every key that is not `used`."""
    learn, reasoning = True, ""
    written = (key for key in REASONING if isinstance(item.get(key), str) and not is_empty(item[key]))
    thoughts = [key for key in written if role == "assistant"][:1]
    for key, value in item.items():
        if key in used or is_empty(value):
            continue
        kind = kind_of(key)
        if key in thoughts:
            reasoning = known_text(value, _of(key, where), faults)
            faults.tell("reasoning", key)
        elif refusal := None if value is False else refused(key, kind):
            what, mend = refusal
            faults.add(f"{where.zh}{what.zh}", f"{where.en} {what.en}", *mend)
        elif is_mark(key, value):
            learn = _marked(key, value, role, learn, where, faults)
        else:
            faults.tell("message key", key)
    return learn, reasoning


def _marked(key: str, value: object, role: Role, learn: bool, where: Text, faults: RowFaults) -> bool:
    """Return whether a message is learned by one more of its marks."""
    before = len(faults)
    says = learned(key, value, where, faults)
    if len(faults) > before:
        return learn
    if role != "assistant":
        if says:
            faults.tell("question mark", mark(key, value))
        return True
    if learn and not says:
        faults.tell("context", mark(key, value))
    return learn and says


def _joined(content: object, where: Text, faults: RowFaults) -> tuple[object, str]:
    """Join a content that is a list of text parts, and its reasoning; return any other content unchanged."""
    if not isinstance(content, list):
        return content, ""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content:
        fields = part if isinstance(part, dict) else {}
        kind = fields.get("type", "text" if "text" in fields else None)
        key = next((key for key in ("text", "value", str(kind)) if key in fields), "text")
        text = fields.get(key)
        if not (kind in (*_TEXT_PARTS, "reasoning", "thinking") and isinstance(text, str)):
            what = Text(f"有 {shown(kind, 40)}", f'has "{shown(kind, 40)}"') if isinstance(kind, str) else _NO_PART
            faults.add(
                f"{where.zh}里{what.zh}，这里只支持文字",
                f"{where.en} {what.en}, and only text is supported",
                '每一段写成 {"type": "text", "text": "…"}，或删掉这一条',
                'write each part as {"type": "text", "text": "…"}, or delete the row',
            )
            break
        (texts if kind in _TEXT_PARTS else thoughts).append(text)
        learn, _ = _judged(fields, ("type", key), "assistant", where, faults)
        if not learn:
            faults.add(
                f"{where.zh}里有一段标了不学，而一个答案要么全学，要么不学",
                f"{where.en} has a part that is marked not to be learned, and an answer is learned whole or not",
                "把标记写到整条消息上，或删掉这一条",
                "mark the whole message, or delete the row",
            )
    if thoughts:
        faults.tell("reasoning", "reasoning")
    return "".join(texts), "\n".join(thoughts)


def in_order(talk: Sequence[Message], column: str, faults: RowFaults) -> list[Message]:
    """Return the messages as [system] [greeting] user assistant (user assistant)*, or add a fault.

    A greeting is an answer before the first question: it becomes context. A question after a question is joined to
    it. A last question without an answer is left out. Each of these is told. An empty system message is left out.
    """
    ordered: list[Message] = []
    for number, message in enumerate(talk, 1):
        last = ordered[-1] if ordered else None
        before = last.role if last else "system"
        if message.role == "system":
            if last is None or message == last:
                ordered = [message]
                continue
            return _out_of_order(message, number, "assistant" if before == "user" else "user", column, faults)
        if message.role == before == "assistant":
            return _out_of_order(message, number, "user", column, faults)
        if last and message.role == before == "user":
            ordered[-1] = replace(last, content=f"{last.content}{JOIN}{message.content}")
            faults.tell("joined")
        elif message.role == "assistant" and before == "system":
            ordered.append(replace(message, learn=False))
            faults.tell("greeting")
        else:
            ordered.append(message)
    if ordered and ordered[0].role == "system" and not ordered[0].content.strip():
        del ordered[0]
    answered = [index for index, message in enumerate(ordered) if message.role == "assistant"]
    if not any(message.role == "user" for message in ordered[: answered[-1] if answered else 0]):
        _without_answer(ordered, column, faults)
    elif ordered[-1].role == "user":
        del ordered[-1]
        faults.tell("unanswered")
    return ordered


def _out_of_order(message: Message, number: int, due: Role, column: str, faults: RowFaults) -> list[Message]:
    if message.role == "assistant":
        faults.add(
            f"{column} 第 {number} 条又是 assistant：连着两个答案，不知道学哪一个",
            f"message {number} is from assistant again: two answers in a row, and which to learn is not clear",
            "只留一个答案，或在中间补上提问",
            "keep one of the answers, or write the question between them",
        )
    else:
        faults.add(
            f"{column} 第 {number} 条是 {message.role}，这里应是 {due}",
            f"message {number} is from {message.role}, where {due} was due",
            "system 只能在最前面，之后 user 和 assistant 轮流",
            "put system first only, then user and assistant in turn",
        )
    return []


def _without_answer(talk: Sequence[Message], column: str, faults: RowFaults) -> None:
    roles = dict.fromkeys(message.role for message in talk)
    found = Text("、".join(roles) or "空的 system", ", ".join(roles) or "an empty system message")
    faults.add(
        f"{column} 里没有一问，后面跟着一答（只有 {found.zh}）",
        f'"{column}" has no question with an answer after it (only {found.en})',
        "补上提问和答案，或删掉这一条",
        "add the question and its answer, or delete the row",
    )
