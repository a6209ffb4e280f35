"""The wheel by itself: build it, install it into an empty environment, and run its demo in an empty folder.

python .ci/wheel.py
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGEST_BYTES = 30_000_000


def run(*command: object, folder: Path, **environment: str) -> str:
    """Return what a command prints; what it says on stderr goes on to the terminal. Raises if it fails."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env={**clean, **environment}, stdout=subprocess.PIPE, check=True
    )
    return done.stdout.decode("utf-8")


def main() -> None:
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        home, empty = folder / "venv", folder / "空 folder"
        empty.mkdir()
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT, folder=folder)
        (wheel,) = folder.glob("tonghua-*.whl")
        if wheel.stat().st_size > LARGEST_BYTES:
            sys.exit(f"{wheel.name} has {wheel.stat().st_size:,} bytes, more than {LARGEST_BYTES:,}")
        venv.create(home, with_pip=True)
        scripts = home / ("Scripts" if os.name == "nt" else "bin")
        run(scripts / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel, folder=empty)
        found = json.loads(run(scripts / "tonghua", "demo", "--json", folder=empty, PYTHONUTF8="1"))
        if not all(pair["base"] and pair["tuned"] for pair in found["answers"]):
            sys.exit("the demo of the wheel told no stories")
        if not (empty / found["run"] / "report.html").is_file():
            sys.exit("the demo of the wheel left no report.html")
        print(f"{wheel.name}: its demo told {len(found['answers'])} pairs of stories")


if __name__ == "__main__":
    main()
