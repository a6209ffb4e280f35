"""`tonghua serve` answers over HTTP, as OpenAI's clients ask, with a chat page at /."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..system.environment import server_key
from ..terminal.following import following
from ..terminal.printer import put_traceback
from ..text import Text
from .shared import Debug, EngineChoice, EngineOption, Offline, help_text, new_screen

NEEDED = ("fastapi", "uvicorn", "prometheus_client")

Runs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN…",
        help=help_text(
            "结果文件夹，或 名字=结果文件夹；不写就用最新的。也可以写 device=cpu 这样的设置",
            "folders of runs, or NAME=RUN; none = the newest. Settings such as device=cpu may stand here too",
        ),
    ),
]
Host = Annotated[
    str,
    typer.Option(help=help_text("在哪个地址上等待；默认只有本机能连", "address to listen on; this machine alone")),
]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help=help_text("端口，0 为任意空闲的", "port; 0 = any that is free"))
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        help=help_text(
            "存放密钥的文件，没有就新写一把；也可以用环境变量 TONGHUA_KEY",
            "file that holds the key; a new one is written if there is none. Or set TONGHUA_KEY",
        )
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        help=help_text("浏览器里用的域名，可以写几次", "a domain name that clients use; can be given several times")
    ),
]


def serve(
    runs: Runs = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    key_file: KeyFile = None,
    allow_host: AllowHost = None,
    engine: EngineOption = EngineChoice.auto,
    offline: Offline = False,
    debug: Debug = False,
) -> None:
    """Serve runs until a signal. Raises what `server.serve` and `inference.opening.open_several` raise."""
    _require_libraries()
    import asyncio

    from ..inference.opening import open_several
    from ..server.limits import Limits
    from ..server.models import ServedModel, models_of
    from ..server.serve import address_of, known_hosts, new_server, read_key, take_place

    screen = new_screen()

    def tell_text(text: Text) -> None:
        screen.say(*text)

    named, asked = _named(runs or [])
    named = named or [(None, None)]  # the newest
    key = read_key(key_file, server_key(), tell_text)
    place = take_place(host, port, key)
    with place:
        with following(screen.event) as tell:
            opened = open_several([run for _, run in named], asked, {}, tell, offline, engine.value)
        models: list[ServedModel] = []
        for (name, _), (teller, sampling) in zip(named, opened, strict=True):
            models += models_of(name or teller.run.folder.name, teller, sampling)
        address = address_of(place)

        def say_ready() -> None:
            engines = tuple(dict.fromkeys(teller.engine.name for teller, _ in opened))
            names = tuple(model.name for model in models)
            screen.say(f"引擎：{'、'.join(engines)}", f"engine: {', '.join(engines)}")
            screen.say(f"模型：{'、'.join(names)}", f"models: {', '.join(names)}")
            screen.say(f"接口：{address}/v1", f"API: {address}/v1")
            screen.say(f"页面：{address}/（Ctrl-C 停下）", f"page: {address}/ (Ctrl-C stops)")

        server = new_server(
            models,
            known_hosts(host, allow_host or []),
            key,
            Limits(),
            tell_text,
            lambda error: put_traceback(type(error), error, error.__traceback__),
            say_ready,
        )
        asyncio.run(server.serve([place]))


def _require_libraries() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        raise UsageError(
            f'tonghua serve 需要 {names}；请运行 pip install "tonghua[serve]"',
            f'tonghua serve needs {names}; run pip install "tonghua[serve]"',
        )


def _named(words: list[str]) -> tuple[list[tuple[str | None, str | None]], dict[str, object]]:
    """Return (name, run) of each run, and the settings; `key=value` is a setting if there is such a key."""
    from ..config.overrides import parse_overrides
    from ..config.values import field_of

    runs: list[tuple[str | None, str | None]] = []
    settings: list[str] = []
    for word in words:
        name, mark, run = word.partition("=")
        if not mark or Path(word).exists():
            runs.append((None, word))
        elif field_of(name.replace("-", "_")) is not None:
            settings.append(word)
        else:
            runs.append((name, run))
    return runs, {("sampling.seed" if key == "seed" else key): value for key, value in parse_overrides(settings)}
