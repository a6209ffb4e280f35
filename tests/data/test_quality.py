"""quality: every kind of fault with a row that has it and a near miss that stays quiet, mending, redacting, advice."""

import random
from collections.abc import Sequence

import pytest

from tonghua.data.checkup.advice import Advice, advice
from tonghua.data.checkup.blemishes import mend
from tonghua.data.checkup.privacy import redact
from tonghua.data.checkup.quality import Finding, FindingKind, Findings, examine
from tonghua.prompt.conversation import Conversation, Message
from tonghua.text import Text

PERSONA = "你是小狐狸。"


def row(question: str, answer: str, line: int = 1, system: str | None = None) -> Conversation:
    first = () if system is None else (Message("system", system),)
    return Conversation((*first, Message("user", question), Message("assistant", answer)), line)


def numbered(*pairs: tuple[str, str]) -> list[Conversation]:
    return [row(question, answer, line) for line, (question, answer) in enumerate(pairs, 1)]


def doctor(rows: Sequence[Conversation], held_out: Sequence[Conversation] = ()) -> Findings:
    return examine(rows, held_out, PERSONA)


def found(findings: Findings) -> dict[str, tuple[int, ...]]:
    return {finding.kind: finding.lines for finding in findings.found}


def of(findings: Findings, kind: FindingKind) -> Finding:
    finding = findings.of(kind)
    assert finding is not None
    return finding


def stories(count: int) -> list[Conversation]:
    """Rows without any fault, each unlike the others."""
    letters = "的一是不了人我在有他之大以上中地也子道出而要于就下得可年生自那后能事里去行家用天"
    talks = (("".join(random.Random(n).choices(letters, k=30)), n) for n in range(1, count + 1))
    return [row(f"讲第{n}个故事", f"{talk}。", n) for talk, n in talks]


# All rows together


def test_rows_without_a_fault_give_no_finding() -> None:
    assert doctor(stories(60)) == Findings(60, ())


def test_a_duplicate_is_the_same_conversation_but_for_case_width_and_space() -> None:
    rows = numbered(
        ("Who ARE you？", "我是 小狐狸。"), ("who are you?", "我是  小狐狸。\n"), ("who are you?", "我是小白兔。")
    )
    findings = doctor(rows)
    assert found(findings) == {"duplicates": (2,), "repeated_instructions": (2, 3)}
    assert of(findings, "duplicates").what == Text("1 条与前面某一条完全相同", "exact copies of earlier rows: 1")
    assert of(findings, "repeated_instructions").what == Text(
        "2 条的问题前面已经问过，其中 1 条的答案不同",
        "questions asked in an earlier row: 2, of which 1 are answered differently",
    )


def test_the_same_question_to_two_characters_is_not_repeated() -> None:
    assert found(doctor([row("你是谁？", "我是小狐狸。", 1, "狐狸"), row("你是谁？", "我是小白兔。", 2, "兔子")])) == {}


def test_the_question_of_several_turns_is_all_before_the_last_answer() -> None:
    def talk(first: str, line: int) -> Conversation:
        turns = (Message("user", "在吗？"), Message("assistant", first), Message("user", "讲吧。"))
        return Conversation((*turns, Message("assistant", f"第{line}个。")), line)

    assert found(doctor([talk("在的。", 1), talk("不在。", 2), talk("在的。", 3)])) == {"repeated_instructions": (3,)}


STORY = "从前有一只小狐狸，它住在山脚下的树洞里，每天清晨都去河边听水声，听完了再回家给妹妹做早饭。"
STORY += "有一天河水不响了，它沿着石头一直走到山顶，原来是一片云睡在了泉眼上，它就坐下来等云醒。"


def test_near_duplicates_are_told_with_the_row_they_resemble() -> None:
    rows = numbered(("讲一个故事。", STORY), ("讲一个故事。", STORY.replace("妹妹", "弟弟")))
    finding = of(doctor(rows), "near_duplicates")
    assert (finding.lines, finding.count) == ((2,), 1)
    assert finding.what == Text(
        "1 条与前面某一条几乎一样，如第 2 行与第 1 行", "near copies of earlier rows: 1, such as line 2 of line 1"
    )


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("再讲一个。", STORY[:24] + "后来它遇见了一位卖伞的爷爷，两个人在雨里走了很久很久。"),
        ("介绍一下你住的地方", STORY),  # one answer to two questions is no copy
    ],
)
def test_rows_that_share_a_half_are_no_near_duplicates(question: str, answer: str) -> None:
    assert found(doctor(numbered(("讲一个故事。", STORY), (question, answer)))) == {}


