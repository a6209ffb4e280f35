"""The tokenizer of `tiny`: byte-level BPE over 8,192 tokens, and the ChatML template.

    256 bytes | 3,755 characters of GB2312 level 1 | words of the corpus, up to three characters | 3 special

Each common character is one token even if the corpus lacks it. So a user's rows cost at most about one token per
character.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from make_tiny.characters import CHARACTERS
from make_tiny.corpus import conversations

VOCABULARY = 8192
END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHARACTER_WEIGHT = 500  # above the count of rare words in the sample, so that every character gets its token
SAMPLE_CONVERSATIONS = 16_000
LONGEST_TOKEN_BYTES = 9

# Runs of letters, with at most one mark before them; single digits; runs of punctuation; white space.
PIECES = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

CHAT_TEMPLATE = """\
{%- if messages[0].role != 'system' %}
{{- '<|im_start|>system\\n你是一个乐于助人的助手。<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def build(seed: int) -> Tokenizer:
    """Train the tokenizer on the corpus of this seed."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(PIECES, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(mark, special=True) for mark in (END_OF_TEXT, TURN_START, TURN_END)],
        max_token_length=LONGEST_TOKEN_BYTES,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(seed), trainer)
    return tokenizer


def _texts(seed: int) -> Iterator[str]:
    for _ in range(CHARACTER_WEIGHT):
        yield "\n".join(CHARACTERS)
    for conversation in islice(conversations(seed), SAMPLE_CONVERSATIONS):
        for _, text in conversation:
            yield text


def write(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json for the Hugging Face libraries."""
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": TURN_END,
        "pad_token": END_OF_TEXT,
        "bos_token": None,
        "unk_token": None,
        "add_prefix_space": False,
        "errors": "replace",
        "model_max_length": 2048,
        "chat_template": CHAT_TEMPLATE,
    }
    text = json.dumps(about, ensure_ascii=False, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8", newline="\n")
