"""Where an export goes: a folder, or a file, that appears when all of it is written and proven.

    exports/.name.part/   written and proven here   --rename-->   exports/name/

An existing target is refused; `force` replaces an earlier export and nothing else.
"""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import ResourceError, UsageError
from ..system.files import is_there, put_in_place, remove

FIGURES = "export.json"
"""What was exported, in every export: by it an earlier one is known."""


def require_free(target: Path, force: bool) -> None:
    """Raise UsageError if something stands at the target; with `force`, unless it is an earlier export."""
    if not is_there(target) or (target.is_dir() and not any(target.iterdir())):
        return
    if not force:
        raise UsageError(
            f"{target} 已经有了；请用 --out 换一个地方，或加 --force 换掉它",
            f"{target} exists already; choose another place with --out, or add --force to replace it",
        )
    if not _is_export(target):
        raise UsageError(
            f"{target} 不是 tonghua 导出的，不会换掉它；请用 --out 换一个地方",
            f"{target} was not exported by tonghua and is not replaced; choose another place with --out",
        )


def _is_export(target: Path) -> bool:
    if target.is_dir():
        return (target / FIGURES).is_file()
    try:
        with zipfile.ZipFile(target) as packed:
            return FIGURES in packed.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


@contextmanager
def building(target: Path, seal: Callable[[Path, Path], None] | None = None) -> Iterator[Path]:
    """Yield an empty folder to write in; it becomes `target` when the block ends well, and is gone after any other end.

    `seal` writes the folder as one file, which then becomes the target. Raises ResourceError for an OSError.
    """
    part, sealed = target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.sealed")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove(part)
        part.mkdir()
        yield part
        if seal is not None:
            seal(part, sealed)
        put_in_place(part if seal is None else sealed, target)
    except OSError as error:
        raise ResourceError(
            f"写不进 {target}：{error.strerror or error}；请腾出空间，或用 --out 换一个地方",
            f"cannot write {target}: {error.strerror or error}; free some space, or choose another place with --out",
        ) from error
    finally:
        with suppress(OSError):
            remove(part)
            remove(sealed)
