"""Diagnose free disk space, the hubs that answer, and fonts for Chinese in plots."""

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import UsageError
from ..models import download as fetch
from ..models import hubs as hubs_room
from ..models.hubs import HubSource
from ..runs.curves import CHINESE_FONTS
from ..text import Text
from .diagnosis import Diagnosis, DiagnosisState, gb

MODEL_BYTES = 1_000_000_000
"""Size of qwen2.5-0.5b on disk, in bytes."""

RUN_BYTES = 300_000_000
"""Disk space for the checkpoints of one run, in bytes."""


class Disk(NamedTuple):
    """A folder that exists or would be made, and the free space there; `fault`: why nothing can be written, or None."""

    folder: Path
    free_bytes: int
    fault: str | None


def look_at(folder: Path) -> Disk:
    """Return the disk of a folder. Writes one byte into the nearest existing parent, and removes it again."""
    folder = folder.absolute()
    try:
        there = next(each for each in (folder, *folder.parents) if each.exists())
        probe = there / f".tonghua-doctor-{os.getpid()}"
        try:
            probe.write_bytes(b"1")
        finally:
            probe.unlink(missing_ok=True)
        return Disk(folder, shutil.disk_usage(there).free, None)
    except (OSError, StopIteration) as error:  # StopIteration: the drive is missing
        reason = error.strerror if isinstance(error, OSError) else None
        return Disk(folder, 0, reason or type(error).__name__)


def room_for_runs(disk: Disk) -> Diagnosis:
    """Diagnose the disk for runs; a problem if there is no room for one."""
    mend = Text(
        "到一个可以写、空间够的文件夹里运行，或写 output_dir=这样的文件夹",
        "work in a folder that can be written and has room, or write output_dir=FOLDER",
    )
    return _folder("runs", Text("训练结果", "runs"), disk, RUN_BYTES, "problem", mend)


def room_for_models(disk: Disk) -> Diagnosis:
    """Diagnose the disk for downloaded models. Only a note: `tiny` and models in other folders need no room."""
    mend = Text(
        "腾出空间，或把环境变量 TONGHUA_HOME 设为别处可写的文件夹；qwen2.5-0.5b 约 1 GB",
        "free some space, or set TONGHUA_HOME to a folder elsewhere that can be written; qwen2.5-0.5b takes about 1 GB",
    )
    needed = MODEL_BYTES + fetch.SPARE_BYTES
    return _folder("models", Text("下载的模型", "downloaded models"), disk, needed, "note", mend)


def _folder(name: str, what: Text, disk: Disk, needed_bytes: int, otherwise: DiagnosisState, mend: Text) -> Diagnosis:
    if disk.fault:
        told = Text(
            f"{what.zh}要放在 {disk.folder}，那里写不进去（{disk.fault}）",
            f"{what.en} go to {disk.folder}, where nothing can be written ({disk.fault})",
        )
        return Diagnosis(name, otherwise, told, mend)
    free = gb(disk.free_bytes)
    if disk.free_bytes < needed_bytes:
        told = Text(
            f"{what.zh}放在 {disk.folder}，磁盘只剩 {free}，至少要 {gb(needed_bytes)}",
            f"{what.en} go to {disk.folder}; {free} are free there, {gb(needed_bytes)} are needed",
        )
        return Diagnosis(name, otherwise, told, mend)
    told = Text(f"{what.zh}放在 {disk.folder}，磁盘还有 {free}", f"{what.en} go to {disk.folder}, {free} free")
    return Diagnosis(name, "ok", told)


def hubs(sources: Sequence[HubSource], seconds: Mapping[str, float]) -> Diagnosis:
    """Diagnose the hubs; `seconds` holds the time to answer, by hub name, of those that answered."""
    zh, en = [], []
    for source in sources:
        taken = seconds.get(source.name)
        zh.append(f"{source.title} {f'{taken:.2f} 秒' if taken is not None else '没有回应'}")
        en.append(f"{source.title} {f'{taken:.2f} s' if taken is not None else 'does not answer'}")
    told = Text(f"下载源：{'、'.join(zh)}", f"hubs: {', '.join(en)}")
    if seconds:
        return Diagnosis("hubs", "ok", told)
    mend = Text(
        "要下载模型，先检查网络和代理；model=tiny 和本机文件夹里的模型不用联网",
        "to download models, check the network and its proxy; model=tiny and models in local folders need none",
    )
    return Diagnosis("hubs", "note", told, mend)


def diagnose_hubs(offline: bool) -> Diagnosis:
    """Ask each hub for an answer, unless `offline`, and diagnose them."""
    if offline:
        return Diagnosis("hubs", "ok", Text("下载源：没有联网查看（离线）", "hubs: not asked (offline)"))
    try:
        sources = hubs_room.sources()
        return hubs(sources, fetch.answer_seconds(sources))
    except UsageError as error:  # a wrong address or certificate file in the environment
        return Diagnosis("hubs", "note", error.text)


def fonts(families: Collection[str], cache: str) -> Diagnosis:
    """Diagnose if a font of matplotlib has Chinese; `cache`: the folder where matplotlib keeps its list of fonts."""
    font = next((name for name in CHINESE_FONTS if name in families), None)
    if font:
        return Diagnosis("fonts", "ok", Text(f"图里的中文用字体 {font}", f"Chinese in plots: the font {font}"))
    return Diagnosis(
        "fonts",
        "note",
        Text("没有中文字体，图里的文字会是英文", "no font with Chinese: the labels of plots will be English"),
        Text(
            "装一种中文字体，例如 Noto Sans CJK（Debian、Ubuntu：sudo apt install fonts-noto-cjk），"
            f"再删掉文件夹 {cache}，让 matplotlib 重新找字体",
            "install a font such as Noto Sans CJK (Debian, Ubuntu: sudo apt install fonts-noto-cjk), "
            f"then delete the folder {cache}, so that matplotlib looks for fonts anew",
        ),
    )


def diagnose_fonts() -> Diagnosis:
    """Diagnose the fonts that matplotlib finds here."""
    import matplotlib
    from matplotlib.font_manager import fontManager

    return fonts(fontManager.get_font_names(), matplotlib.get_cachedir())
