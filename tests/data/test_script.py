"""Rows out of scripts and novels: passages written for this test, each with every row and every doubt it must give."""

import json
import re
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tonghua.data.script.doubts import FAR_CHARACTERS
from tonghua.data.script.extract import Script, ScriptRow, Unsure, parse_aliases, rows_from_text
from tonghua.errors import DataError, UsageError

STAGE = """\
　　第三回　夜雨

场景：潇湘馆 夜 内
人物：黛玉、宝玉、紫鹃
（雨声渐起）
【宝玉】（推门）妹妹还没睡？
黛玉（头也不抬）：睡了的人，怎么答你？
黛玉：坐罢。（指着椅子）茶在桌上。
紫鹃：二爷来得正好，
姑娘念叨了一天。
黛玉：多嘴！
黛玉（内心）：他到底来了。
宝玉：“念叨我什么？”
宝玉把伞放下。
黛玉: 念叨你怎么不来。
紫鹃、黛玉：（齐声）哎呀！
宝玉：好。紫鹃：好什么？
宝玉：走了。
黛玉：（不语）


黛玉：慢走。
宝玉：
我真走了。
黛玉：谁留你？
"""

CLASSICAL = """\
　　这日午后，黛玉正在窗下看书，抬头一看，却是宝玉。宝玉笑道：“妹妹看什么书？”黛玉道：“不过是旧诗。”\
宝玉伸手便要来拿，黛玉将书往袖中一藏，冷笑道：“你又来闹我。”
　　紫鹃端了茶来，笑道：“二爷请吃茶。”宝玉忙接了，又问道：“你们姑娘可好些了？”只听黛玉在里间叹道：“与你什么相干？”因又道：“茶凉了。”
　　“好妹妹，饶我这一回罢。”宝玉央告道。
　　“谁与你恼来？”黛玉说着，自己先撑不住笑了，“往后别再哄我。”
　　她低声说：“去罢。”
　　只听那人道：“外头下雨了。”黛玉心中暗道：“好生耳熟。”林妹妹笑道：“快请进来。”
　　匾上题着“听雨”二字。常言道：“一场秋雨一场寒。”
　　宝玉和黛玉齐声道：“好香！”
　　黛玉道：这句没有引号。
　　宝玉道：“这句引号没完。
　　甄宝玉道：“我来了。”林黛玉道：“请坐。”
"""

MODERN = """\
　　门铃响的时候，林夏正在修那台旧收音机。
　　“又坏了？”陈默靠在门框上，问。
　　“没坏，只是不想说话。”林夏头也不抬。
　　“收音机，还是你？”
　　“你说呢？”林夏说。
　　陈默笑了笑：“我带了面来。”
　　“放着吧，”林夏说，“等我拧完这颗螺丝。”
　　“面会坨。”陈默轻声提醒。“坨了就不好吃了。”
　　林夏叹了口气，放下螺丝刀，说道：“你这个人，真是麻烦。”
　　“我知道。”他说。
　　「你可別生氣。」陳默說，「我下次不來了。」
　　『那可不行。』林夏笑道。
　　"真的？"陈默问。
　　林夏说："真的。"
　　陈默道：“第一段。
　　“第二段还是我。”
　　林夏道：“好，都听
你的。”
"""


def rows(found: Script) -> list[tuple[int, str, str]]:
    return [(row.line, row.instruction, row.output) for row in found.rows]


def doubts(found: Script) -> list[tuple[int, str, str]]:
    """Line, words, and the first words of the Chinese reason."""
    return [(doubt.line, doubt.text, doubt.why.zh[:6]) for doubt in found.unsure]


def only(text: str, speaker: str = "黛玉") -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    found = rows_from_text(text, speaker)
    return [row[1:] for row in rows(found)], [doubt[1:] for doubt in doubts(found)]


# ---- whole passages --------------------------------------------------------------------------------------------