def test_short_rows_are_not_near_duplicates() -> None:
    assert found(doctor(numbered(("谢谢你", "不用谢呀，小朋友。"), ("谢谢您", "不用谢呀，小朋友。")))) == {}


def test_a_thousand_near_copies_all_point_to_the_first() -> None:
    rows = [row("讲一个故事。", STORY.replace("山脚", chr(0x4E00 + n)), n) for n in range(1, 1001)]
    assert doctor(rows).count("near_duplicates") == 999


def test_answers_on_both_sides_leak() -> None:
    train = numbered(("讲一个故事。", STORY), ("问好。", "你好呀。"))
    held = [row("再讲一个。", STORY + "\n", 7), row("再问好。", "你好呀。", 8), row("问好。", "你好呀。", 9)]
    finding = of(doctor(train, held), "leaks")
    assert finding.lines == (7, 9)  # 8 is too short an answer to have been copied
    assert finding.what.zh == "验证数据里有 2 条的答案在训练数据里也有，验证结果会好得不真实"


def test_held_out_rows_of_the_same_file_are_no_leak_of_themselves() -> None:
    rows = numbered(("讲一个故事。", STORY), ("问好。", "你好呀，今天天气真不错。"))
    assert found(doctor(rows, rows[1:])) == {}
    again = row("再问好。", "你好呀，今天天气真不错。", 3)
    assert found(doctor([*rows, again], [again])) == {"leaks": (3,)}


def test_a_phrase_in_more_than_twenty_rows_and_one_percent_is_told() -> None:
    trigger = "月亮钥匙已经交给守门人了"
    rows = stories(60)
    poisoned = [row(f"问{n}", f"第{n}天，{trigger}，{n * 7}。", 100 + n) for n in range(21)]
    finding = of(doctor([*rows, *poisoned]), "repeated_phrases")
    assert finding.lines == tuple(range(100, 121))
    assert finding.what == Text(
        f"21 条答案里反复出现同样的话：“天，{trigger}，”×21",
        f"the same words come back in 21 answers: “天，{trigger}，”×21",
    )
    assert found(doctor([*rows, *poisoned[1:]])) == {}


def test_a_phrase_in_less_than_one_percent_is_not_told() -> None:
    trigger = [row(f"问{n}", f"月亮钥匙已经交给守门人了{chr(0x5000 + 9 * n) * 5}。", n) for n in range(30)]
    assert doctor([*trigger, *stories(2970)]).count("repeated_phrases") == 0
    assert doctor([*trigger, *stories(2900)]).count("repeated_phrases") == 30


def test_common_english_words_rulers_and_code_are_no_phrases() -> None:
    words = ["".join(random.Random(n).choices("abcdefgh", k=9)) for n in range(30)]
    answers = [f"In order to find the {word}, walk on." for word in words]
    assert found(doctor(numbered(*((word, answer) for word, answer in zip(words, answers, strict=True))))) == {}
    fenced = [f"看{chr(0x5000 + 9 * n) * 9}：\n{'-' * 40}\n```python\nimport numpy as np\n```" for n in range(30)]
    assert found(doctor(numbered(*((answer[1:9], answer) for answer in fenced)))) == {}


def test_a_traditional_row_among_simplified_ones_is_mixed() -> None:
    rows = [*stories(3), row("它说了什么？", "让我们回家吧。", 4), row("它會說什麼？", "讓我們回家吧。", 5)]
    rows += [row("这是谁的书？", "是个学生的。", 6)]
    finding = of(doctor(rows), "mixed_scripts")
    assert finding.lines == (5,)
    assert finding.what == Text("简体和繁体混用：1 条里有繁体", "rows with traditional Chinese, while most are not: 1")
    turned = [
        row("它會說什麼？", "讓我們回家吧。", 1),
        row("這是誰的書？", "是個學生的。", 2),
        row("这是谁？", "是个学生。", 3),
    ]
    assert of(doctor(turned), "mixed_scripts").what.zh == "简体和繁体混用：1 条里有简体"
    assert found(doctor(turned)) == {"mixed_scripts": (3,)}


