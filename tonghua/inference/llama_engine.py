"""The engine that hands the work to llama.cpp, through the package xllamacpp.

    base.gguf, adapter 0.gguf, adapter 1.gguf  ──►  Llama, loaded once  ◄──  a LlamaEngine for each run

Each token is a request of its own: prompt and answer so far in, one token out; what was read before lies in the slot.
So the penalties see the answer alone, as in `sampling.py`; every stream gets its turn after each token, whichever
adapter it has; and an answer can end at any token. A request costs a few hundredths of the time of its token.

Where nothing is drawn and nothing penalized, a request asks for several tokens, and llama.cpp drafts them from what
stands in the conversation: an answer that copies or rewrites comes faster (benchmarks/LOG.md). The tokens are the same.

What llama.cpp would do differently, and is avoided here:

    "lora": []            means the adapters' own scales: every request names all of them
    an unknown adapter    is silently left out: adapters are numbers of `Llama`, checked here
    its DRY               looks for its breakers in the whole vocabulary anew: ours goes in as a bias
    half a character      is answered without its token: see `_split_character`
    a port                it opens one on loopback: with a key that nobody knows, and without pages
"""

import hashlib
import math
import secrets
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Condition, Event
from typing import Any

from ..config.schema import Sampling
from ..errors import DataError, DivergedError
from ..prompt.contract import Contract
from ..prompt.renderer import Renderer
from .dry import dry_penalties
from .engine import Engine, Token, TokenLogs, room_for_answer

CONTEXT_TOKENS = 8192
"""Maximum tokens of a conversation: each slot has memory for as many from the start."""

SLOTS = 4
"""Maximum answers that are computed at the same time; further ones wait."""

READ_AT_ONCE_TOKENS = 128
"""A longer prompt is read in parts: others get their turn in between, and it can be given up."""

LONGEST_CHARACTER_TOKENS = 4

DRAFTED_TOKENS = 16
"""Tokens of a request where llama.cpp may draft: others wait for so many."""

DRAFT_AFTER, DRAFT = 3, 8
"""Tokens that must have stood in the conversation before, and most tokens of a draft; 12 and 48 lose (LOG.md)."""

CONSIDERED = 1000
"""Likeliest tokens among which log p of a token within a character is looked for."""

UNLIKELY = -9999.0
"""Log p of a token that is not among them, as OpenAI's service tells it."""

ORDER = ("penalties", "temperature", "top_k", "top_p", "min_p")
"""The order of `sampling.candidates_plain`."""


_Tokens = Generator[TokenLogs | None, None, None]
"""Tokens as they come, each first in its `logs`, and None where an answer is still reading its prompt."""