def test_script() -> None:
    found = rows_from_text(STAGE, "黛玉")
    assert rows(found) == [
        (7, "妹妹还没睡？", "睡了的人，怎么答你？\n坐罢。茶在桌上。"),
        (15, "念叨我什么？", "念叨你怎么不来。"),
        (25, "我真走了。", "谁留你？"),
    ]
    assert doubts(found) == [
        (9, "二爷来得正好，\n姑娘念叨了一天。", "这句台词像是"),
        (11, "多嘴！", "不知道它前面"),
        (12, "他到底来了。", "是心里想的、"),
        (14, "宝玉把伞放下。", "台词下面的这"),
        (16, "（齐声）哎呀！", "是几个人一起"),
        (17, "好。紫鹃：好什么？", "一行里有不止"),
        (22, "慢走。", "这一场里，在"),
    ]
    assert found.speakers == {"黛玉": 7, "宝玉": 5, "紫鹃": 1}


def test_classical_novel() -> None:
    found = rows_from_text(CLASSICAL, "黛玉", {"黛玉": ["林妹妹", "颦儿"]})
    assert rows(found) == [
        (1, "妹妹看什么书？", "不过是旧诗。你又来闹我。"),
        (2, "你们姑娘可好些了？", "与你什么相干？茶凉了。"),
        (4, "好妹妹，饶我这一回罢。", "谁与你恼来？往后别再哄我。"),
    ]
    assert doubts(found) == [
        (2, "二爷请吃茶。", "看不出是谁说"),
        (5, "去罢。", "说话人只写了"),
        (6, "外头下雨了。", "说话人只写了"),
        (6, "好生耳熟。", "是心里想的、"),
        (6, "快请进来。", "不知道它前面"),
        (7, "一场秋雨一场寒。", "是心里想的、"),
        (8, "好香！", "是几个人一起"),
        (9, "这句没有引号。", "像是说的话，"),
        (10, "这句引号没完。", "引号不成对；"),
        (11, "请坐。", "说话人写作“"),
    ]
    assert found.speakers == {"黛玉": 7, "宝玉": 3, "甄宝玉": 1, "林黛玉": 1}


def test_modern_novel() -> None:
    found = rows_from_text(MODERN, "林夏", {"陈默": ["陳默"]})
    assert rows(found) == [
        (7, "我带了面来。", "放着吧，等我拧完这颗螺丝。"),
        (9, "面会坨。坨了就不好吃了。", "你这个人，真是麻烦。"),
        (12, "你可別生氣。我下次不來了。", "那可不行。"),
        (14, "真的？", "真的。"),
        (17, "第一段。\n第二段还是我。", "好，都听你的。"),
    ]
    assert doubts(found) == [
        (3, "没坏，只是不想说话。", "没写是谁说的"),
        (4, "收音机，还是你？", "没写是谁说的"),
        (5, "你说呢？", "不知道它前面"),
        (10, "我知道。", "说话人只写了"),
    ]
    assert found.unsure[0].why.zh == "没写是谁说的，按上下文推测是林夏；如果是，请补上名字"


def test_the_other_side_of_the_same_text() -> None:
    """The rows of one speaker are not those of another: an answer becomes the instruction."""
    found = rows_from_text(MODERN, "陈默", {"陈默": ["陳默"]})
    assert rows(found) == [
        (6, "你说呢？", "我带了面来。"),
        (8, "放着吧，等我拧完这颗螺丝。", "面会坨。坨了就不好吃了。"),
        (13, "那可不行。", "真的？"),
        (15, "真的。", "第一段。\n第二段还是我。"),
    ]


def test_the_example_at_the_head_of_the_module() -> None:
    text = "第三场\n宝玉：（推门）妹妹在家么？\n黛玉：我当是谁。\n宝玉忙上前，笑道：“是我。”\n“坐罢。”\n"
    found = rows_from_text(text, "黛玉")
    assert found.rows == (ScriptRow(3, "妹妹在家么？", "我当是谁。"),)
    assert [(doubt.line, doubt.text) for doubt in found.unsure] == [(5, "坐罢。")]
    assert found.speakers == {"宝玉": 2, "黛玉": 1}


