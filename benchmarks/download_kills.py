"""Kill downloads at random moments, finish them, and see whether each is whole and what it cost in bytes.

    python benchmarks/download_kills.py --kills 100

A server on loopback sends a model as a network would: in small pieces with pauses, so that what it sent is what
the other side received. Each kill strikes a fresh process at a moment between its start and its end; the next
process finishes the model, of which every sha256 is then compared.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep

import report

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from hub_server import MODEL, Hub, model_files, serving

from tonghua.models import store

DOWNLOAD = (
    "import sys; from tonghua.models.download import download; print(download(sys.argv[1], 'modelscope').verified)"
)
BLOCK_BYTES = 32_768
PAUSE_S = 0.002


def start() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", DOWNLOAD, MODEL], stdout=subprocess.PIPE)


def finish() -> tuple[bool, float]:
    """Whether the download came out verified, and the seconds from the start of the process to its end."""
    began = monotonic()
    out, _ = (child := start()).communicate()
    return child.returncode == 0 and out.strip() == b"True", monotonic() - began


def is_whole(hub: Hub) -> bool:
    found = store.locate(MODEL)
    return found is not None and not store.verify(found).damaged and found.origin == "tonghua"


def one_kill(hub: Hub, chance: random.Random, whole_s: float) -> tuple[bool, bool, float]:
    """Whether the kill struck midway, whether the model was whole in the end, and bytes sent over its size."""
    with tempfile.TemporaryDirectory(prefix="下载 ") as folder:
        os.environ["TONGHUA_HOME"] = folder
        hub.sent_bytes = 0
        child = start()
        sleep(chance.uniform(0, whole_s))
        child.kill()
        child.communicate()
        struck = not is_whole(hub) and hub.sent_bytes > 0
        verified, _ = finish()
        return struck, verified and is_whole(hub), hub.sent_bytes / hub.size_bytes


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("--kills", type=int, default=100, help="how many (default: %(default)s)")
    made.add_argument("--megabytes", type=float, default=8.0, help="size of the model (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    return made


def main() -> None:
    options = parser().parse_args()
    chance = random.Random(options.seed)  # noqa: S311
    hub = Hub(model_files(int(options.megabytes * 1e6)), pause_s=PAUSE_S, block_bytes=BLOCK_BYTES)
    with serving(hub), tempfile.TemporaryDirectory() as empty:
        os.environ |= {"MODELSCOPE_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": empty, "MODELSCOPE_CACHE": empty}
        os.environ["TONGHUA_HOME"] = str(Path(empty) / "first")
        verified, whole_s = finish()
        if not verified:
            sys.exit("the download that nobody killed did not come out verified")
        kills = [one_kill(hub, chance, whole_s) for _ in range(options.kills)]
    costs = [cost for *_, cost in kills]
    result = {
        "kills": len(kills),
        "struck_midway": sum(struck for struck, *_ in kills),
        "whole_and_verified": sum(whole for _, whole, _ in kills),
        "bytes_over_size_mean": round(statistics.mean(costs), 4),
        "bytes_over_size_max": round(max(costs), 4),
        "model_bytes": hub.size_bytes,
    }
    report.header("figure", "value")
    for name, value in result.items():
        report.row(name.replace("_", " "), value)
    report.finish("download_kills", result)


if __name__ == "__main__":
    main()
