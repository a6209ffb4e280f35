"""How `tiny` is made: a grammar whose stories hold together, a corpus that holds no tale of others, its tokenizer."""

import hashlib
import json
import random
import re
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

from make_tiny import corpus, grammar, lexicon, plot_files, story, tables, talk, tokenizer, topics, train, wishes
from make_tiny.characters import CHARACTERS
from tonghua.data.sentences import ends_complete
from tonghua.evaluation.measures import dialogue_share, rep_n
from tonghua.models import shipped

LENGTHS = ("short", "middle", "long")
PLOTS = corpus.PLOTS
LEFT_OVER = re.compile(r"[\[\]{}|<>]|[,;!?]|。。|，，|，。|。，|：。|的的|地地|里里|  ")
COPIED_CHARACTERS = 16


def told(number: int, seed: int) -> tuple[story.Teller, str, str]:
    plot = PLOTS[number]
    teller = story.Teller(random.Random(seed), LENGTHS[seed % 3])
    return teller, plot.lesson, grammar.told(plot, teller)


@pytest.mark.parametrize("number", range(len(PLOTS)), ids=[plot.name for plot in PLOTS])
def test_every_plot_tells_whole_stories(number: int) -> None:
    texts = set()
    for seed in range(12):
        teller, lesson, text = told(number, seed)
        texts.add(text)
        assert not (found := LEFT_OVER.search(text)), text[found.start() - 20 : found.end() + 20]
        assert ends_complete(text)
        assert text.count("“") == text.count("”")
        assert teller.hero.name in text
        assert 120 <= len(text) <= 1200
        assert rep_n(text) < 0.15
        assert lesson
    assert len(texts) == 12


def test_every_name_is_introduced_by_its_kind() -> None:
    teller = story.Teller(random.Random(5))
    hero, friend = teller.hero, teller.friend
    told = grammar.introduced(f"{hero.name}来了。{friend.name}也来了。{hero.name}笑了。", teller)
    assert told == f"{hero.full}来了。{friend.full}也来了。{hero.name}笑了。"
    known = f"有{hero.one}，叫{hero.name}。"
    assert grammar.introduced(known, teller) == known