# ---- one form at a time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "黛玉：好。",
        "黛玉: 好。",
        "黛玉 ： 好。",
        "　　黛玉（笑）：好。",
        "黛玉(笑): 好。",
        "【黛玉】好。",
        "【黛玉】：好。",
        "[黛玉]（笑）好。",
        "黛玉：“好。”",
        "黛玉：“好。”她转身走了。",
        "黛玉：\n好。",
        "黛玉：\n“好。”",
        "【黛玉】\n好。",
        "黛玉道：“好。”",
        "黛玉道:“好。”",
        "黛玉道“好。”",
        "黛玉道：\n\n“好。”",
        "黛玉笑道，“好。”",
        "黛玉忙笑嘻嘻地答道：「好。」",
        "黛玉微微一笑：“好。”",
        "黛玉對寶玉說：『好。』",
        "黛玉看着宝玉说：“好。”",
        "黛玉听了，心中一动，低声道：“好。”",
        "宝玉听黛玉道：“好。”",
        "只听黛玉道：“好。”",
        "“好。”黛玉道。",
        "“好。”，黛玉说。",
        "“好。”黛玉看了他一眼，淡淡地说。",
        '"好。"黛玉说。',
    ],
)
def test_forms_of_one_line(line: str) -> None:
    assert only(f"宝玉道：“走罢？”\n{line}\n") == ([("走罢？", "好。")], [])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("“好。”", "没写是谁说的"),
        ("她道：“好。”", "说话人只写了"),
        ("忙笑道：“好。”", "只写了“道”"),
        ("只听有人道：“好。”", "说话人只写了"),
        ("黛玉的丫鬟道：“好。”", "看不出是谁说"),
        ("黛玉听紫鹃道：“好。”", "看不出是谁说"),
        ("黛玉正坐着，一个婆子进来，道：“好。”", "看不出是谁说"),
        ("黛玉大怒，紫鹃道：“好。”", "看不出是谁说"),
        ("黛玉心想：“好。”", "是心里想的、"),
        ("黛玉写道：“好。”", "是心里想的、"),
        ("黛玉和宝玉说：“好。”", "是几个人一起"),
        ("黛玉、宝玉道：“好。”", "是几个人一起"),
        ("黛玉常说“好”，众人都笑。", "夹在句子中间"),
        ("小黛玉道：“好。”", "说话人写作“"),
        ("“好。”黛玉点了点头。", "没写是谁说的"),
        ("黛玉道：“好。", "引号不成对；"),
        ("黛玉道：”好。”", "引号不成对；"),
        ("黛玉道：好。", "像是说的话，"),
        ("紫鹃：好。", "“紫鹃：”只"),
    ],
)
def test_what_is_not_certain_is_no_row(line: str, why: str) -> None:
    """A doubt is told, and the line after it is not paired with what came before the doubt."""
    found, unsure = only(f"宝玉道：“走罢？”\n{line}\n黛玉道：“走。”\n宝玉道：“请。”\n黛玉道：“嗯。”\n“……”\n")
    assert ("走罢？", "好。") not in found and ("请。", "嗯。") in found
    assert why in [reason for text, reason in unsure if "好" in text]
    if why != "是心里想的、":
        assert ("走。", "不知道它前面") in unsure
    else:
        assert ("走罢？", "走。") in found


def test_words_set_apart_are_not_speech() -> None:
    text = "宝玉道：“走罢？”匾上写着“听雨”二字，所谓“雅事”不过如此。黛玉道：“走。”"
    assert only(text) == ([("走罢？", "走。")], [])


def test_quotes_within_quotes_stay() -> None:
    text = "宝玉道：“何谓‘情’字？”黛玉道：“书上说『发乎情』，你可“懂”么？”"
    found, unsure = only("宝玉道：“何谓‘情’字？”黛玉道：“书上说『发乎情』，你可懂么？”")
    assert (found, unsure) == ([("何谓‘情’字？", "书上说『发乎情』，你可懂么？")], [])
    with pytest.raises(DataError):  # the same mark twice has no one reading
        rows_from_text(text, "黛玉")


def test_a_quote_over_several_lines_keeps_its_place() -> None:
    text = "宝玉道：“走\n罢？”黛玉道：“走。\n快走。”\n宝玉道：“请。”黛玉道：“嗯。”"
    assert rows(rows_from_text(text, "黛玉")) == [(2, "走罢？", "走。\n快走。"), (4, "请。", "嗯。")]


