"""How fast is a run talked to: llama.cpp and torch through tonghua, llama.cpp's own loop, transformers with PEFT.

    python benchmarks/talk.py runs/daiyu-20261201-120000 --tokens 200 --peers

One greedy answer of so many tokens to the same prompt, batch 1; tokens a second without the first token. Each engine
runs in a process of its own, as users have it, in turn, as often as there are rounds. With llama.cpp also: eight
answers of one persona at once; the first token of a second persona (the same adapter once more, which llama.cpp takes
for another) while the first one writes; and the first token from a warm server over that of its engine, with new
prompts of about 50 tokens.
"""

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import report

from tonghua.config.schema import Sampling
from tonghua.inference.engine import Engine
from tonghua.inference.loading import CheckedRun, check_run, llama_tellers, torch_tellers
from tonghua.inference.teller import Teller
from tonghua.prompt.conversation import Message, with_system
from tonghua.runs.folder import open_run
from tonghua.server.limits import Limits
from tonghua.server.models import models_of
from tonghua.server.serve import known_hosts, new_server
from tonghua.system.device import choose_place

ASKED = "写一个关于月亮的童话故事，不少于三百字，要有开头、经过和结尾。"
COPIED = (
    "请把下面的话原样抄一遍：\n小熊在河边捡到一个木盒，盒子里装着七颗白石子和一张画着星星的纸。它把石子一颗一颗摆在窗台上，"
    "又把那张纸贴在床头。夜里，石子亮了起来，照着纸上的星星，小熊这才明白，木盒是爷爷留给它的。"
)
STREAMS = 8
FIRST_TOKENS = 12
"""New prompts whose first token is waited for, from the engine and from the server in turn."""

OURS = ("torch", "llama")
PEERS = ("bfloat16", "float32")
"""Types of transformers with PEFT."""


def greedy(tokens: int) -> Sampling:
    """Without a penalty that counts; yet there is one, so that nothing is drafted, as nothing is in most chats."""
    return Sampling(temperature=0, repetition_penalty=1, dry_multiplier=1e-9, max_new_tokens=tokens)


def settled(tokens: int) -> Sampling:
    """Without any: what copies its prompt is drafted."""
    return greedy(tokens).model_copy(update={"dry_multiplier": 0.0})


def rate(times: Sequence[float]) -> float:
    """Tokens a second without the first."""
    return (len(times) - 1) / (times[-1] - times[0])


def ours(
    engine: Engine,
    prompt: Sequence[int],
    tokens: int,
    tuned: bool = True,
    kind: Callable[[int], Sampling] = greedy,
) -> list[float]:
    """Return when each token of an answer came. A stop token ends nothing here: the answer must be long."""
    kept, engine.contract = engine.contract, replace(engine.contract, stop_ids=())
    try:
        return [time.perf_counter() for _ in engine.tokens([prompt], kind(tokens), tuned)]
    finally:
        engine.contract = kept


def own_loop(engine: Any, prompt: Sequence[int], tokens: int) -> list[float]:
    """The same answer by one request to the same server, which then stays in llama.cpp's own loop."""
    llama, came = engine._llama, list[float]()
    request = {
        **{"prompt": prompt, "max_tokens": tokens, "temperature": 0.0, "repeat_penalty": 1.0, "ignore_eos": True},
        **{"stream": True, "id_slot": 0, "cache_prompt": False, "lora": llama._scales(0)},
    }
    llama._server.handle_completions(request, lambda chunk: came.append(time.perf_counter()) and False)
    return came


def peer(checked: CheckedRun, prompt: Sequence[int], tokens: int, dtype: str) -> list[float]:
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


def second_persona(tellers: Sequence[Teller], prompt: Sequence[int], tokens: int) -> tuple[float, float]:
    """Return the seconds until the second persona's first token, and the total rate of both."""
    begun, start = threading.Event(), time.perf_counter()
    asked: list[float] = []

    def first() -> list[float]:
        times = []
        for _ in tellers[0].engine.tokens([prompt], greedy(tokens)):
            times.append(time.perf_counter())
            begun.set()
        return times

    def second() -> list[float]:
        begun.wait()
        asked.append(time.perf_counter())
        return ours(tellers[1].engine, prompt, tokens // 3)

    one, other = together([first, second])
    return other[0] - asked[0], (len(one) + len(other)) / (max(one[-1], other[-1]) - start)


def wait_of_engine(teller: Teller, question: str) -> float:
    start = time.perf_counter()
    next(teller.stream([Message("user", question)], greedy(2)))
    return time.perf_counter() - start


def wait_of_server(address: str, question: str) -> float:
    """Seconds until the first text of a stream."""
    body = {"model": "m", "messages": [{"role": "user", "content": question}], "stream": True, "max_tokens": 2}
    request = Request(f"{address}/v1/chat/completions", json.dumps({**body, "temperature": 0}).encode())  # noqa: S310
    request.add_header("Content-Type", "application/json")
    start = time.perf_counter()
    with build_opener(ProxyHandler({})).open(request, timeout=60) as answer:
        for line in answer:
            if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                return time.perf_counter() - start
    raise AssertionError("no text came")


def first_tokens(teller: Teller) -> tuple[float, float]:
    """Return the median seconds to the first token of new prompts, of the engine and of a warm server before it."""
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    server = new_server(
        *(models_of("m", teller, greedy(2)), known_hosts("127.0.0.1", []), None, Limits()),
        *(lambda text: None, lambda error: None),
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve([place])))
    thread.start()
    address = f"http://127.0.0.1:{place.getsockname()[1]}"
    while not server.started:
        time.sleep(0.01)
    found: tuple[list[float], list[float]] = ([], [])
    try:
        for number in range(FIRST_TOKENS + 1):
            # Another beginning each time: what was read before would not be read again.
            question = f"{number * 7919}号和{number}号：" + ASKED
            found[0].append(wait_of_engine(teller, "甲" + question))
            found[1].append(wait_of_server(address, "乙" + question))
    finally:
        loop.call_soon_threadsafe(server.stop)
        thread.join()
    return statistics.median(found[0][1:]), statistics.median(found[1][1:])  # the first ones warm up


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("run", help="folder of a run")
    made.add_argument("--tokens", type=int, default=200, help="tokens of an answer (default: %(default)s)")
    made.add_argument("--rounds", type=int, default=3, help="times that each is measured (default: %(default)s)")
    made.add_argument("--peers", action="store_true", help="transformers with PEFT too")
    made.add_argument("--engine", choices=[*OURS, *PEERS], help="measure this one alone, once, in this process")
    return made