def test_a_story_that_is_cut_or_unfinished_would_be_seen() -> None:
    _, _, text = told(0, 0)
    assert LEFT_OVER.search(text + "[甲|乙]")
    assert not ends_complete(text[: len(text) // 2].rstrip("。！？”…"))


def test_the_grammar_is_wide() -> None:
    assert len(PLOTS) >= 60
    assert len({plot.lesson for plot in PLOTS}) >= 30
    assert len({being.kind for being in lexicon.BEINGS}) == len(lexicon.BEINGS) >= 100
    assert len(lexicon.NAMES) == len(set(lexicon.NAMES)) >= 90
    texts = [told(number, seed)[2] for number in range(len(PLOTS)) for seed in range(6)]
    assert sum(map(dialogue_share, texts)) / len(texts) >= 0.12


def test_most_wishes_name_what_the_story_has() -> None:
    named = 0
    for seed in range(200):
        teller, lesson, text = told(seed % len(PLOTS), seed)
        wish = wishes.wish(teller, lesson)
        named += teller.hero.kind in wish
        given = re.search(r"(?:主角叫|名字是)(\w+)", wish)
        assert given is None or given[1] in text
    assert named >= 120


def test_the_corpus_of_a_seed_is_the_same_again() -> None:
    first, second, other = (list(islice(corpus.conversations(seed), 40)) for seed in (1, 1, 2))
    assert first == second != other


def test_the_corpus_is_the_one_that_the_weights_have_read() -> None:
    """The model card says that the weights come from this text.

    Whoever changes a text on purpose writes the new number here, and says in the card of `tonghua/tiny` that the
    weights come from the text before, or trains them anew with `python -m make_tiny.train`.
    """
    digest = hashlib.sha256()
    for conversation in islice(corpus.conversations(3), 2000):
        digest.update((json.dumps(conversation, ensure_ascii=False) + "\n").encode())
    assert digest.hexdigest() == "b391c6fa6538307747304648de2329c298affe766b2e136164efe83a2669dcc9"


PLOT = """\
== 分享 an_example 逐句
# A comment is not told.

灯;量词 = 取1行，避开角色
- 小油灯;盏
- 红蜡烛;支

{主角}点起一{量词}{灯}，数到{30到99}。
{“[谁呀|是谁]？”{主角}小声问}

几样: 起先，;接着，;后来，
- 下雨了。
- 刮风了。
- 下雪了。

@篇幅=长
这句话只在长故事里。
  这半句接着上面。
"""


def plots_in(folder: Path, text: str) -> list[plot_files.Plot]:
    (folder / "plot.txt").write_text(text, encoding="utf-8")
    return grammar.plots_in(folder, story.NAMED)


def test_a_plot_file_is_read(tmp_path: Path) -> None:
    (plot,) = plots_in(tmp_path, PLOT)
    assert (plot.name, plot.lesson) == ("an_example", "分享")
    for seed in range(30):
        teller = story.Teller(random.Random(seed), LENGTHS[seed % 3])
        text = grammar.told(plot, teller)
        assert re.search(
            f"{teller.hero.name}点起一(盏小油灯|支红蜡烛)，数到[三四五六七八九]十[一二三四五六七八九]?。", text
        )
        assert ("只在长故事里。这半句" in text) == (teller.length == "long")
        assert text.count("了。") == (2 if teller.length == "short" else 3)
        assert not LEFT_OVER.search(text)


def test_rows_that_name_one_who_acts_are_avoided_while_others_are_left(tmp_path: Path) -> None:
    some, all_of_them = "- {主角};甲\n- 木头;乙\n- {伙伴的种类};丙", "- {主角};甲\n- {朋友};甲"
    for rows, avoided, seen in (
        (some, "，避开角色", "乙"),
        (some, "，避开主角", "乙丙"),
        (some, "", "甲乙丙"),
        (all_of_them, "，避开角色", "甲"),
    ):
        (plot,) = plots_in(
            tmp_path, f"== 分享 an_example 逐句\n东西;用处 = 取1行{avoided}\n{rows}\n\n用处是{{用处}}。\n"
        )
        told = {grammar.told(plot, story.Teller(random.Random(seed))) for seed in range(60)}
        assert told == {f"用处是{use}。" for use in seen}


def test_a_condition_tells_a_line_only_if_it_holds(tmp_path: Path) -> None:
    (plot,) = plots_in(tmp_path, "== 分享 an_example 逐段\n@季节=冬天/秋天 冷。\n@季节≠冬天 不是\n  冬天。\n完。\n")
    for seed in range(40):
        teller = story.Teller(random.Random(seed))
        told = {"冬天": "冷。完。", "秋天": "冷。不是冬天。完。"}.get(teller.season.name, "不是冬天。完。")
        assert grammar.told(plot, teller) == told


@pytest.mark.parametrize(
    ("right", "wrong", "line", "mend"),
    [
        ("{主角}点起", "{主脚}点起", 8, "the name `主脚` is not known; .* such as .*主角"),
        ("数到{30到99}", "数到{30到}", 8, "not known"),
        ("一{量词}{灯}", "一{量词}{灯", 8, "`{` is not closed; write `}`"),
        ("[谁呀|是谁]？", "[谁呀|是谁？", 9, "`}` closes nothing"),
        ("小声问}", "小声道}", 9, "end it with 说, 问, 喊 or 叮嘱"),
        ("红蜡烛;支", "红蜡烛", 6, "1 columns, not 2; write a text for each name of line 4"),
        ("灯;量词 = 取1行", "灯;量词 = 取5行", 4, "write as many as it takes"),
        ("取1行，避开角色", "取一行", 4, "write `取1行`"),
        ("避开角色", "避开主脚", 4, "`主脚` is not known"),
        ("- 下雪了。\n", "", 11, "write three words and three or more texts"),
        ("几样: 起先", "几样：起先", 12, "rows right below their head"),
        ("@篇幅=长", "@篇幅长", 16, "write `@篇幅=中/长`"),
        ("@篇幅=长", "@篇副=长", 16, "`篇副` is not known; .* such as .*篇幅"),
        ("== 分享 an_example 逐句", "== 分享 an_example 逐字", 1, "write `== 道理 name 逐句`"),
        ("== 分享 an_example 逐句\n", "", 3, "no plot begins above this line"),
    ],
)
def test_a_wrong_line_of_a_plot_is_refused(tmp_path: Path, right: str, wrong: str, line: int, mend: str) -> None:
    assert right in PLOT
    with pytest.raises(ValueError, match=rf"plot\.txt:{line}: .*{mend}"):
        plots_in(tmp_path, PLOT.replace(right, wrong, 1))


@pytest.mark.parametrize("row", ["多", "多;少;中", "多;"])
def test_a_wrong_row_of_a_table_is_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "right.txt").write_text("# words\n栏: 词;反义词\n\n大;小\n多;少\n", encoding="utf-8")
    assert tables.table("right", tmp_path) == (("大", "小"), ("多", "少"))
    (tmp_path / "wrong.txt").write_text(f"# words\n栏: 词;反义词\n\n大;小\n{row}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"wrong\.txt:5: .* columns, not 2; write one text for each of `词;反义词`"):
        tables.table("wrong", tmp_path)


def test_a_table_without_names_of_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wrong.txt").write_text("大;小\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"wrong\.txt:1: the columns have no names; write a line such as `栏: 词;反义词`"
    ):
        tables.table("wrong", tmp_path)


TOPIC = """\
== opposite 3 opposites
# The opposite of a word.

说 {词}的反义词是什么？
说 “{词}”反过来[怎么|如何]说？
答 是{反义词}。

@0.5
定说 {词}？
定答 {反义词}。
"""


def topic_of(folder: Path, text: str) -> topics.Topic:
    (folder / "topic.txt").write_text(text, encoding="utf-8")
    (topic,) = topics.topics_of(folder / "topic.txt")
    return topic


def test_a_file_of_exchanges_is_read(tmp_path: Path) -> None:
    topic = topic_of(tmp_path, TOPIC)
    chance = random.Random(1)
    pairs = {pair for _ in range(80) for pair in topic.pair(chance, {"词": "大", "反义词": "小"})}
    assert pairs == {
        ("大的反义词是什么？", "是小。"),
        ("“大”反过来怎么说？", "是小。"),
        ("“大”反过来如何说？", "是小。"),
        ("大？", "小。"),
    }


@pytest.mark.parametrize(
    ("right", "wrong", "line", "mend"),
    [
        ("“{词}”", "“{字}”", 5, "the name `字` is not known; write one of 词、反义词"),
        ("[怎么|如何]", "[怎么|如何", 5, "`\\[` is not closed; write `\\]`"),
        ("答 是", "答：是", 6, "begin it with 说, 问, 答, 补 or @"),
        ("== opposite 3", "== opposite", 1, "begin it with"),
    ],
)
def test_a_wrong_line_of_an_exchange_is_refused(tmp_path: Path, right: str, wrong: str, line: int, mend: str) -> None:
    assert right in TOPIC
    with pytest.raises(ValueError, match=rf"topic\.txt:{line}: .*{mend}"):
        topic, chance = topic_of(tmp_path, TOPIC.replace(right, wrong, 1)), random.Random(1)
        [topic.pair(chance, {"词": "大", "反义词": "小"}) for _ in range(20)]


def test_conversations_alternate_and_end_with_an_answer() -> None:
    for conversation in islice(corpus.conversations(3), 500):
        roles = [role for role, _ in conversation]
        roles = roles[1:] if roles[0] == "system" else roles
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(text.strip() for _, text in conversation)
        assert "千问" not in str(conversation) and "Qwen" not in str(conversation)


def written_by_hand() -> list[Path]:
    """The datasets that no program made: all but `bedtime`, whose tales are told in the words of the plots."""
    return [path for name, path in shipped.datasets().items() if not name.startswith("bedtime")]


def test_nothing_of_the_datasets_is_in_the_corpus() -> None:
    """No run of 16 characters of any answer; a sentence of the corpus would be found."""
    learned = "\n".join(text for conversation in islice(corpus.conversations(5), 4000) for _, text in conversation)
    runs = {learned[i : i + COPIED_CHARACTERS] for i in range(len(learned) - COPIED_CHARACTERS)}

    def copied(text: str) -> list[str]:
        each = (text[i : i + COPIED_CHARACTERS] for i in range(len(text) - COPIED_CHARACTERS))
        return [run for run in each if run in runs]

    for path in written_by_hand():
        for row in json.loads(path.read_text(encoding="utf-8")):
            assert copied(row["output"]) == []
    assert copied(learned[5000:5100])


def test_no_sentence_of_the_datasets_stands_in_the_tables() -> None:
    """The same for the texts that the grammar chooses from, whatever is drawn."""
    folder = Path(corpus.__file__).parent
    files = [*folder.glob("*.py"), *folder.glob("*/*.txt")]
    tables = "\n".join(file.read_text(encoding="utf-8") for file in files)
    for path in written_by_hand():
        for row in json.loads(path.read_text(encoding="utf-8")):
            sentences = [part for part in re.split("[。！？，…\n“”]", row["output"]) if len(part) >= 10]
            assert [sentence for sentence in sentences if sentence in tables] == []


def test_exchanges_are_many() -> None:
    chance = random.Random(1)
    answers = {str(talk.exchange(chance)) for _ in range(3000)}
    assert len(answers) > 2500


def test_the_examples_of_the_manuals_are_read(tmp_path: Path) -> None:
    def example(folder: Path) -> str:
        return re.search(r"```\n(==.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.S)[1]

    (plot,) = plots_in(tmp_path, example(grammar.FOLDER))
    told = {grammar.told(plot, story.Teller(random.Random(seed))) for seed in range(20)}
    assert len(told) == 20 and not any(map(LEFT_OVER.search, told))
    topic = topic_of(tmp_path, example(topics.FOLDER))
    assert all(topic.turns(random.Random(seed))[0][1].endswith("。") for seed in range(20))


@pytest.mark.parametrize("topic", topics.TOPICS, ids=[topic.name for topic in topics.TOPICS])
def test_every_topic_is_told_with_all_its_names(topic: topics.Topic) -> None:
    chance = random.Random(2)
    for _ in range(150):
        for asked, answer in topic.turns(chance):
            assert asked.strip() and answer.strip()
            assert not re.search(r"[\[\]{}|@]", asked + answer)


def test_every_common_character_is_one_token() -> None:
    characters = CHARACTERS
    assert len(characters) == len(set(characters)) == 3755
    assert (characters[0], characters[-1]) == ("啊", "座")
    built = Tokenizer.from_file(str(shipped.tiny() / "tokenizer.json"))
    assert built.get_vocab_size() == tokenizer.VOCABULARY
    assert [c for c in characters if len(built.encode(c).ids) != 1] == []
    rare = "龘𠮷 ½ naïve 😀 \r\n"
    assert built.decode(built.encode(rare).ids) == rare


def test_the_template_is_the_one_in_the_script() -> None:
    about = json.loads((shipped.tiny() / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert about["chat_template"] == tokenizer.CHAT_TEMPLATE


def test_the_card_says_what_it_is() -> None:
    card = (shipped.tiny() / "README.md").read_text(encoding="utf-8")
    for word in ("Apache-2.0", "tiny.train", "9.26 M"):
        assert word in card


def test_the_loss_in_parts_has_the_gradients_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "LOGITS_AT_A_TIME", 5)
    monkeypatch.setattr(torch, "autocast", lambda *_: nullcontext())  # in fp32 the two agree to rounding
    torch.manual_seed(1)
    small = {**train.SHAPE, "vocab_size": 99, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    model = Qwen2ForCausalLM(Qwen2Config(**{**small, "num_attention_heads": 2}))
    batch = torch.randint(0, 99, (3, 9))
    whole = F.cross_entropy(model(input_ids=batch[:, :-1]).logits.flatten(0, 1), batch[:, 1:].flatten())
    whole.backward()
    right = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    assert train.backward(model.model, model.lm_head.weight, batch) == pytest.approx(whole.item(), rel=1e-6)
    for weight, expected in zip(model.parameters(), right, strict=True):
        torch.testing.assert_close(weight.grad, expected, rtol=1e-4, atol=1e-7)
    train.backward(model.model, model.lm_head.weight, batch.flip(1))
    assert not torch.allclose(model.lm_head.weight.grad, right[0])


def test_a_wish_may_name_somebody_whom_no_plot_knows() -> None:
    heroes = [story.Teller(random.Random(seed)).hero.being for seed in range(400)]
    guests = sum(hero in lexicon.GUESTS for hero in heroes)
    assert 20 <= guests <= 80
    kinds = [being.kind for being in (*lexicon.BEINGS, *lexicon.GUESTS)]
    assert len(kinds) == len(set(kinds))