FERRY = [("渡河吗", "渡河去"), ("几时到", "天黑前到")]
"""What every one of these scripts says."""

SCRIPTS = {
    "a narrator": "船客:「渡河吗」\n柳翁:「渡河去」\n旁白:船开了\n船客:「几时到」\n柳翁:「天黑前到」\n",
    "a narrator in a box": "船客：渡河吗\n柳翁：渡河去\n【旁白】船开了\n船客：几时到\n柳翁：天黑前到\n",
    "directions beside quotes": "船客：“渡河吗”（指河）\n柳翁：（起身）“渡河去”。\n"
    "船客：（坐下）“几时到”\n柳翁：“天黑前到”（笑）\n",
    "directions inside quotes": "船客：「（招手）渡河吗」\n柳翁：「渡河（点头）去」\n"
    "\n船客：「几时到」\n柳翁：「天黑前到」\n",
    "narration beside quotes": "船客：「渡河吗」\n柳翁：「渡河去」他撑开船。\n"
    "船客：「几时到」\n柳翁：（笑）「天黑前到」说完不再开口。\n",
    "other brackets": "船客：「渡河吗」\n〔柳翁起身〕\n柳翁：「渡河去」\n"
    "（船开了）\n船客：「几时到」〔望天〕\n柳翁：「天黑前到」\n",
    "other quotes": "船客：‘渡河吗’\n柳翁：『渡河去』\n\n船客：﹁几时到﹂\n柳翁：'天黑前到'\n",
    "quotes in pieces": '船客：「渡河」「吗」\n柳翁：「渡河」（停）「去」\n船客：“几时到”\n柳翁："天黑前到"\n',
    "quotes over lines": '船客:「渡河\n吗」\n柳翁:“渡河\n去”\n船客:『几时\n到』\n柳翁:"天黑\n前到"\n',
    "Markdown": "## 第一场\n**船客**：渡河吗\n**柳翁：**渡河去\n\n__船客__: 几时到\n*柳翁*：天黑前到\n",
    "Markdown below": "**船客**\n渡河吗\n**柳翁**\n渡河去\n\n**船客**\n几时到\n**柳翁**\n天黑前到\n",
    "a Markdown quote": "> **船客**：渡河吗\n> **柳翁**：渡河去\n>\n> **船客**：几时到\n> **柳翁**：天黑前到\n",
    "lists": "- 船客：渡河吗\n- 柳翁：渡河去\n1. **船客**：几时到\n2、柳翁：天黑前到\n",
    "boxes": "【船客】\n「渡河吗」\n【柳翁】\n「渡河去」\n\n【船客】几时到\n【柳翁】：天黑前到\n",
    "titles": "船客（赶路人）：渡河吗\n柳翁（船夫，笑）：渡河去\n船客(急): 几时到\n柳翁：天黑前到\n",
    "colons": "船客∶渡河吗\n柳翁﹕渡河去\n船客 ：几时到\n柳翁: 天黑前到\n",
    "times": "[00:00:01] 船客：渡河吗\n(00:03) 柳翁：渡河去\n"
    "00:00:05.120 船客：几时到\n[00:06.000 --> 00:08.000] 柳翁: 天黑前到\n",
    "a chat": "船客 2026/5/1 12:00:01\n渡河吗\n\n柳翁 2026/5/1 12:00:03\n渡河去\n"
    "\n船客  00:15\n几时到\n\n柳翁  01:00:16\n天黑前到\n",
    "a chat by times": "2026-05-01 12:00:01 船客(10001)\n渡河吗\n\n2026-05-01 12:00:03 柳翁(10002)\n渡河去\n\n"
    "12:00:05 船客\n几时到\n\n12:00:07 柳翁\n天黑前到\n",
    "subtitles": "1\n00:00:01,000 --> 00:00:02,000\n船客：渡河吗\n\n2\n00:00:03,000 --> 00:00:04,000\n柳翁：渡河去\n"
    "3\n00:00:05,000 --> 00:00:06,000\n船客：几时到\n4\n00:00:07,000 --> 00:00:08,000\n柳翁：天黑前到\n",
    "voices": "00:01.000 --> 00:02.000\n<v 船客>渡河吗</v>\n\n00:03.000 --> 00:04.000\n"
    "<v 柳翁>渡河去\n\n<船客> 几时到\n<柳翁> 天黑前到\n",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_forms_of_a_script(script: str) -> None:
    assert only(SCRIPTS[script], "柳翁") == (FERRY, [])


@pytest.mark.parametrize("quotes", ["「」", "“”", '""', "‘’"])
def test_narration_below_a_closed_quote_is_told_and_parts_no_pair(quotes: str) -> None:
    """The words in the quotes have ended, whatever they end with; without quotes they may go on."""
    opening, closing = quotes
    lines = [("船客", "渡河吗"), ("柳翁", "渡河去"), ("", "船开了"), ("船客", "几时到"), ("柳翁", "天黑前到")]
    text = "".join(f"{name}：{opening}{said}{closing}\n" if name else f"{said}\n" for name, said in lines)
    assert only(text, "柳翁") == (FERRY, [("船开了", "台词下面的这")])
    bare = re.sub(f"[{quotes}]", "", text)
    assert only(bare, "柳翁") == (FERRY[1:], [("渡河去\n船开了", "这句台词像是")])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("船客：渡河吗\n柳翁：「渡河去\n船客：几时到」\n", "引号不成对；"),
        ("船客：渡河吗\n柳翁：渡河去」\n", "引号不成对；"),
        ("船客：渡河吗\n柳翁老爷：渡河去\n", "说话人写作“"),
        ("船客：渡河吗\n老柳翁：渡河去\n", "说话人写作“"),
    ],
)
def test_what_is_not_certain_in_a_script(text: str, why: str) -> None:
    found, unsure = only(f"{text}柳翁：走\n船客：好\n柳翁：嗯\n", "柳翁")
    assert found[-1:] == [("好", "嗯")] and all("渡河去" not in words for row in found for words in row)
    assert why in [reason for words, reason in unsure if "渡河去" in words]


