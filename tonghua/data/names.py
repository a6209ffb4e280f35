"""Resolve dataset names: a shipped dataset, a path, or several, each with a weight.

fairytale               a dataset shipped with tonghua
D:/rows.json*0.5        a user's file, seen half as often
"""

import re
from collections.abc import Sequence
from pathlib import Path

from ..config.schema import Config
from ..errors import DataError, UsageError
from ..models.shipped import datasets
from ..system.files import is_there, user_path
from ..text import shown
from .read.archives import STORY_SUFFIX, SUFFIXES
from .read.sources import require_there

MOST_OFTEN = 100
"""Maximum weight of a dataset: times that its rows are seen in an epoch."""

_COUNT = re.compile(r"#\d+$")

_WEIGHT = re.compile(r"(?P<path>.+)\*(?P<weight>\d+(\.\d+)?)")


def require_datasets(config: Config) -> None:
    """Raise DataError if a dataset does not exist. Call it before a model is downloaded or loaded."""
    for each in (*several(config.dataset), *several(config.eval_dataset)):
        require_there(dataset_path(each))


def several(datasets: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names as a tuple, from one name, several or None."""
    return (datasets,) if isinstance(datasets, str) else tuple(datasets or ())


def dataset_path(named: str) -> Path:
    """`rows.json*0.5` -> its path; `fairytale` -> the shipped dataset, unless a file has this name.

    Raises DataError, with the shipped names, if a bare name is neither; UsageError for a count as of ms-swift.
    """
    weighted = _weighted(named)
    written = weighted["path"] if weighted else named
    path = user_path(written)
    count = _COUNT.search(written)
    if count and not is_there(path):
        raise UsageError(
            f"{shown(named)}：ms-swift 的 {count[0]} 在这里写成 max_samples={count[0][1:]}；"
            "网上的数据请先下载，再写它的路径",
            f"{shown(named)}: what ms-swift writes as {count[0]} is max_samples={count[0][1:]} here; download rows of a"
            " hub first and give their path",
        )
    if is_there(path) or Path(written).name != written or path.suffix.lower() in {*SUFFIXES, STORY_SUFFIX, ".zip"}:
        return path
    shipped = datasets()
    if written in shipped:
        return shipped[written]
    raise DataError(
        f"这里没有叫 {shown(written)} 的数据；请写文件或文件夹的路径，或自带数据的名字：{'、'.join(shipped)}；"
        "dataset_info.json 里的名字还要用 dataset_dir= 写出它在哪个文件夹",
        f"there are no rows called {shown(written)} here; give a file, a folder, or the name of a dataset that came "
        f"with tonghua: {', '.join(shipped)}; for a name in dataset_info.json, say with dataset_dir= in which folder"
        " that is",
    )


def from_anywhere(named: str) -> str:
    """Return a name that is valid in any working directory: the absolute path, or the name if it is shipped."""
    return named if dataset_path(named) in datasets().values() else str(user_path(named).resolve())


def weight_of(named: str) -> float:
    """`rows.json*0.5` -> 0.5, the times that its rows are seen in an epoch; 1.0 without a weight.

    Raises UsageError if the weight is 0 or above `MOST_OFTEN`.
    """
    weighted = _weighted(named)
    weight = float(weighted["weight"]) if weighted else 1.0
    if not 0 < weight <= MOST_OFTEN:
        raise UsageError(
            f"{named} 里的倍数应大于 0、不大于 {MOST_OFTEN}",
            f"the number in {named} must be above 0 and at most {MOST_OFTEN}",
        )
    return weight


def _weighted(named: str) -> re.Match[str] | None:
    return None if is_there(user_path(named)) else _WEIGHT.fullmatch(named)


def named(datasets: str | Sequence[str] | None) -> str:
    """Return the names as one string, for messages."""
    return "、".join(several(datasets))


def only_dataset(datasets: str | Sequence[str] | None) -> str:
    """The one dataset that is named. Raises UsageError for none and for several."""
    if not datasets:
        raise UsageError("没有指定数据；请写 tonghua check 数据文件", "no rows are named; write tonghua check FILE")
    if len(several(datasets)) > 1:
        count, first = len(several(datasets)), shown(several(datasets)[0], 60)
        raise UsageError(
            f"check 一次看一份数据，这里写了 {count} 份；请逐个来：先写 {first}，或写出它们所在的文件夹",
            f"check looks at one dataset at a time, and {count} are named; begin with {first}, or name their folder",
        )
    return several(datasets)[0]
