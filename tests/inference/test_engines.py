"""Two engines, one contract: llama.cpp says what torch says, and several answers at once are those of one at a time."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llama_cpp import in_torch

from tonghua.config.schema import Config, Sampling
from tonghua.core.lora import Adapter
from tonghua.errors import DataError, UsageError
from tonghua.inference import decode, llama_engine, opening
from tonghua.inference.engine import Answer, Engine
from tonghua.inference.llama_engine import READ_AT_ONCE_TOKENS, Llama, LlamaEngine
from tonghua.inference.sampling import penalize
from tonghua.inference.torch_engine import TorchEngine
from tonghua.inference.turns import FairLock
from tonghua.models import shipped
from tonghua.models.gguf_file import write_adapter, write_base
from tonghua.models.peft import adapter_files
from tonghua.models.scan import ModelFiles, scan_model
from tonghua.models.scan_adapter import scan_adapter
from tonghua.models.weights import load_base
from tonghua.prompt.contract import Contract
from tonghua.prompt.conversation import JOIN, Message
from tonghua.prompt.renderer import Renderer
from tonghua.system.device import DevicePlace
from tonghua.text import Text

WISHES = ["讲一个小熊的故事", "你是谁？", "写一个关于月亮的故事，让孩子明白什么是守信"]
GREEDY = Sampling(temperature=0, max_new_tokens=40, repetition_penalty=1.0, dry_multiplier=0)
PENALIZED = Sampling(temperature=0, max_new_tokens=60, repetition_penalty=1.3, dry_multiplier=0.8)
DRAWN = Sampling(temperature=0.9, top_k=0, top_p=0.9, min_p=0.02, max_new_tokens=30, seed=5, dry_multiplier=0)


def asked(wish: str) -> list[Message]:
    return [Message("user", wish)]


def said(engine: Engine, wish: str, sampling: Sampling, tuned: bool = True) -> str:
    *_, answer = engine.stream(asked(wish), sampling, tuned)
    assert isinstance(answer, Answer)
    return answer.text


@pytest.fixture(scope="module")
def base() -> ModelFiles:
    return scan_model(shipped.tiny())


def random_adapter(decoder: Any, seed: int, modules: Sequence[str] = ("q_proj", "v_proj", "down_proj")) -> Adapter:
    adapter = Adapter(decoder.linears(), modules, 4, 2.0, 0.0)
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        adapter.flat.copy_(torch.randn(adapter.flat.shape, generator=chance) * 0.08)
    adapter.refresh()
    return adapter


@pytest.fixture(scope="module")
def torch_engines(base: ModelFiles) -> list[TorchEngine]:
    """Two runs of one base; the second has updates where the first has none, and the other way round."""
    decoder = load_base(base, DevicePlace(torch.device("cpu"), torch.float32))
    renderer, turns = Renderer(base.folder), FairLock()
    contract = Contract(None, JOIN, renderer.stop_ids, "", "", {})
    adapters = [random_adapter(decoder, 1), random_adapter(decoder, 2, ("k_proj", "gate_proj"))]
    return [TorchEngine(decoder, renderer, contract, adapter, turns) for adapter in adapters]


@pytest.fixture(scope="module")
def llama(base: ModelFiles, torch_engines: list[TorchEngine], tmp_path_factory: pytest.TempPathFactory) -> Llama:
    folder = tmp_path_factory.mktemp("文 件")
    write_base(base, base.folder, "", torch_engines[0].contract.stop_ids, "f16", folder / "基座.gguf")
    files = []
    for number, engine in enumerate(torch_engines):
        own = folder / f"适配器 {number}"
        own.mkdir()
        assert engine.adapter is not None
        for name, content in adapter_files(engine.adapter, 8, False, "tiny").items():
            (own / name).write_bytes(content)
        files.append(folder / f"{number}.gguf")
        write_adapter(scan_adapter(own), base, files[-1])
    return Llama(folder / "基座.gguf", files, 1024, threads=1, slots=3)


@pytest.fixture(scope="module")
def llama_engines(llama: Llama, torch_engines: list[TorchEngine]) -> list[LlamaEngine]:
    first = torch_engines[0]
    return [LlamaEngine(llama, index, "f16", first.renderer, first.contract) for index in range(2)]


def expected(engine: TorchEngine, prompt: Sequence[int], answer: Sequence[int]) -> list[np.ndarray]:
    """Log p of all tokens in each place of an answer, in one pass of torch, as the adapter is at the time."""
    return [in_torch(engine.decoder, [*prompt, *answer[:at]]) for at in range(len(answer))]


def ids_of(engine: Engine, wish: str, sampling: Sampling, tuned: bool) -> list[int]:
    prompt = engine.renderer.prompt(asked(wish), False)
    return [token.id for token in engine.tokens([prompt], sampling, tuned)]


def margin(engine: TorchEngine, wish: str, sampling: Sampling, tuned: bool, answer: list[int], other: int) -> float:
    """How much torch prefers the token that it took after `answer` to the token that llama.cpp took."""
    seen: list[torch.Tensor] = []

    def noted(logits: torch.Tensor, so_far: list[int], *rest: Any) -> torch.Tensor:
        seen.append(penalize(logits, so_far, *rest))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "penalize", noted)
        ids_of(engine, wish, sampling, tuned)
    logits = seen[len(answer)]
    return float(logits.max() - logits[other])


@pytest.mark.parametrize("sampling", [GREEDY, PENALIZED], ids=["greedy", "penalized"])
@pytest.mark.parametrize("wish", WISHES)
def test_llama_says_what_torch_says(
    torch_engines: list[TorchEngine], llama_engines: list[LlamaEngine], wish: str, sampling: Sampling
) -> None:
    """Both adapters and the base, one after the other in the same seats, up to a choice that rounding decides."""
    found = []
    for ours, theirs in zip(torch_engines, llama_engines, strict=True):
        for tuned in (True, False):
            wanted, given = (ids_of(engine, wish, sampling, tuned) for engine in (ours, theirs))
            equal = next((i for i, (a, b) in enumerate(zip(wanted, given, strict=False)) if a != b), None)
            if equal is None:
                assert wanted == given
            else:
                assert equal > 3
                assert margin(ours, wish, sampling, tuned, wanted[:equal], given[equal]) < 0.05
            found.append(tuple(given))
    assert found[1][:4] == found[3][:4], "the base is the same for both"
    assert len({found[0], found[1], found[2]}) == 3


def test_a_penalty_sees_the_answer_alone(llama_engines: list[LlamaEngine], torch_engines: list[TorchEngine]) -> None:
    """A penalty that also counts the words of the prompt gives another text."""
    wish = "小熊、小熊、小熊，讲一个小熊的故事，故事里有小熊"
    strong = PENALIZED.model_copy(update={"repetition_penalty": 1.8})
    assert said(llama_engines[0], wish, strong, False) == said(torch_engines[0], wish, strong, False)
    assert said(llama_engines[0], wish, strong, False) != said(llama_engines[0], wish, GREEDY, False)


def test_a_prompt_that_is_read_in_parts(torch_engines: list[TorchEngine], llama_engines: list[LlamaEngine]) -> None:
    long = "从前有一只小熊，它住在山里，" * 60
    *_, answer = llama_engines[0].stream(asked(long), GREEDY)
    assert isinstance(answer, Answer)
    assert answer.prompt_tokens > 3 * READ_AT_ONCE_TOKENS
    assert answer.text == said(torch_engines[0], long, GREEDY)


def test_what_was_read_is_not_read_again(llama_engines: list[LlamaEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long conversation, the next turn reads what is new; so does an answer after one that was given up."""
    engine = llama_engines[0]
    real, read = engine._llama._ask, list[int]()

    def counted(request: Any) -> Any:
        found = real(request)
        read.append(found["timings"]["prompt_n"])
        return found

    monkeypatch.setattr(engine._llama, "_ask", counted)
    talk = asked("小熊说了很长的话。" * 60)
    drawn = DRAWN.model_copy(update={"max_new_tokens": 5})
    going = engine.tokens([engine.prompt(talk)], drawn)
    whole, ids = len(engine.prompt(talk)), [next(going).id]
    assert whole > 2 * READ_AT_ONCE_TOKENS and sum(read) >= whole - 40
    ids += [token.id for token in going]
    read.clear()
    talk += [Message("assistant", engine.renderer.decode(ids)), Message("user", "后来呢？")]
    assert list(engine.tokens([engine.prompt(talk)], drawn))
    assert sum(read) < 80


