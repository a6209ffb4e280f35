"""Before anything is installed: is this Python new enough, and is there room? Runs on any Python 3."""

import shutil
import sys

LEAST_PYTHON = (3, 11)
LEAST_GB = 3

free_gb = shutil.disk_usage(".").free / 1e9
if sys.version_info < LEAST_PYTHON:
    found = ".".join(map(str, sys.version_info[:3]))
    sys.exit(
        f"需要 Python 3.11 或更新，现在是 {found}；装好后写 make PYTHON=python3.11 …\n"
        f"Python 3.11 or newer is needed, this is {found}; install it and write make PYTHON=python3.11 …"
    )
if free_gb < LEAST_GB:
    sys.exit(
        f"这里只剩 {free_gb:.1f} GB，安装至少要 {LEAST_GB} GB；请腾出空间\n"
        f"{free_gb:.1f} GB are free here and installing needs {LEAST_GB} GB at least; free some space"
    )
