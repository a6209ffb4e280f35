"""Forms of rows that are known and cannot be read: each is named for what it is, with what to do."""

from collections.abc import Collection

from ...text import shown
from .faults import Fault, fault
from .keys import kind_of, refused
from .roles import plain_name

_TITLES = ("title", "headline", "标题", "题目", "篇名")

_BODIES = ("content", "contents", "body", "text", "story", "article", "内容", "正文", "全文", "故事", "原文")

_TURNS = ("data", "dialog", "dialogs", "dialogue", "dialogues", "utterances", "turns")
"""Columns of public files, such as those of UltraChat, whose list of texts are by two speakers in turn."""


def foreign_form(names: Collection[str]) -> Fault | None:
    """Return what rows with these columns, which hold no question with an answer, are; None if that is not known."""
    plain = {plain_name(name): name for name in names}
    preference = next((name for name in names if kind_of(name) == "preference"), None)
    if preference is not None:
        return refused(preference, "preference")
    if "mes" in plain:
        return fault(
            "是 SillyTavern 的聊天记录：一行是一条消息，不是一段对话",
            "is a chat log of SillyTavern: each line is one message and not a conversation",
            '把同一段对话的消息放进一个列表：{"messages": [{"role": "user", "content": "…"}, …]}',
            'put the messages of one conversation in a list: {"messages": [{"role": "user", "content": "…"}, …]}',
        )
    if "mapping" in plain and "current_node" in plain:
        return fault(
            "是 ChatGPT 导出的聊天记录，消息排成树，不是一问一答",
            "is an export of ChatGPT, whose messages stand in a tree",
            '先转成 {"messages": [{"role": "user", "content": "…"}, …]}',
            'convert it to {"messages": [{"role": "user", "content": "…"}, …]} first',
        )
    if {"role", "from"} & plain.keys() and {"content", "value", "text"} & plain.keys():
        return fault(
            "的每一条只是一条消息，不是一段对话",
            "holds one message in each row and not a conversation",
            '把同一段对话的消息放进一个列表：{"messages": [{"role": "user", "content": "…"}, …]}',
            'put the messages of one conversation in a list: {"messages": [{"role": "user", "content": "…"}, …]}',
        )
    if {"input_ids", "token_ids", "tokens"} & plain.keys():
        return fault(
            "里是已经切成 token 的数据，这里不支持",
            "holds rows that are tokenized already, which is not supported",
            "请用切之前的文字",
            "take the text that they were made from",
        )
    if "chat" in plain or "meta_instruction" in plain:
        return fault(
            "是 MOSS 的写法（chat 里一轮一个键），这里不支持",
            'is in the form of MOSS ("chat" with one key for each turn), which is not supported',
            '转成 {"messages": [{"role": "user", "content": "…"}, …]}',
            'convert it to {"messages": [{"role": "user", "content": "…"}, …]}',
        )
    if "contents" in plain:
        return fault(
            "是 Gemini 的写法（contents 和 parts），这里不支持",
            'is in the form of Gemini ("contents" with "parts"), which is not supported',
            '转成 {"messages": [{"role": "user", "content": "…"}, …]}',
            'convert it to {"messages": [{"role": "user", "content": "…"}, …]}',
        )
    title = next((plain[each] for each in _TITLES if each in plain), None)
    body = next((plain[each] for each in _BODIES if each in plain), None)
    if title and body:
        title, body = shown(title, 40), shown(body, 40)
        return fault(
            f"里是文章和它的标题（{body} 和 {title}），没有问题",
            f'holds texts with their titles ("{body}" and "{title}") and no questions',
            f"要由标题写出文章，就加 columns=instruction:{title},output:{body}",
            f"to learn to write each from its title, add columns=instruction:{title},output:{body}",
        )
    if turns := next((shown(plain[each], 40) for each in _TURNS if each in plain), None):
        return fault(
            f"的 {turns} 没有写明谁在说话，多半是两人轮流说的几段文字",
            f'does not say who speaks in "{turns}", most likely texts of two speakers in turn',
            '把它写成一轮一对：{"conversations": [["问", "答"], …]}',
            'write it as a pair for each round: {"conversations": [["question", "answer"], …]}',
        )
    if "completions" in plain or "segments" in plain:
        name = plain.get("completions", plain.get("segments", ""))
        return fault(
            f"的 {name} 把答案分成几段、各自打分或标记，这里不支持",
            f'splits answers into parts with marks ("{name}"), which is not supported',
            '写成 {"instruction": "…", "output": "…"}，整个答案都会学',
            'write {"instruction": "…", "output": "…"}: the whole answer is learned',
        )
    if "text" in plain and len(set(plain) - {"text", "id", "meta", "title", "url", "source", "timestamp"}) == 0:
        return fault(
            "里只有 text，没有问题：是预训练用的文字",
            'holds only "text" and no questions: plain text to pretrain on',
            "给每一条配上问题，用 columns= 指明（如 columns=instruction:title,output:text）；或把每篇写成一个 .txt",
            "add a question to each row and name the columns (columns=instruction:title,output:text), "
            "or write each text as a .txt file in one folder",
        )
    return None