@pytest.mark.parametrize("kind", ["torch", "llama"])
def test_many_threads_at_once_are_one_after_the_other(
    kind: str, torch_engines: list[TorchEngine], llama_engines: list[LlamaEngine]
) -> None:
    """More answers than slots, of two adapters and the base, whose tokens come in turn."""
    engines: Sequence[Engine] = torch_engines if kind == "torch" else llama_engines
    work = [(engine, wish, tuned) for engine in engines for wish in WISHES for tuned in (True, False)]
    alone = [said(engine, wish, GREEDY, tuned) for engine, wish, tuned in work]
    with ThreadPoolExecutor(len(work)) as pool:
        together = list(pool.map(lambda one: said(one[0], one[1], GREEDY, one[2]), work))
    assert together == alone
    assert len(set(alone)) == 3 * len(WISHES)


@pytest.mark.parametrize("kind", ["torch", "llama"])
def test_a_second_answer_does_not_wait_for_the_first(
    kind: str, torch_engines: list[TorchEngine], llama_engines: list[LlamaEngine]
) -> None:
    """A short answer of another adapter is whole while a long one has only begun."""
    first, second = torch_engines if kind == "torch" else llama_engines
    long = GREEDY.model_copy(update={"max_new_tokens": 300})
    going = first.stream(asked(WISHES[0]), long)
    heard = [next(going), next(going)]
    assert said(second, WISHES[2], GREEDY)
    rest = [*heard, *going]
    assert isinstance(rest[-1], Answer)
    texts = [piece.text for piece in rest if not isinstance(piece, Answer)]
    assert "".join(texts) == rest[-1].text == said(first, WISHES[0], long)


