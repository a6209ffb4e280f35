"""How fast is a run talked to: llama.cpp and torch through tonghua, llama.cpp's own loop, transformers with PEFT.

    python benchmarks/talk.py runs/daiyu-20261201-120000 --tokens 200

One greedy answer of so many tokens to the same prompt, batch 1; tokens a second without the first token. Then eight
answers of one persona at once, and the first token of a second persona (the same adapter once more, which llama.cpp
takes for another) while the first one writes.
"""

import argparse
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import report

from tonghua.config.schema import Sampling
from tonghua.inference.engine import Engine
from tonghua.inference.loading import CheckedRun, check_run, llama_tellers, torch_tellers
from tonghua.inference.teller import Teller
from tonghua.prompt.conversation import Message, with_system
from tonghua.runs.folder import open_run
from tonghua.system.device import choose_place

ASKED = "写一个关于月亮的童话故事，不少于三百字，要有开头、经过和结尾。"
STREAMS = 8


def rate(times: Sequence[float]) -> float:
    """Tokens a second without the first."""
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0


def ours(engine: Engine, prompt: list[int], tokens: int, tuned: bool = True) -> list[float]:
    """Return when each token of a greedy answer came. A stop token ends nothing here: the answer must be long."""
    sampling = Sampling(temperature=0, repetition_penalty=1, dry_multiplier=0, max_new_tokens=tokens)
    kept, engine.contract = engine.contract, with_stops(engine.contract, ())
    try:
        return [time.perf_counter() for _ in engine.tokens([prompt], sampling, tuned)]
    finally:
        engine.contract = kept


def with_stops(contract: Any, stop_ids: tuple[int, ...]) -> Any:
    from dataclasses import replace

    return replace(contract, stop_ids=stop_ids)


def own_loop(engine: Any, prompt: list[int], tokens: int) -> list[float]:
    """The same answer by one request to the same server, which then stays in llama.cpp's own loop."""
    llama, came = engine._llama, list[float]()
    request = {
        **{"prompt": prompt, "max_tokens": tokens, "temperature": 0.0, "repeat_penalty": 1.0, "ignore_eos": True},
        **{"stream": True, "id_slot": 0, "cache_prompt": False, "lora": llama._scales(0)},
    }
    llama._server.handle_completions(request, lambda chunk: came.append(time.perf_counter()) and False)
    return came


def peer(checked: CheckedRun, prompt: list[int], tokens: int, dtype: str) -> list[float]:
    """The same by transformers and PEFT."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from transformers.generation import BaseStreamer

    class Clock(BaseStreamer):
        def __init__(self) -> None:
            self.times: list[float] = []

        def put(self, value: Any) -> None:
            self.times.append(time.perf_counter())

        def end(self) -> None:
            pass

    model = AutoModelForCausalLM.from_pretrained(checked.base.folder, dtype=getattr(torch, dtype))
    model = PeftModel.from_pretrained(model, checked.adapter.folder).eval()
    clock, ids = Clock(), torch.tensor([prompt])
    with torch.inference_mode():
        model.generate(
            **{"input_ids": ids, "attention_mask": torch.ones_like(ids), "streamer": clock, "do_sample": False},
            **{"max_new_tokens": tokens, "min_new_tokens": tokens, "repetition_penalty": 1.0},
            **{"temperature": None, "top_p": None, "top_k": None, "pad_token_id": 0},
        )
    return clock.times[1:]  # the first call hands over the prompt


def together(work: Sequence[Callable[[], list[float]]]) -> list[list[float]]:
    """Run all at once, each in a thread."""
    found: list[list[float]] = [[] for _ in work]

    def do(place: int) -> None:
        found[place] = work[place]()

    threads = [threading.Thread(target=do, args=(place,)) for place in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def total_rate(work: Sequence[Callable[[], list[float]]], tokens: int) -> float:
    start = time.perf_counter()
    found = together(work)
    assert all(len(times) == tokens for times in found)
    return tokens * len(work) / (time.perf_counter() - start)


def second_persona(tellers: Sequence[Teller], prompt: list[int], tokens: int) -> tuple[float, float]:
    """Return the seconds until the second persona's first token, and the total rate of both."""
    begun, start = threading.Event(), time.perf_counter()
    asked: list[float] = []

    def first() -> list[float]:
        times = []
        sampling = Sampling(temperature=0, repetition_penalty=1, dry_multiplier=0, max_new_tokens=tokens)
        for _ in tellers[0].engine.tokens([prompt], sampling):
            times.append(time.perf_counter())
            begun.set()
        return times

    def second() -> list[float]:
        begun.wait()
        asked.append(time.perf_counter())
        return ours(tellers[1].engine, prompt, tokens // 3)

    one, other = together([first, second])
    return other[0] - asked[0], (len(one) + len(other)) / (max(one[-1], other[-1]) - start)


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("run", help="folder of a run")
    made.add_argument("--tokens", type=int, default=200, help="tokens of an answer (default: %(default)s)")
    made.add_argument("--rounds", type=int, default=3, help="times that each is measured (default: %(default)s)")
    made.add_argument("--peers", action="store_true", help="transformers with PEFT too")
    return made


def measured(options: argparse.Namespace) -> Iterator[tuple[str, list[float]]]:
    """Yield a name and the rates of the rounds."""
    run = open_run(Path(options.run), Path(options.run).parent)
    checked = check_run(run)
    prompt = checked.renderer.prompt(with_system([Message("user", ASKED)], checked.contract.system), False)
    tokens, rounds = options.tokens, range(options.rounds)
    if options.peers:
        for dtype in ("bfloat16", "float32"):
            yield f"transformers + PEFT, {dtype}", [rate(peer(checked, prompt, tokens, dtype)) for _ in rounds[:1]]
    (teller,) = torch_tellers([checked], choose_place(talking=True))
    yield f"tonghua, {teller.engine.name}", [rate(ours(teller.engine, prompt, tokens)) for _ in rounds]
    del teller
    start = time.perf_counter()
    tellers = llama_tellers([checked, checked])
    yield "s to open in llama.cpp (the first time with the conversion)", [time.perf_counter() - start]
    engine = tellers[0].engine
    pairs = [(rate(ours(engine, prompt, tokens)), rate(own_loop(engine, prompt, tokens))) for _ in rounds]
    yield f"tonghua, {engine.name}", [one for one, _ in pairs]
    yield "llama.cpp's own loop", [other for _, other in pairs]
    yield "without the adapter", [rate(ours(engine, prompt, tokens, tuned=False)) for _ in rounds]
    few = max(2, tokens // 5)
    prompts = [[*prompt[:-1], prompt[-1]] for _ in range(STREAMS)]
    alone = [total_rate([lambda: ours(engine, prompt, few)], few) for _ in rounds]
    yield f"one answer of {few} tokens, prompt included", alone
    work = [lambda own=own: ours(engine, own, few) for own in prompts]
    yield f"{STREAMS} answers of {few} tokens, prompt included, together", [total_rate(work, few)]
    waited, total = second_persona(tellers, prompt, tokens)
    yield "s to the first token of a second persona", [waited]
    yield "both personas together", [total]


def main() -> None:
    options = parser().parse_args()
    found: dict[str, list[float]] = {}
    report.header("what", "tokens/s", "of the rounds")
    for name, rates in measured(options):
        found[name] = rates
        report.row(name, f"{statistics.median(rates):.2f}", ", ".join(f"{one:.2f}" for one in rates))
    report.finish("talk", {"tokens": options.tokens, "rates": found})


if __name__ == "__main__":
    main()
