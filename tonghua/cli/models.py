"""`tonghua download` fetches a model; `tonghua models` lists, verifies and deletes models."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import RefusedError, UsageError
from ..system.environment import language
from ..terminal.following import following
from ..terminal.printer import put, put_json
from ..text import Text, one_line
from .shared import AsJson, Debug, Offline, help_text, new_screen

if TYPE_CHECKING:
    from ..models.manifest import Model
    from ..terminal.screen import Screen

ModelName = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help=help_text("模型的名字，例如 qwen2.5-0.5b", "a model's name, such as qwen2.5-0.5b")
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="HUB",
        help=help_text(
            "modelscope、huggingface 或 mirror；不写就用最快的",
            "modelscope, huggingface or mirror; none = the one that answers first",
        ),
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="DIR", help=help_text("放到这个文件夹里", "into this folder instead of tonghua's own")
    ),
]


def download(
    name: ModelName = None,
    source: From = None,
    offline: Offline = False,
    to: To = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Fetch a model. Raises UsageError if none is named, and what `models.fetch.fetch` raises."""
    if name is None:
        raise UsageError(
            "没有写模型的名字；例如 tonghua download qwen2.5-0.5b",
            "no model is named; write for example tonghua download qwen2.5-0.5b",
        )
    from ..models.fetch import fetch

    screen = new_screen()
    with following(screen.event) as tell:
        done = fetch(name, tell, source, offline, Path(to) if to else None)
    model = done.path if to else name
    screen.say(
        f"接着训练：tonghua train 配方 dataset=数据 model={model}",
        f"train it: tonghua train RECIPE dataset=FILE model={model}",
    )
    if as_json:
        put_json(done.as_json())


Verify = Annotated[
    bool, typer.Option("--verify", help=help_text("重新核对每个文件", "read every file again and compare its hash"))
]
Remove = Annotated[bool, typer.Option("--remove", help=help_text("删除这个模型", "delete this model"))]
Yes = Annotated[bool, typer.Option("--yes", help=help_text("删除前不再询问", "delete without asking"))]


def models(
    name: ModelName = None,
    verify: Verify = False,
    remove: Remove = False,
    yes: Yes = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the models on this machine, or verify or delete them. Raises UsageError if the named one is not here."""
    from ..models import store
    from ..models.hubs import not_here

    screen = new_screen()
    if remove:
        _remove(name, verify, yes, as_json, screen)
        return
    found = [store.shipped(), *store.models()] if name is None else [store.locate(name)]
    known = [model for model in found if model is not None]
    if name is not None and not known:
        raise not_here(name)
    if verify:
        _verify(known, as_json, screen)
        return
    listed = [_listed(model) for model in known]
    if as_json:
        put_json({"models": listed})
        return
    for each in listed:
        where = Text(f"来自 {each['source']}", f"from {each['source']}").to(language())
        put(f"{each['name']}  {each['bytes'] / 1e6:.0f} MB  {where}  {each['path']}")


def _listed(model: "Model") -> dict[str, Any]:
    """Return a model for `models --json`; `source`: the hub it was downloaded from, or the cache or folder it is in."""

    from ..models.manifest import read_manifest

    source: str = model.origin
    if source == "tonghua":
        try:
            source = read_manifest(model.path).source
        except RefusedError:
            source = "?"
    return {"name": model.name, "path": str(model.path), "source": source, "bytes": model.size_bytes}


def _verify(found: Sequence["Model"], as_json: bool, screen: "Screen") -> None:
    """Verify all files of these models, and that those of each fit together.

    Exits with RefusedError's code after the last one if any does not.
    """
    from ..models import store
    from ..models.fetch import tell_unchecked
    from ..models.manifest import MANIFEST, Verified

    verdicts = []
    faulty = False
    for model in found:
        screen.say(f"正在核对 {model.name}", f"checking {model.name}")
        try:
            verified = store.verify(model)
        except RefusedError as error:  # the manifest itself is damaged
            verified = Verified(model, (MANIFEST,), ())
            screen.say(*error.text)
        else:
            tell_unchecked(verified.unchecked, screen.event)
            fault = store.damaged_error(verified).text if verified.damaged else store.contradiction(model)
            screen.say(*(fault or Text("没有发现损坏", "no damage found")))
            faulty = faulty or fault is not None
        verdicts.append({**_listed(model), "damaged": verified.damaged, "unchecked": verified.unchecked})
    if as_json:
        put_json({"models": verdicts})
    if faulty or any(verdict["damaged"] for verdict in verdicts):
        raise typer.Exit(RefusedError.exit_code)


def _remove(name: str | None, verify: bool, yes: bool, as_json: bool, screen: "Screen") -> None:
    """Delete a model that tonghua downloaded, after the user has agreed. Raises UsageError for any other model."""
    from ..models import store
    from ..models.hubs import repository as repository_named

    if name is None or verify:
        raise UsageError(
            "请写要删除哪一个：tonghua models --remove 模型的名字",
            "write which one to delete: tonghua models --remove NAME",
        )
    repository, located = repository_named(name), store.locate(name)
    if repository is None:
        assert located is not None  # `locate` refuses a text that is neither
        if located.origin == "tiny":
            raise UsageError("tiny 是 tonghua 自带的，不用删", "tiny comes with tonghua and stays")
        raise UsageError(
            f"{located.path} 是你自己的文件夹，tonghua 不会删；不要了请自己删掉它",
            f"{located.path} is a folder of your own, which tonghua does not delete; delete it yourself",
        )
    if not yes and store.folder_of(repository).is_dir():
        if not sys.stdin.isatty():
            raise UsageError(
                f"删除 {repository} 前需要确认；确定要删请加 --yes",
                f"deleting {repository} needs your consent; add --yes to give it",
            )
        folder = store.folder_of(repository)
        question = Text(f"删除 {repository}（{folder}）？", f"delete {repository} ({folder})?")
        typer.confirm(one_line(question.to(language())), abort=True, err=True)
    freed = store.remove(name)
    screen.say(
        f"已删除 {repository}，腾出 {freed / 1e6:.0f} MB", f"deleted {repository}, {freed / 1e6:.0f} MB are free"
    )
    if as_json:
        put_json({"removed": repository, "bytes": freed})