def test_drawn_answers_follow_the_seed(llama_engines: list[LlamaEngine]) -> None:
    engine = llama_engines[0]
    for wish in ("讲一个还没有问过的故事", "再讲一个" * 60):  # one that is read in a piece, and one in several
        assert said(engine, wish, DRAWN) == said(engine, wish, DRAWN)
    assert len({said(engine, WISHES[0], DRAWN.model_copy(update={"seed": seed})) for seed in range(6)}) > 3
    free = DRAWN.model_copy(update={"seed": None})
    assert len({said(engine, WISHES[0], free) for _ in range(4)}) > 1


class Scripted:
    """Stands in for `Llama`: every answer is its seed, in tokens."""

    context_tokens = 1024

    def tokens(self, prompt: Any, most: int, sampling: Any, seed: int, adapter: Any, *rest: Any) -> Iterator[Any]:
        yield None
        yield from [((seed + 300, 0.0),)] * min(most, 3 if adapter == 1 else 1)


def test_answers_together_have_seeds_of_their_own(llama_engines: list[LlamaEngine]) -> None:
    real = llama_engines[0]
    engine = LlamaEngine(Scripted(), 1, "f16", real.renderer, real.contract)  # type: ignore[arg-type]
    prompts = [[1, 2]] * 5
    found = sorted(engine.tokens(prompts, DRAWN))
    assert found == [(row, 305 + row, ()) for row in range(5) for _ in range(3)]
    assert sorted(engine.tokens(prompts, DRAWN, tuned=False)) == [(row, 305 + row, ()) for row in range(5)]
    assert list(engine.tokens(prompts[:1], DRAWN)) == [(0, 305, ())] * 3


def test_an_error_in_one_of_several_answers_reaches_the_caller(llama_engines: list[LlamaEngine]) -> None:
    prompts = [[300, 301], [10**6, 300]]
    with pytest.raises(RuntimeError, match="invalid tokens"):
        list(llama_engines[0].tokens(prompts, GREEDY))


def test_the_first_token_is_drawn_as_often_as_it_is_likely(
    torch_engines: list[TorchEngine], llama_engines: list[LlamaEngine]
) -> None:
    """Total variation over 400 draws of each engine stays near what chance alone leaves."""
    one = Sampling(temperature=1.2, top_p=0.95, min_p=0.03, max_new_tokens=1, repetition_penalty=1, dry_multiplier=0)

    def counts(engine: Engine) -> np.ndarray:
        prompt = engine.renderer.prompt(asked(WISHES[0]), False)
        found = np.zeros(9000)
        for seed in range(400):
            for token in engine.tokens([prompt], one.model_copy(update={"seed": seed}), False):
                found[token.id] += 1
        return found / 400

    ours, theirs = counts(torch_engines[0]), counts(llama_engines[0])
    assert np.abs(ours - theirs).sum() / 2 < 0.2
    assert (ours > 0).sum() > 5