class Llama:
    """A base and its adapters in llama.cpp. Any number of threads may ask for tokens."""

    def __init__(self, base: Path, adapters: Sequence[Path], context_tokens: int, threads: int, slots: int = SLOTS):
        """Raises DataError if a file is damaged."""
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(base)
        params.n_parallel, params.n_ctx = slots, slots * context_tokens
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        # Loaded with scale 0: an adapter then counts only in a request that names it.
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(path), 0.0) for path in adapters]
        params.api_keys = [secrets.token_urlsafe(32)]
        params.ui = params.endpoint_slots = params.endpoint_props = False
        params.verbosity, params.cache_ram_mib = 0, 0
        # A draft is what followed the last few tokens when they stood in the conversation before.
        params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
        params.speculative.ngram_simple.size_n, params.speculative.ngram_simple.size_m = DRAFT_AFTER, DRAFT
        self.adapters, self.context_tokens = len(adapters), context_tokens
        self._slots = _Seats(slots)
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            names = ", ".join(path.name for path in (base, *adapters))
            raise DataError(
                f"llama.cpp 打不开 {names}；请删除 {base.parent} 里的这些文件再试，或写 --engine torch",
                f"llama.cpp cannot open {names}; delete these files in {base.parent} and try again, or write"
                " --engine torch",
            ) from error

    def tokens(
        self,
        prompt: Sequence[int],
        most: int,
        sampling: Sampling,
        seed: int,
        adapter: int | None,
        renderer: Renderer,
        likeliest: int | None = None,
    ) -> _Tokens:
        """Yield at most `most` tokens of an answer, and None after a part of its prompt, where it can be given up.

        adapter      index of the adapter, or None for the base
        likeliest    as in `Engine.tokens`; without it, what is yielded names the token alone, with log p of 0

        Raises IndexError for an adapter that is not there, DivergedError if the model gives NaN.
        """
        if adapter is not None and not 0 <= adapter < self.adapters:
            raise IndexError(adapter)
        fixed = {**_as_requested(sampling, likeliest), "lora": self._scales(adapter), "cache_prompt": True}
        breakers, answer, read = renderer.breaker_ids(), list[int](), [*prompt]
        at_once = DRAFTED_TOKENS if likeliest is None and _is_settled(sampling) else 1
        with self._slots.taken(prompt, adapter) as slot:
            slot_request = {**fixed, "id_slot": slot.index}
            for end in _parts(len(slot.ids), len(prompt)):
                self._ask({**slot_request, "prompt": prompt[:end]})
                slot.ids = prompt[:end]
                yield None
            slot.ids = read
            while len(answer) < most:
                request = {
                    **slot_request,
                    "prompt": read,
                    "repeat_last_n": len(answer),
                    "seed": _seed_of(seed, len(answer)),
                    "logit_bias": [[id, -cost] for id, cost in dry_penalties(answer, sampling, breakers).items()],
                }
                drafted = self._several(request, min(at_once, most - len(answer)))
                for logs in drafted or self._next(request, renderer, likeliest):
                    answer.append(logs[0][0])
                    read.append(logs[0][0])
                    yield logs

    def _scales(self, adapter: int | None) -> list[dict[str, Any]]:
        return [{"id": index, "scale": float(index == adapter)} for index in range(self.adapters)]

    def _several(self, request: Mapping[str, Any], most: int) -> list[TokenLogs]:
        """Return the next tokens, at most `most`; none if it is one, or one of them is only a part of a character."""
        if most == 1:
            return []
        found = self._ask({**request, "max_tokens": most})
        logprobs = found["choices"][0]["logprobs"]
        entries = [] if logprobs is None else logprobs["content"]
        # Only the last token of a character has an entry.
        if len(entries) < found["usage"]["completion_tokens"] or not all(map(_is_finite, entries)):
            return []
        return [((entry["id"], 0.0),) for entry in entries]

    def _next(self, request: Mapping[str, Any], renderer: Renderer, likeliest: int | None = None) -> list[TokenLogs]:
        """Return the next token, or all tokens of a character that has several."""
        for count in range(1, LONGEST_CHARACTER_TOKENS + 1):
            choice = self._ask({**request, "max_tokens": count})["choices"][0]
            if choice["logprobs"] is not None:
                found = choice["logprobs"]["content"][0]
                break
        else:
            raise _not_finite()
        if not _is_finite(found):
            raise _not_finite()
        if count == 1:
            return [_logs_of(found, found["id"], likeliest)]
        ids = _split_character(renderer, choice["text"])
        return [
            self._logs_at({**request, "prompt": [*request["prompt"], *ids[:at]]}, id, likeliest, renderer)
            for at, id in enumerate(ids)
        ]

    def _logs_at(self, request: Mapping[str, Any], id: int, likeliest: int | None, renderer: Renderer) -> TokenLogs:
        """Return what `_next` returns for a token that is known already."""
        if likeliest is None:
            return ((id, 0.0),)
        # Only a token with a text gets an entry, so a letter is forced: the entry tells what the model alone expects.
        asked = {**request, "n_probs": CONSIDERED, "logit_bias": [[renderer.vocabulary.letter, 1000]]}
        return _logs_of(self._ask(asked)["choices"][0]["logprobs"]["content"][0], id, likeliest)

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._server.handle_completions({"max_tokens": 1, **request})
        if "error" in found:
            raise RuntimeError(f"llama.cpp: {found['error'].get('message')}")
        return found


def _is_settled(sampling: Sampling) -> bool:
    """True if each token is the likeliest one, whatever the answer has said."""
    return sampling.temperature == 0 and sampling.repetition_penalty == 1 and sampling.dry_multiplier == 0


def _is_finite(entry: Mapping[str, Any]) -> bool:
    """True unless the probability of a token is NaN or infinite; NaN comes as null."""
    probability = entry.get("prob", entry.get("logprob"))
    return probability is not None and math.isfinite(probability)


def _split_character(renderer: Renderer, text: str) -> list[int]:
    """Return the tokens of the first character of `text`; llama.cpp tells only the last token of a character."""
    return renderer.tokenizer.encode(text[0], add_special_tokens=False).ids


def _logs_of(entry: Mapping[str, Any], id: int, likeliest: int | None) -> TokenLogs:
    """Return the logs of a token out of llama.cpp's entry for its place, which may be that of another token."""
    if likeliest is None:
        return ((id, 0.0),)
    listed = [(each["id"], each["logprob"]) for each in entry["top_logprobs"]]
    known = dict([*listed, (entry["id"], entry["logprob"])])
    return ((id, known.get(id, UNLIKELY)), *listed[:likeliest])


def _as_requested(sampling: Sampling, likeliest: int | None) -> dict[str, Any]:
    """Return what llama.cpp calls these settings."""
    return {
        "samplers": list(ORDER),
        "temperature": sampling.temperature,
        "top_k": sampling.top_k or 0,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repetition_penalty,
        "n_probs": max(1, likeliest or 0),
        "post_sampling_probs": likeliest is None,
    }


def _seed_of(seed: int, position: int) -> int:
    """Return the seed of one token: llama.cpp draws each token with a generator of its own."""
    digest = hashlib.blake2b(f"{seed} {position}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") % (2**32 - 1)  # 2**32 - 1 asks llama.cpp for a random one