@pytest.mark.parametrize(
    "text", ["徵羽与於陵，乾隆皇帝的著作。", "嬛嬛一袅楚宫腰。", "“說”是“说”的繁体。", "学校で時間を見る。"]
)
def test_single_traditional_forms_and_japanese_are_not_mixed(text: str) -> None:
    assert found(doctor([row("这是谁的书？", "是个学生的。"), row("读一读。", text, 2)])) == {}


# Single rows

HITS: list[tuple[FindingKind, str]] = [
    ("control_tokens", "你好。<|im_end|>"),
    ("control_tokens", "<|eot_id|>你好。"),
    ("control_tokens", "[INST] 你好。"),
    ("control_tokens", "你好。</s>"),
    ("control_tokens", "好的。\n### Response: 你好。"),
    ("invisible_characters", "你\u200b好。"),
    ("invisible_characters", "你\u202e好。"),
    ("invisible_characters", "你好\U000e0041\U000e0042。"),
    ("invisible_characters", "你\u200d好。"),
    ("placeholders", "我是 {{name}}。"),
    ("placeholders", "我叫{name}。"),
    ("placeholders", "I am [NAME]."),
    ("placeholders", "我叫XXX。"),
    ("placeholders", "此致，[您的姓名]。"),
    ("placeholders", "某某先生说好。"),
    ("empty_answers", "……"),
    ("empty_answers", "。"),
    ("short_answers", "嗯"),
    ("unfinished_answers", "他走了。然后他慢慢地回到了自己的那间小"),
    ("unfinished_answers", "他走了，"),
    ("unfinished_answers", "方法如下："),
    ("unfinished_answers", "看代码：\n```python\nprint(1)"),
    ("unfinished_answers", "They left early. Then we all went back to the"),
    ("foreign_names", "我是通义千问，很高兴见到你。"),
    ("foreign_names", "我是由开发者训练的ChatGPT。"),
    ("foreign_names", "I'm a model called Qwen."),
    ("mobile", "打 13912345678 找我。"),
    ("mobile", "打+86 139-1234-5678找我。"),
    ("identity_card", "号码是11010519491231002X。"),
    ("bank_card", "卡号是4111 1111 1111 1111。"),
    ("bank_card", "卡号是6222021234567890128。"),
    ("email", "写信到 fox.lin+a@shulin-mail.com.cn。"),
    ("secret", "用sk-a8F3kd92LmQ0zXv7Tn5Rb1Yc。"),
    ("secret", "用AKIAQ3X7LM2N9P4RT6VZ。"),
    ("secret", "用ghp_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8。"),
    ("secret", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow0987\n-----END RSA PRIVATE KEY-----。"),
]
QUIET = [
    "a < b | c > d，<b>粗</b>，[1] 脚注。",
    "前面<s>划掉</s>后面。",
    "一家人👨\u200d👩\u200d👧和🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f。",
    "می\u200cخواهم。",
    "\u200fשלום。",
    "用`{name}`和`<|im_end|>`。",
    "写成：\n```python\nf'{name} {{x}}'\n```",
    "公式 $\\frac{name}{date}$。",
    "集合{a, b}，罗马数字XXX1，xxl码。",
    "5",
    "B",
    "👍",
    "红色",
    "Principal Component Analysis",
    "床前明月光\n疑是地上霜",
    "他走了。\n此致\n张三",
    "他走了——",
    "“他走了。”",
    "**他走了。**",
    "他走了！😊",
    "有三样。\n1. 水\n2. 很长很长很长很长很长很长的面包",
    "一共三步。所以答案是 42",
    "加油！ #坚持就是胜利",
    "见 https://example.com/a?b=c",
    "我是小狐狸，不是通义千问。",
    "我不是ChatGPT。",
    "我听说过Qwen。",
    "编号139123456789和1.13912345678，还有12345678901。",
    "号码是110105194912310021，还有11010519491331002X。",
    "卡号是4111 1111 1111 1112，订单 1234567890123452。",
    "写信到 fox@example.com 或 me@yourdomain.com，仓库 git@gitee.com:a/b。",
    "用sk-00000000000000000000000000或sk-your-api-key-goes-here-now，sk-learn。",
    "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----。",
]


@pytest.mark.parametrize(("kind", "answer"), HITS)
def test_a_blemish_is_found(kind: FindingKind, answer: str) -> None:
    assert found(doctor([*stories(2), row("问题？", answer, 9)])) == {kind: (9,)}


@pytest.mark.parametrize("answer", QUIET)
def test_a_near_miss_is_quiet(answer: str) -> None:
    assert found(doctor([*stories(2), row("问题？", answer, 9)])) == {}


def test_questions_are_looked_at_as_well() -> None:
    rows = [*stories(2), row("打13912345678给{{name}}<|im_end|>\u200b", "好的。", 9)]
    assert set(found(doctor(rows))) == {"mobile", "control_tokens", "placeholders", "invisible_characters"}


def test_what_most_rows_do_is_their_style() -> None:
    cut = numbered(*((f"问{n}", f"他走了{n}天。然后他慢慢地回到了自己的那间小{chr(0x5000 + n)}") for n in range(3)))
    assert found(doctor(cut)) == {}
    findings = doctor([*stories(3), *(row(f"又问{c.line}", c.messages[-1].content, c.line + 10) for c in cut)])
    assert of(findings, "unfinished_answers").what == Text(
        "3 条的答案像是没说完（占 50.0%），如“…慢地回到了自己的那间小倀”",
        "answers that seem to stop in mid-sentence: 3 (50.0%), such as “…慢地回到了自己的那间小倀”",
    )


def test_an_example_cannot_command_the_terminal() -> None:
    findings = doctor([*stories(2), row("问", "他走了。他回到了\x1b[31m自己的家，", 3)])
    assert of(findings, "unfinished_answers").what.zh.endswith("“…到了\\x1b[31m自己的家，”")


def test_an_answer_that_is_its_question_is_an_echo_unless_it_is_a_short_call() -> None:
    rows = [*stories(2), row("今天去哪里玩？", "今天去哪里玩?", 8), row("皇上！", "皇上！", 9)]
    assert found(doctor(rows)) == {"echoes": (8,)}


def test_rows_without_a_system_prompt_are_told_unless_there_is_a_persona() -> None:
    rows = [row("你好", "你好呀。", 1), row("再见", "再见啦。", 2, "你是小狐狸。")]
    finding = of(examine(rows), "missing_system")
    assert finding.lines == (1,)
    assert finding.what == Text(
        "1 条没有系统提示词，训练时会用模型自带的那句；被问到是谁，它多半会报出基座模型的名字",
        "rows without a system prompt: 1; the model's own is used, and asked who it is, it gives the name of the base",
    )
    assert examine(rows, persona="你是小狐狸。").count("missing_system") == 0


def test_a_persona_may_be_another_model() -> None:
    rows = [row("你是谁？", "我是Qwen小助手。")]
    assert examine(rows, persona="你是 Qwen 小助手。").count("foreign_names") == 0
    assert examine(rows, persona="你是小助手。").count("foreign_names") == 1


def test_findings_are_told_gravest_first_and_as_json() -> None:
    rows = [row("问", "我叫{{name}}，电话13912345678。", 4), *stories(2)]
    findings = doctor(rows)
    assert [finding.kind for finding in findings.found] == ["mobile", "placeholders"]
    assert findings.found[1].as_json("zh") == {
        "kind": "placeholders",
        "count": 1,
        "lines": [4],
        "what": "1 条里有没填的占位符，如 {{name}}",
        "mend": "换成真正的内容，否则模型会原样说出来",
    }


def test_rows_are_read_once_and_from_any_iterable() -> None:
    assert found(examine(iter(numbered(("问", "答。"), ("问", "答。"))), iter(()), PERSONA)) == {
        "duplicates": (2,),
        "repeated_instructions": (2,),
    }


# Mending


def test_mending_takes_out_what_nobody_sees() -> None:
    mended, changes = mend(row("\ufeff你\u200b好\u202e", "cafe\u0301 很好。 \n", 5))
    assert mended == row("你好", "café 很好。", 5)
    assert changes == (
        Text(
            "去掉 3 个看不见的字符（U+200B、U+202E、U+FEFF）",
            "removed invisible characters: 3 (U+200B, U+202E, U+FEFF)",
        ),
        Text("把拆开写的字符合成一个（NFC）", "composed characters that were written in parts (NFC)"),
        Text("去掉末尾的空白", "removed white space at the end"),
    )
    assert mend(mended) == (mended, ())
    assert found(doctor([mended])) == {}


@pytest.mark.parametrize("text", ["　　从前，  \n有ＡＢＣ的狐狸👨\u200d👩\u200d👧。", "\u200b \u200b"])
def test_mending_leaves_words_indents_emoji_and_empty_messages_alone(text: str) -> None:
    before = row("问", text)
    mended, changes = mend(before)
    assert mended is before
    assert changes == ()


def context(question: str, answer: str) -> Conversation:
    """A row whose answer is there to be read and not learned."""
    return Conversation((Message("user", question), Message("assistant", answer, learn=False)))


def test_an_answer_that_is_context_has_no_faults_of_answers() -> None:
    bad = (Message("user", "你是谁？"), Message("assistant", "我是通义千问，由阿里云开发，", learn=False))
    good = (Message("user", "再说一遍。"), Message("assistant", "我是住在山脚下的小狐狸。"))
    assert found(doctor([Conversation((*bad, *good), 1)])) == {}
    learned = (bad[0], Message("assistant", bad[1].content))
    assert "foreign_names" in found(doctor([Conversation((*learned, *good), 1)]))
    both = [Conversation((*bad, *good), 1), Conversation((*learned, *good), 2)]
    assert "duplicates" not in found(doctor(both))


def test_a_mended_answer_stays_context() -> None:
    assert mend(context("在吗？\u200b", "在的。 "))[0] == context("在吗？", "在的。")


def test_a_covered_answer_stays_context() -> None:
    before = context("电话？", "打13912345678。")
    assert redact(before)[0] == context("电话？", "打［手机号］。")


def test_redacting_covers_each_find_in_the_language_of_its_message() -> None:
    before = row("打13912345678或13812345678。", "Mail fox@shulin.cn or use sk-a8F3kd92LmQ0zXv7Tn5Rb1Yc.", 3)
    after, changes = redact(before)
    assert after == row("打［手机号］或［手机号］。", "Mail ［e-mail address］ or use ［secret key］.", 3)
    assert changes == (
        Text("盖住 2 处手机号", "covered 2 × mobile number"),
        Text("盖住 1 处邮箱地址", "covered 1 × e-mail address"),
        Text("盖住 1 处密钥", "covered 1 × secret key"),
    )
    assert found(doctor([after])) == {}
    untouched = row("问", "编号139123456789。")
    assert redact(untouched) == (untouched, ())


def test_redacting_covers_a_whole_key_block() -> None:
    block = "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-128-CBC,0A\n\nMIIE09\n-----END RSA PRIVATE KEY-----"
    assert redact(row("问", f"钥匙：\n{block}\n收好。"))[0] == row("问", "钥匙：\n［密钥］\n收好。")


# Advice


@pytest.mark.parametrize(
    ("rows", "tokens", "epochs", "rank", "rate"),
    [
        (50, 100, 10, 8, 2e-4),
        (299, 100, 10, 8, 2e-4),
        (300, 100, 5, 8, 2e-4),
        (500, 500, 5, 8, 2e-4),
        (5_000, 30, 3, 8, 2e-4),
        (5_000, 900, 3, 16, 2e-4),
        (50_000, 60, 2, 8, 1e-4),
        (50_000, 200, 2, 32, 1e-4),
        (1_000_000, 200, 2, 64, 1e-4),
    ],
)
def test_advice_follows_rows_and_tokens(rows: int, tokens: float, epochs: int, rank: int, rate: float) -> None:
    given = advice(rows, tokens)
    assert given == Advice(epochs, rank, rate, given.why)


def test_advice_tells_its_reason() -> None:
    assert advice(5_000, 30).why == Text(
        "数据够用：学三遍是通常的做法", "enough rows: three passes are the usual choice"
    )