def test_a_closed_answer_gives_its_place_back(llama_engines: list[LlamaEngine]) -> None:
    """As many are given up as there are slots, in their prompt or in their answer; then others are answered."""
    engine = llama_engines[0]
    for _ in range(4):
        going = engine.stream(asked(WISHES[0]), GREEDY)
        next(going)
        going.close()  # type: ignore[attr-defined]
    assert said(engine, WISHES[1], GREEDY)


def test_a_character_of_several_tokens(llama_engines: list[LlamaEngine], torch_engines: list[TorchEngine]) -> None:
    """llama.cpp tells only the last of its tokens."""
    engine, renderer = llama_engines[0], llama_engines[0].renderer
    ids = renderer.tokenizer.encode("😀", add_special_tokens=False).ids
    assert len(ids) == 4
    prompt = renderer.prompt(asked("你好"), False)
    llama = engine._llama
    request = {"prompt": prompt, "temperature": 0.0, "n_probs": 1, "post_sampling_probs": True, "id_slot": 0}
    spelled = {**request, "lora": llama._scales(None), "grammar": 'root ::= "😀好"'}
    assert [logs[0][0] for logs in llama._next(spelled, renderer)] == ids
    (alone,) = llama._next({**spelled, "grammar": 'root ::= "好"'}, renderer)
    assert [alone[0][0]] == renderer.tokenizer.encode("好").ids


def test_log_p_is_that_of_the_model_alone(torch_engines: list[TorchEngine], llama_engines: list[LlamaEngine]) -> None:
    """Of both engines, with the adapter and without, whatever the penalties and the temperature are."""
    drawn = PENALIZED.model_copy(update={"temperature": 1.5, "seed": 3, "max_new_tokens": 12})
    for tuned in (True, False):
        for engine in (torch_engines[0], llama_engines[0]):
            prompt = engine.renderer.prompt(asked(WISHES[0]), False)
            found = list(engine.tokens([prompt], drawn, tuned, 5))
            ids = [token.id for token in found]
            with nullcontext() if tuned else torch_engines[0].adapter.off():  # type: ignore[union-attr]
                wanted = expected(torch_engines[0], prompt, ids)
            for logs, (_, id, (own, *likeliest)) in zip(wanted, found, strict=True):
                assert own[0] == id and len(likeliest) == 5
                assert [value for _, value in likeliest] == sorted((value for _, value in likeliest), reverse=True)
                if own[1] == llama_engine.UNLIKELY:  # a part of a character, and far down the list
                    own = (id, float(logs[id]))
                    assert (logs > logs[id]).sum() > llama_engine.CONSIDERED / 2
                assert max(abs(logs[each] - value) for each, value in (own, *likeliest)) < 0.05
                assert abs(likeliest[0][1] - logs.max()) < 0.05
    assert not any(token.logs for token in llama_engines[0].tokens([prompt], drawn))