def measured(options: argparse.Namespace) -> Iterator[tuple[str, float]]:
    """Yield what is measured of one engine, and the figure."""
    run, tokens = open_run(Path(options.run), Path(options.run).parent), options.tokens
    checked = check_run(run)
    prompt = checked.renderer.prompt(with_system([Message("user", ASKED)], checked.contract.system), False)
    if options.engine in PEERS:
        yield f"transformers + PEFT, {options.engine}", rate(peer(checked, prompt, tokens, options.engine))
    elif options.engine == "torch":
        (teller,) = torch_tellers([checked], choose_place(talking=True))
        yield f"tonghua, {teller.engine.name}", rate(ours(teller.engine, prompt, tokens))
    else:
        yield from measured_in_llama(checked, prompt, tokens)


def measured_in_llama(checked: CheckedRun, prompt: Sequence[int], tokens: int) -> Iterator[tuple[str, float]]:
    start = time.perf_counter()
    tellers = llama_tellers([checked, checked])
    yield "s to open in llama.cpp (the first time with the conversion)", time.perf_counter() - start
    engine = tellers[0].engine
    yield f"tonghua, {engine.name}", rate(ours(engine, prompt, tokens))
    yield "llama.cpp's own loop, which drafts", rate(own_loop(engine, prompt, tokens))
    yield "without the adapter", rate(ours(engine, prompt, tokens, tuned=False))
    yield from copied(engine, min(tokens, 80))
    few = max(2, tokens // 5)
    one = total_rate([lambda: ours(engine, prompt, few)], few)
    yield f"one answer of {few} tokens, prompt included", one
    yield (
        f"{STREAMS} answers of {few} tokens, prompt included, together",
        total_rate([lambda: ours(engine, prompt, few)] * STREAMS, few),
    )
    waited, total = second_persona(tellers, prompt, tokens)
    yield "s to the first token of a second persona", waited
    yield "both personas together", total
    of_engine, of_server = first_tokens(tellers[0])
    yield "s to the first token of the engine", of_engine
    yield "s to the first token of the warm server", of_server


def copied(engine: Engine, tokens: int) -> Iterator[tuple[str, float]]:
    """Yield the rates of an answer that copies its prompt, which is read already; drafted tokens come in bursts."""
    prompt = engine.prompt([Message("user", COPIED)])
    ours(engine, prompt, 2, tuned=False)
    kinds: tuple[Callable[[int], Sampling], ...] = (greedy, settled)
    for name, kind in zip(("one token after another", "drafted"), kinds, strict=True):
        work = partial(ours, engine, prompt, tokens, tuned=False, kind=kind)
        yield f"copying, {name}", total_rate([work], tokens)


def in_own_process(options: argparse.Namespace, engine: str) -> dict[str, float]:
    """Return what one engine measures in a process of its own."""
    command = [sys.executable, __file__, options.run, "--tokens", str(options.tokens), "--engine", engine]
    told = subprocess.run(command, stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout
    found: dict[str, float] = json.loads(told.splitlines()[-1])
    return found


def main() -> None:
    options = parser().parse_args()
    if options.engine is not None:
        print(json.dumps(dict(measured(options)), ensure_ascii=False))
        return
    found: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for engine in [*(PEERS if options.peers else ()), *OURS]:
            for name, figure in in_own_process(options, engine).items():
                found.setdefault(name, []).append(figure)
    report.header("what", "tokens/s", "of the rounds")
    for name, figures in found.items():
        report.row(name, f"{statistics.median(figures):.2f}", ", ".join(f"{one:.2f}" for one in figures))
    report.finish("talk", {"tokens": options.tokens, "rates": found})


if __name__ == "__main__":
    main()
