"""What ships with tonghua: the small model `tiny`, and datasets that a config can name without a path.

    tonghua/tiny/             the model; also what `model=tiny` means
    dataset/<name>.json       rows to train on: `dataset=fairytale`
    dataset/<name>.heldout.json               `eval_dataset=fairytale.heldout`

If the user has a file or folder of the same name, that one is used.
"""

from pathlib import Path

TINY = "tiny"

_PACKAGE = Path(__file__).resolve().parents[1]

_SUFFIX = ".json"


def tiny() -> Path:
    """Return the folder of the shipped model."""
    return _PACKAGE / TINY


def is_tiny(model: str) -> bool:
    """True if this names the shipped model, in upper or lower case."""
    return model.lower() == TINY


def datasets() -> dict[str, Path]:
    """Return the path of each shipped dataset by name, training sets before held-out sets."""
    installed, cloned = _PACKAGE / "dataset", _PACKAGE.parent / "dataset"
    files = sorted((installed if installed.is_dir() else cloned).glob(f"*{_SUFFIX}"))
    named = {file.name.removesuffix(_SUFFIX): file for file in files}
    return dict(sorted(named.items(), key=lambda item: ("." in item[0], item[0])))