@pytest.mark.parametrize("line", ["12:30 出发", "**重点** 别回头", "3. 明天走", "他说：**快走**", "a < b > c", "2:1"])
def test_what_only_looks_like_a_label_or_a_time(line: str) -> None:
    """It makes nobody a speaker, and stays as it is where it is said."""
    found = rows_from_text(f"船客：渡河吗\n柳翁：{line}\n\n{line}\n{line}\n", "柳翁")
    assert rows(found) == [(2, "渡河吗", line)]
    assert found.speakers == {"船客": 1, "柳翁": 1}


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends_and_a_byte_order_mark(line_end: str) -> None:
    text = "\ufeff" + line_end.join(["宝玉：走罢？", "", "黛玉：走。"])
    assert rows(rows_from_text(text, "黛玉")) == [(3, "走罢？", "走。")]


@pytest.mark.parametrize(
    "between",
    ["\n\n", "第二回\n", "第二章 归来\n", "场景二\n", "场景：园中\n", "***\n", "* * *\n", "——————\n", "Chapter 2\n"],
)
def test_nothing_is_paired_across_a_scene(between: str) -> None:
    found, unsure = only(f"宝玉：走罢？\n{between}黛玉：走。\n宝玉：请。\n黛玉：嗯。\n")
    assert found == [("请。", "嗯。")]
    assert unsure == [("走。", "这一场里，在")]


@pytest.mark.parametrize("between", ["\n", "（雨声）\n", "△ 黛玉抬头。\n", "\n第二回见面时，他已经老了。\n"])
def test_what_breaks_no_scene(between: str) -> None:
    assert ("走罢？", "走。") in only(f"宝玉：走罢？\n{between}黛玉：走。\n")[0]


@pytest.mark.parametrize(("characters", "paired"), [(FAR_CHARACTERS - 20, True), (FAR_CHARACTERS + 1, False)])
def test_too_far_apart(characters: int, paired: bool) -> None:
    found, unsure = only(f"宝玉道：“走罢？”\n{'雨' * characters}。\n黛玉道：“走。”\n")
    assert found == ([("走罢？", "走。")] if paired else [])
    assert unsure == ([] if paired else [("走。", "与前面的话隔")])


