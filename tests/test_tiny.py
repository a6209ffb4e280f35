"""How `tiny` is made: a grammar whose stories are whole, a corpus that holds nothing of the datasets, its tokenizer."""

import json
import random
import re
from itertools import islice
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from make_tiny import corpus, lexicon, story, talk, tokenizer
from tonghua.data.sentences import ends_complete
from tonghua.evaluation.measures import dialogue_share, rep_n
from tonghua.models import shipped

LENGTHS = ("short", "middle", "long")
PLOTS = corpus.PLOTS
LEFT_OVER = re.compile(r"[\[\]{}|<>]|[,;!?]|。。|，，|，。|。，|：。|的的|地地|里里|  ")
COPIED_CHARACTERS = 16


def told(number: int, seed: int) -> tuple[story.Teller, str, str]:
    lesson, plot = PLOTS[number]
    teller = story.Teller(random.Random(seed), LENGTHS[seed % 3])
    return teller, lesson, story.told(plot, teller)


@pytest.mark.parametrize("number", range(len(PLOTS)), ids=[f"{plot.__name__}" for _, plot in PLOTS])
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


def test_a_story_that_is_cut_or_unfinished_would_be_seen() -> None:
    _, _, text = told(0, 0)
    assert LEFT_OVER.search(text + "[甲|乙]")
    assert not ends_complete(text[: len(text) // 2].rstrip("。！？”…"))


def test_the_grammar_is_wide() -> None:
    assert len(PLOTS) >= 60
    assert len({lesson for lesson, _ in PLOTS}) >= 30
    assert len({being.kind for being in lexicon.BEINGS}) == len(lexicon.BEINGS) >= 100
    assert len(lexicon.NAMES) == len(set(lexicon.NAMES)) >= 400
    texts = [told(number, seed)[2] for number in range(len(PLOTS)) for seed in range(6)]
    assert sum(map(dialogue_share, texts)) / len(texts) >= 0.12


def test_most_wishes_name_what_the_story_has() -> None:
    named = 0
    for seed in range(200):
        teller, lesson, text = told(seed % len(PLOTS), seed)
        wish = story.wish(teller, lesson)
        named += teller.hero.kind in wish
        given = re.search(r"(?:主角叫|名字是)(\w+)", wish)
        assert given is None or given[1] in text
    assert named >= 120


def test_the_corpus_of_a_seed_is_the_same_again() -> None:
    first, second, other = (list(islice(corpus.conversations(seed), 40)) for seed in (1, 1, 2))
    assert first == second != other


def test_conversations_alternate_and_end_with_an_answer() -> None:
    for conversation in islice(corpus.conversations(3), 500):
        roles = [role for role, _ in conversation]
        roles = roles[1:] if roles[0] == "system" else roles
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(text.strip() for _, text in conversation)
        assert "千问" not in str(conversation) and "Qwen" not in str(conversation)


def test_nothing_of_the_datasets_is_in_the_corpus() -> None:
    """No run of 16 characters of any answer; a sentence of the corpus would be found."""
    learned = "\n".join(text for conversation in islice(corpus.conversations(5), 4000) for _, text in conversation)
    runs = {learned[i : i + COPIED_CHARACTERS] for i in range(len(learned) - COPIED_CHARACTERS)}

    def copied(text: str) -> list[str]:
        each = (text[i : i + COPIED_CHARACTERS] for i in range(len(text) - COPIED_CHARACTERS))
        return [run for run in each if run in runs]

    for path in shipped.datasets().values():
        for row in json.loads(path.read_text(encoding="utf-8")):
            assert copied(row["output"]) == []
    assert copied(learned[5000:5100])


def test_no_sentence_of_the_datasets_stands_in_the_tables() -> None:
    """The same for the texts that the grammar chooses from, whatever is drawn."""
    folder = Path(corpus.__file__).parent
    files = [*folder.glob("*.py"), *folder.glob("*/*.txt")]
    tables = "\n".join(file.read_text(encoding="utf-8") for file in files)
    for path in shipped.datasets().values():
        for row in json.loads(path.read_text(encoding="utf-8")):
            sentences = [part for part in re.split("[。！？，…\n“”]", row["output"]) if len(part) >= 10]
            assert [sentence for sentence in sentences if sentence in tables] == []


def test_exchanges_are_many() -> None:
    chance = random.Random(1)
    answers = {str(talk.exchange(chance)) for _ in range(3000)}
    assert len(answers) > 2500


def test_every_common_character_is_one_token() -> None:
    characters = tokenizer.common_characters()
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
