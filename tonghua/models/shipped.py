"""What comes with tonghua: the small model `tiny`, and datasets that can be named instead of given by path.

    tonghua/tiny/             the model; also what `model=tiny` means
    dataset/<name>.json       rows to train on: `dataset=fairytale`
    dataset/<name>.heldout.json               `eval_dataset=fairytale.heldout`

A file or folder of the user's own that is called so comes first.
"""

from pathlib import Path

TINY = "tiny"

_PACKAGE = Path(__file__).resolve().parents[1]

_SUFFIX = ".json"


def tiny() -> Path:
    """The folder of the model."""
    return _PACKAGE / TINY


def is_tiny(model: str) -> bool:
    """Whether this names the model."""
    return model.lower() == TINY


def datasets() -> dict[str, Path]:
    """Every dataset by its name, those to train on before those held out."""
    installed, cloned = _PACKAGE / "dataset", _PACKAGE.parent / "dataset"
    files = sorted((installed if installed.is_dir() else cloned).glob(f"*{_SUFFIX}"))
    named = {file.name.removesuffix(_SUFFIX): file for file in files}
    return dict(sorted(named.items(), key=lambda item: ("." in item[0], item[0])))
