"""Chat templates of the families, for models of the tests."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from tonghua.prompt.renderer import TOKENIZER_FILES

CHATML = """\
{%- if messages[0].role != 'system' %}{{- '<|im_start|>system\\n你是默认的助手。<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""


THINKING = """\
{%- for message in messages %}
{%- if message.role == 'assistant' and loop.last %}
{{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' + message.content + '<|im_end|>\\n' }}
{%- else %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}
"""

QWEN3 = """\
{%- set asked = namespace(last=-1) %}
{%- for message in messages %}{%- if message.role == 'user' %}{%- set asked.last = loop.index0 %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
{%- set text = message.content if message.content is string else '' %}
{%- if message.role != 'assistant' %}
{{- '<|im_start|>' + message.role + '\\n' + text + '<|im_end|>\\n' }}
{%- else %}
{%- set thought = message.reasoning_content if message.reasoning_content is string else '' %}
{%- if message.reasoning_content is not string and '</think>' in text %}
{%- set thought = text.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
{%- set text = text.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}
{{- '<|im_start|>assistant\\n' }}
{%- if loop.index0 > asked.last and (loop.last or thought) %}
{{- '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + text.lstrip('\\n') }}
{%- else %}
{{- text }}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}
"""
"""Behaves as the public template of Qwen3 does, without its tools."""

ALWAYS_THINKING = QWEN3.rpartition("' }}\n{%- if enable_thinking")[0] + "<think>\\n' }}{%- endif %}\n"
"""Behaves as Qwen3-Thinking does: the prompt of every answer opens its reasoning."""

GEMMA = """\
{{- bos_token }}
{%- if messages[0].role == 'system' %}{{- raise_exception('System role not supported') }}{%- endif %}
{%- for message in messages %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif %}
{%- set role = 'model' if message.role == 'assistant' else message.role %}
{{- '<start_of_turn>' + role + '\\n' + message.content | trim + '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}
"""

MISTRAL = """\
{{- bos_token }}
{%- if messages[0].role == 'system' %}
{%- set lead = messages[0].content + '\\n\\n' %}{%- set loop_messages = messages[1:] %}
{%- else %}
{%- set lead = '' %}{%- set loop_messages = messages %}
{%- endif %}
{%- for message in loop_messages %}
{%- if message.role == 'user' %}
{{- '[INST] ' + (lead if loop.first else '') + message.content + ' [/INST]' }}
{%- else %}
{{- ' ' + message.content + eos_token }}
{%- endif %}
{%- endfor %}
"""


def with_template(folder: Path, at: Path, template: str | None, specials: Sequence[str] = ()) -> Path:
    """The tokenizer of `folder` in a folder of its own, with this template and more control tokens."""
    made = at / "改过的 模型"
    made.mkdir()
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            shutil.copy(folder / name, made / name)
    values = json.loads((made / "tokenizer_config.json").read_text(encoding="utf-8"))
    values.pop("chat_template", None)
    if specials:
        tokenizer = Tokenizer.from_file(str(made / "tokenizer.json"))
        tokenizer.add_special_tokens(list(specials))
        tokenizer.save(str(made / "tokenizer.json"))
        values |= {"bos_token": specials[0], "eos_token": specials[-1]}
    (made / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    (made / "chat_template.jinja").unlink(missing_ok=True)
    if template is not None:
        (made / "chat_template.jinja").write_text(template, encoding="utf-8")
    return made