def _not_finite() -> DivergedError:
    return DivergedError(
        "模型算出了 NaN 或无穷大，选不出下一个字：请写 --engine torch dtype=float32 再试，或降低学习率重新训练",
        "the model computed NaN or infinity, so no next token can be chosen: try --engine torch dtype=float32, or train"
        " again with a lower learning rate",
    )


class _Seat:
    """A place for one conversation: what it has read, and with which adapter."""

    def __init__(self, index: int):
        self.index = index
        self.ids: Sequence[int] = ()
        self.adapter: int | None = None
        self.is_taken = False


class _Seats:
    """The slots of a server; an answer takes the free one that has read most of its prompt."""

    def __init__(self, count: int):
        self._slots = [_Seat(index) for index in range(count)]
        self._changed = Condition()

    @contextmanager
    def taken(self, prompt: Sequence[int], adapter: int | None) -> Iterator[_Seat]:
        """Wait for a free slot and hold it. Its `ids` are the beginning of the prompt that it has read already.

        The holder sets them to what it has read.
        """
        with self._changed:
            while not (free := [slot for slot in self._slots if not slot.is_taken]):
                self._changed.wait()
            known = {slot.index: _shared(slot.ids, prompt) if slot.adapter == adapter else 0 for slot in free}
            slot = max(free, key=lambda slot: known[slot.index])
            slot.is_taken, slot.adapter, slot.ids = True, adapter, prompt[: known[slot.index]]
        try:
            yield slot
        finally:
            with self._changed:
                slot.is_taken = False
                self._changed.notify()


def _parts(known: int, whole: int) -> list[int]:
    """Return where each part of a prompt of `whole` tokens ends, of which `known` are read.

    The last token is left out: it is then always read alone, also when the prompt is read again, and the same seed
    draws the same answer. In one batch with others it is rounded otherwise.
    """
    last = whole - 1
    return [*range(known + READ_AT_ONCE_TOKENS, last, READ_AT_ONCE_TOKENS), last] if known < last else []


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the number of equal tokens at the beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


class LlamaEngine(Engine):
    """A run in llama.cpp: the base, and with `tuned` its adapter of this index."""

    def __init__(self, llama: Llama, adapter: int, kind: str, renderer: Renderer, contract: Contract):
        super().__init__(renderer, contract)
        self._llama, self._adapter, self._kind = llama, adapter, kind

    @property
    def name(self) -> str:
        return f"llama.cpp, {self._kind}"

    @property
    def context_tokens(self) -> int:
        return self._llama.context_tokens

    def tokens(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        tuned: bool = True,
        likeliest: int | None = None,
    ) -> Iterator[Token]:
        first = secrets.randbits(32) if sampling.seed is None else sampling.seed
        answers = [self._answer(prompt, sampling, first + row, tuned, likeliest) for row, prompt in enumerate(prompts)]
        with closing(_together(answers) if len(answers) > 1 else _alone(answers[0])) as coming:
            yield from (Token(row, logs[0][0], () if likeliest is None else logs) for row, logs in coming)

    def _answer(
        self, prompt: Sequence[int], sampling: Sampling, seed: int, tuned: bool, likeliest: int | None
    ) -> _Tokens:
        """Return what `Llama.tokens` returns, up to a stop token."""
        most = room_for_answer(prompt, self.context_tokens, sampling.max_new_tokens)
        adapter = self._adapter if tuned else None
        coming = self._llama.tokens(prompt, most, sampling, seed, adapter, self.renderer, likeliest)
        return _until_stop(coming, self.contract.stop_ids)


def _until_stop(coming: _Tokens, stop_ids: Sequence[int]) -> _Tokens:
    with closing(coming):
        for logs in coming:
            yield logs
            if logs is not None and logs[0][0] in stop_ids:
                return


def _alone(answer: _Tokens) -> Generator[tuple[int, TokenLogs]]:
    with closing(answer):
        yield from ((0, logs) for logs in answer if logs is not None)


def _together(answers: Sequence[_Tokens]) -> Generator[tuple[int, TokenLogs]]:
    """Yield (index of the answer, its next token) of all answers as they come.

    llama.cpp computes those of a moment at once.
    """
    given_up, came = Event(), SimpleQueue[tuple[int, TokenLogs | None]]()

    def follow(row: int) -> None:
        try:
            with closing(answers[row]) as answer:
                for logs in answer:
                    if given_up.is_set():
                        return
                    if logs is not None:
                        came.put((row, logs))
        finally:
            came.put((row, None))

    with ThreadPoolExecutor(len(answers)) as pool:
        following = [pool.submit(follow, row) for row in range(len(answers))]
        try:
            left = len(answers)
            while left:
                row, logs = came.get()
                if logs is None:
                    following[row].result()  # raises what the answer raised
                    left -= 1
                else:
                    yield row, logs
        finally:
            given_up.set()
