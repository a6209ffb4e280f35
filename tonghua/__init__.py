"""tonghua: train a small language model on your own rows to be a storyteller, a character or an expert.

import tonghua
result = tonghua.train("daiyu", dataset="daiyu", model="tiny")
teller = tonghua.load(result.run)
print(teller.tell("窗前的竹子可要修剪？"))
"""

from .api import check, download, evaluate, export, load, plan, report, resume, train
from .exits import plain_errors
from .version import __version__

__all__ = [
    "__version__",
    "check",
    "download",
    "evaluate",
    "export",
    "load",
    "plain_errors",
    "plan",
    "report",
    "resume",
    "train",
]