def test_turns_guess_but_make_no_row() -> None:
    text = "宝玉道：“一。”\n黛玉道：“二。”\n“三。”\n“四。”\n“五。”\n"
    found = rows_from_text(text, "黛玉")
    assert rows(found) == [(2, "一。", "二。")]
    assert [doubt.why.en.partition("may be ")[2][:2] for doubt in found.unsure] == ["宝玉", "黛玉", "宝玉"]


# ---- names -----------------------------------------------------------------------------------------------------


def test_aliases_make_one_speaker() -> None:
    text = "宝玉：走罢？\n林妹妹：走。\n颦儿：快走。\n宝二爷：请。\n"
    aliases = parse_aliases(["黛玉=林妹妹,颦儿", "宝玉＝宝二爷"])
    assert aliases == {"黛玉": ("林妹妹", "颦儿"), "宝玉": ("宝二爷",)}
    for name in ("黛玉", "颦儿"):
        found = rows_from_text(text, name, aliases)
        assert rows(found) == [(2, "走罢？", "走。\n快走。")]
        assert found.speakers == {"宝玉": 2, "黛玉": 2}
    assert parse_aliases(["黛玉=颦儿", "黛玉=林妹妹、潇湘妃子"]) == {"黛玉": ("颦儿", "林妹妹", "潇湘妃子")}


@pytest.mark.parametrize("text", ["黛玉", "=颦儿", "黛玉=", "黛玉=颦儿,,", ""])
def test_aliases_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_aliases([text])
    assert caught.value.text.zh == f"--alias {text} 看不懂；请写成 --alias 黛玉=林妹妹,颦儿"
    assert caught.value.text.en == f"--alias {text} cannot be read; write it as --alias 黛玉=林妹妹,颦儿"


def test_one_alias_for_two_people() -> None:
    with pytest.raises(UsageError) as caught:
        rows_from_text("黛玉：好。", "黛玉", {"黛玉": ["妹妹"], "宝钗": ["妹妹"]})
    assert caught.value.text.zh == "“妹妹”既是黛玉又是宝钗；请只留一个"
    assert caught.value.text.en == "“妹妹” is given to both 黛玉 and 宝钗; keep one of them"


@pytest.mark.parametrize("name", ["", "  ", "黛\n玉", "玉" * 25])
def test_names_that_cannot_be_one(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        rows_from_text("黛玉：好。", name)
    assert caught.value.text.zh.endswith("不能当角色名；请写 1 到 24 个字")
    assert "\n" not in caught.value.text.en


def test_a_speaker_who_is_not_there() -> None:
    with pytest.raises(DataError) as caught:
        rows_from_text("宝玉：一。\n黛玉：二。\n宝玉：三。\n", "宝钗")
    assert caught.value.exit_code == 3
    assert caught.value.text.zh == (
        "没有找到“宝钗”说的话；说话最多的是宝玉（2 句）、黛玉（1 句）；请改 --speaker，或用 --alias 补上别名"
    )
    assert caught.value.text.en == (
        "“宝钗” says nothing here; most is said by 宝玉 (2), 黛玉 (1); "
        "change --speaker, or add other names with --alias"
    )


@pytest.mark.parametrize("text", ["", "\n\n", "天色已晚，雨还没有停。\n"])
def test_a_text_in_which_nobody_speaks(text: str) -> None:
    with pytest.raises(DataError, match="没有找到“黛玉”说的话，也没有找到别人的"):
        rows_from_text(text, "黛玉")


def test_latin_names() -> None:
    assert only("Elizabeth: Shall we?\nMr. Hart: We shall.\nElizabeth: Good.\n", "Mr. Hart") == (
        [("Shall we?", "We shall.")],
        [],
    )


def test_json() -> None:
    row = ScriptRow(3, "走罢？", "走。")
    assert row.as_json() == {"instruction": "走罢？", "output": "走。"}
    assert next(iter(row.as_json("你是黛玉。").items())) == ("system", "你是黛玉。")
    doubt = rows_from_text("宝玉：走罢？\n黛玉：走。\n“好。”\n", "黛玉").unsure[0]
    assert isinstance(doubt, Unsure)
    assert json.loads(json.dumps(doubt.as_json("en"))) == {"line": 3, "text": "好。", "why": doubt.why.en}


# ---- what holds for every text ---------------------------------------------------------------------------------

ASIDE = "\n\n\n宝玉道：“问。”\n黛玉道：“答。”\n"
"""A scene of its own, which must be read the same whatever stands before it."""
FRAGMENTS = [
    *'“”「」『』"：:，。！？（）【】\n 　',
    "\n\n\n",
    "黛玉",
    "宝玉",
    "她",
    "紫鹃",
    "笑道",
    "说",
    "又道",
    "心想",
    "写着",
    "的丫鬟",
    "听了",
    "和",
    "看着",
    "一二三",
    "雨",
    "第二回",
    "***",
    "a b",
]


def _parts(found: Script) -> Iterable[str]:
    for row in found.rows:
        yield from (row.instruction, row.output)
    yield from (doubt.text for doubt in found.unsure)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=60).map("".join))
