"""`tonghua chat` talks to a run, or to several in one conversation."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..system.files import is_there
from ..terminal.printer import put_json
from ..text import Text, shown
from .chatting import Chat, plain_lines, typed_lines
from .shared import (
    AsJson,
    Debug,
    EngineChoice,
    EngineOption,
    Offline,
    Style,
    help_text,
    new_screen,
    open_to_talk,
    split_runs,
)

if TYPE_CHECKING:
    from ..config.schema import Sampling
    from ..inference.dialogue import Dialogue
    from ..inference.teller import Teller
    from ..terminal.screen import Screen

_TURNS = 6
"""Answers of a duet for each message, unless the user says how many."""

Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        help=help_text("只问这一句就结束；- 表示从标准输入读", "ask this one thing and leave; - reads it from stdin"),
    ),
]
Duet = Annotated[
    bool,
    typer.Option(
        "--duet",
        help=help_text(
            "给两个结果：你说第一句，它们接着对谈；后面可写几句，如 --duet 8",
            "with two runs: you say the first words, and they talk on; a number may follow, as in --duet 8",
        ),
    ),
]


def chat(
    context: typer.Context,
    prompt: Prompt = None,
    duet: Duet = False,
    style: Style = None,
    engine: EngineOption = EngineChoice.auto,
    offline: Offline = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Answer one prompt, or hold a conversation. Raises what `inference.opening.open_several` raises."""
    runs, overrides = split_runs(context.args)
    turns = 0
    if duet:
        runs, turns = _turns(runs)
    _require_speakers(runs, turns, prompt)
    screen = new_screen()
    opened = open_to_talk(runs or (None,), overrides, style, offline, screen, engine)
    dialogue = _dialogue(opened)
    if prompt is None:
        hold(dialogue, screen, as_json, turns)
        return
    text = sys.stdin.read() if prompt == "-" else prompt
    if turns:
        Chat(dialogue, screen, as_json, duet=turns).answer(text)
        return
    answer = Chat(dialogue, screen).show_alone(text, echo=not as_json)
    if as_json:
        put_json(asdict(answer))


def _turns(arguments: list[str]) -> tuple[list[str], int]:
    """Return the runs, and the number among the arguments: the option takes it or does without."""
    from ..inference.dialogue import MOST_TURNS

    numbers = [each for each in arguments if each.isascii() and each.isdigit() and not is_there(Path(each))]
    if not numbers:
        return arguments, _TURNS
    turns = int(numbers[0]) if len(numbers[0]) < 9 else 0
    if len(numbers) > 1 or not 1 <= turns <= MOST_TURNS:
        raise UsageError(
            f"--duet 后面写一个 1 到 {MOST_TURNS} 的数，是对谈的句数",
            f"--duet takes one number from 1 to {MOST_TURNS}: how many answers the duet has",
        )
    return [each for each in arguments if each != numbers[0]], turns


def _require_speakers(runs: list[str], turns: int, prompt: str | None) -> None:
    """Raise UsageError if the number of runs does not fit what is asked of them."""
    if turns and len(runs) != 2:
        raise UsageError(
            "--duet 要写两个训练结果，例如 tonghua chat daiyu zhenhuan --duet",
            "--duet needs two runs, as in tonghua chat daiyu zhenhuan --duet",
        )
    if prompt is not None and not turns and len(runs) > 1:
        raise UsageError(
            "--prompt 只问一个训练结果；请只写一个，或加上 --duet",
            "--prompt asks one run; name one alone, or add --duet",
        )


def _dialogue(opened: "list[tuple[Teller, Sampling]]") -> "Dialogue":
    from ..config.schema import Persona
    from ..inference.dialogue import Dialogue, Speaker

    speakers = []
    for teller, sampling in opened:
        contract, run = teller.run.contract, teller.run.folder.name
        card = contract.card or Persona()
        speakers.append(Speaker(card.name or contract.persona or run, run, teller, sampling, card))
    return Dialogue(speakers)


def talk(teller: "Teller", sampling: "Sampling", screen: "Screen") -> None:
    """Hold a conversation with one run in a terminal."""
    hold(_dialogue([(teller, sampling)]), screen, as_json=False, turns=0)


def hold(dialogue: "Dialogue", screen: "Screen", as_json: bool, turns: int) -> None:
    """Hold a conversation until the user leaves: with line editing in a terminal, else line by line."""
    for speaker in dialogue.speakers:
        contract, run = speaker.teller.run.contract, shown(speaker.run)
        name, base = shown(speaker.name, 60), shown(contract.base["name"])
        if contract.persona is None and speaker.card.name is None:  # made elsewhere
            who = Text(f"{run}（基座 {base}）", f"{run} (base {base})")
        else:
            who = Text(f"{name}（{run}，基座 {base}）", f"{name} ({run}, base {base})")
        screen.say(*who)
    screen.say("输入 /帮助 看命令，exit 离开。", "/help lists the commands, exit leaves.")
    # Keys come from stdin, and the line is drawn on stderr: stdout carries the answers alone.
    edits = not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    lines = typed_lines(dialogue, screen) if edits else plain_lines()
    chatting = Chat(dialogue, screen, as_json, keeps_on=edits, duet=turns)
    if edits:
        chatting.greet()
    chatting.run(lines)