def test_log_p_of_the_tokens_of_one_character(
    torch_engines: list[TorchEngine], llama_engines: list[LlamaEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, renderer = llama_engines[0], llama_engines[0].renderer
    ids = renderer.tokenizer.encode("😀", add_special_tokens=False).ids
    prompt = renderer.prompt(asked("你好"), False)
    request = {"prompt": prompt, "temperature": 0.0, "n_probs": 3, "post_sampling_probs": False, "id_slot": 0}
    spelled = {**request, "lora": engine._llama._scales(0), "grammar": 'root ::= "😀好"'}
    real = engine._llama._ask
    # The grammar spells the character, and would forbid the letter.
    monkeypatch.setattr(
        engine._llama, "_ask", lambda asked: real(asked | ({"grammar": ""} if "logit_bias" in asked else {}))
    )
    found = engine._llama._next(spelled, renderer, 3)
    assert [logs[0][0] for logs in found] == ids
    for wanted, logs in zip(expected(torch_engines[0], prompt, ids), found, strict=True):
        is_listed = logs[0][1] != llama_engine.UNLIKELY
        assert not is_listed or abs(wanted[logs[0][0]] - logs[0][1]) < 0.05
        assert is_listed or (wanted > wanted[logs[0][0]]).sum() > llama_engine.CONSIDERED / 2
        assert abs(logs[1][1] - wanted.max()) < 0.02


@pytest.mark.parametrize("tuned", [True, False])
def test_drafted_answers_are_those_of_one_token_after_another(
    tuned: bool, llama_engines: list[LlamaEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a prompt that says things twice, so that there is something to draft from, and up to any length."""
    engine = llama_engines[0]
    prompt = engine.renderer.prompt(asked("小熊在河边捡到一个木盒。" * 6 + "😀请照着再说一遍。"), False)
    long = GREEDY.model_copy(update={"max_new_tokens": 90})
    calls: list[int] = []
    real = engine._llama._ask

    def counted(request: Any) -> Any:
        calls.append(request.get("max_tokens", 1))
        return real(request)

    monkeypatch.setattr(engine._llama, "_ask", counted)
    drafted = [token.id for token in engine.tokens([prompt], long, tuned)]
    assert max(calls) == llama_engine.DRAFTED_TOKENS
    cut = [token.id for token in engine.tokens([prompt], long.model_copy(update={"max_new_tokens": 21}), tuned)]
    assert cut == drafted[:21]
    monkeypatch.setattr(llama_engine, "DRAFTED_TOKENS", 1)
    calls.clear()
    assert [token.id for token in engine.tokens([prompt], long, tuned)] == drafted
    assert max(calls) <= llama_engine.LONGEST_CHARACTER_TOKENS


@pytest.mark.parametrize("changed", [{"temperature": 0.1}, {"repetition_penalty": 1.1}, {"dry_multiplier": 0.8}])
def test_nothing_is_drafted_where_the_answer_so_far_counts(
    changed: dict[str, float], llama_engines: list[LlamaEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The penalties of several tokens at once would be those of the first."""
    engine = llama_engines[0]
    real = engine._llama._ask
    calls: list[int] = []

    def counted(request: Any) -> Any:
        calls.append(request.get("max_tokens", 1))
        return real(request)

    monkeypatch.setattr(engine._llama, "_ask", counted)
    list(engine.tokens([engine.renderer.prompt(asked("你好"), False)], GREEDY.model_copy(update=changed)))
    assert calls and max(calls) <= llama_engine.LONGEST_CHARACTER_TOKENS


def test_a_part_of_a_character_is_not_drafted(
    llama_engines: list[LlamaEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, renderer = llama_engines[0], llama_engines[0].renderer
    ids = renderer.tokenizer.encode("好😀好", add_special_tokens=False).ids
    request = {"prompt": renderer.prompt(asked("你好"), False), "temperature": 0.0, "n_probs": 1, "id_slot": 0}
    spelled = {**request, "post_sampling_probs": True, "lora": engine._llama._scales(0)}
    assert engine._llama._several({**spelled, "grammar": 'root ::= "好😀好"'}, 16) == []
    found = engine._llama._several({**spelled, "grammar": 'root ::= "好好"'}, 2)
    assert [logs[0][0] for logs in found] == [ids[0], ids[0]]


def test_no_room_for_an_answer(llama_engines: list[LlamaEngine]) -> None:
    with pytest.raises(DataError) as refused:
        said(llama_engines[0], "熊" * 1100, GREEDY)
    assert "1024" in refused.value.text.en
    almost = [*range(300, 400)] * 10
    assert len([*llama_engines[0].tokens([almost], GREEDY)]) <= 24


def test_an_adapter_that_is_not_there_is_not_answered_by_the_base(llama: Llama, base: ModelFiles) -> None:
    renderer = Renderer(base.folder)
    with pytest.raises(IndexError):
        next(llama.tokens([300, 301], 1, GREEDY, 0, 2, renderer))


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "坏 的.gguf"
    file.write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(DataError) as refused:
        Llama(file, [], 512, 1)
    assert "坏 的.gguf" in refused.value.text.en and "--engine torch" in refused.value.text.zh


# Which engine


@pytest.fixture
def config() -> Iterator[Config]:
    yield Config()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, None),
        ({"device": "cpu"}, None),
        ({"dtype": "float32"}, "device or dtype"),
        ({"quantization_bit": 4}, "4 bits"),
    ],
)
def test_why_llama_does_not_answer(base: ModelFiles, values: dict[str, Any], why: str | None) -> None:
    checked: Any = type("Checked", (), {"base": base})
    found = opening.why_not_llama(checked, Config(**values))
    assert (found is None) == (why is None)
    assert why is None or (found is not None and why in found.en)


@pytest.mark.parametrize("name", ["xllamacpp", "gguf"])
def test_without_the_package_torch_answers(base: ModelFiles, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda asked: None if asked == name else object())
    checked: Any = type("Checked", (), {"base": base})
    found = opening.why_not_llama(checked, Config())
    assert isinstance(found, Text) and f"{name} is not installed" in found.en
    with pytest.raises(UsageError, match=r"tonghua\[fast\]"):
        opening._tellers([checked], Config(), "llama", lambda event: None)