def test_nothing_is_invented(text: str) -> None:
    """Whatever the text, there is an answer or one clear error, every word of the answer is the text's, in order."""
    try:
        found = rows_from_text(text + ASIDE, "黛玉")
    except DataError:
        pytest.fail("黛玉 speaks in every one of these texts")
    whole = iter(found.unsure)
    assert all(1 <= doubt.line <= text.count("\n") + 5 and doubt.why.zh and doubt.why.en for doubt in whole)
    for part in _parts(found):
        letters = iter(text + "问。答。")
        assert all(letter in letters for letter in part if not letter.isspace())
    assert rows(found)[-1][1:] == ("问。", "答。")


LINES = {
    "黛玉道：“{}。”": "黛玉",
    "宝玉笑道：“{}！”": "宝玉",
    "“{}？”黛玉问。": "黛玉",
    "“{}，”宝玉说。": "宝玉",
    "黛玉：{}。": "黛玉",
    "宝玉：{}。": "宝玉",
    "她道：“{}。”": None,
    "“{}。”": None,
    "黛玉心想：“{}。”": None,
    "宝玉道：{}。”": None,
}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(LINES)), st.sampled_from(["\n", "\n\n", "\n\n\n"])), max_size=25))
def test_nothing_is_lost(lines: list[tuple[str, str]]) -> None:
    """Each line is in exactly one place: an answer, or unsure, or it is another speaker's."""
    lines = [("宝玉：{}。", "\n"), ("黛玉：{}。", "\n"), ("宝玉：{}。", "\n\n"), *lines]
    text = "".join(form.format(f"话{index:03}") + end for index, (form, end) in enumerate(lines))
    found = rows_from_text(text, "黛玉")
    answers = "".join(row.output for row in found.rows)
    unsure = "".join(doubt.text for doubt in found.unsure)
    for index, (form, _) in enumerate(lines):
        token = f"话{index:03}"
        places = answers.count(token) + unsure.count(token) + (LINES[form] == "宝玉")
        assert places == 1, token
        if LINES[form] is None:
            assert token in unsure
    for speaker in ("黛玉", "宝玉"):
        assert found.speakers[speaker] == sum(LINES[form] == speaker for form, _ in lines)


@pytest.mark.parametrize(
    "text",
    [
        "（" * 200_000,
        "“黛玉\n" * 50_000,
        "冷" * 200_000 + "道：“x。”",
        "黛玉" + " " * 200_000 + "：好",
        "宝玉道：“走罢？”黛玉道：“走。”" * 10_000,
        ("“" + "\n雨" * 28 + "\n") * 3_000,
        "柳翁" + " > - 1." * 50_000 + "：好",
        "*" * 200_000 + "柳翁**：好",
        "[00:00:01" + " " * 200_000 + "] 柳翁：好",
    ],
    ids=["brackets", "open quotes", "adverbs", "spaces", "one line", "wrapped", "marks", "stars", "a time"],
)
def test_long_texts_of_one_kind_end(text: str) -> None:
    """Each would take hours if any step were worse than linear: the suite's time limit is the check."""
    found = rows_from_text(text + ASIDE, "黛玉")
    assert rows(found)[-1][1:] == ("问。", "答。")
