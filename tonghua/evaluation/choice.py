"""Choose the reader of a run's answers: the one that is named, else the largest other model on this machine that fits.

Nothing is downloaded for it. The run's own base cannot read: it finds most sense in what it wrote itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.filesize import decimal

from ..errors import ResourceError, UsageError, UserError
from ..inference.teller import Teller
from ..models.scan import ModelFiles, scan_model
from ..models.store import find, fingerprint, models, name_of
from ..models.weights import needed_bytes
from ..system.device import DevicePlace
from ..system.memory import free_bytes, give_back_memory, is_out_of_memory
from ..text import Text
from .bootstrap import not_measured
from .reader import Reader, open_reader
from .sense import compare_sense

WORKSPACE_BYTES = 1_000_000_000
"""Memory that reading takes beside the weights of the reader, in bytes: at most, for a vocabulary of 150,000."""

NO_READER = Text(
    "这台机器上没有别的模型可以做读者；先 tonghua download qwen2.5-1.5b，再 tonghua eval，或写 reader=模型文件夹",
    "no other model on this machine can read; run tonghua download qwen2.5-1.5b and tonghua eval again, or write"
    " reader=FOLDER",
)


def read_answers(
    teller: Teller,
    answers: Sequence[Mapping[str, Any]],
    rows: Sequence[tuple[str, str]],
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """Return what `compare_sense` returns, with `items` and a note on empty answers; or why there is no reader."""
    decoder = teller.torch.decoder
    try:
        name, reader = _chosen(teller, DevicePlace(decoder.device, decoder.dtype))
        found = compare_sense(reader, answers, advance, rows)
    except UserError as error:
        return not_measured(error.text)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        found = not_measured(Text("内存不够读者读这些回答", "there is not enough memory for the reader"))
    else:
        found |= {"reader": name, "items": found["answers"]}
        if any(found["empty"].values()):
            base, tuned = found["empty"]["base"], found["empty"]["tuned"]
            zh = f"空的回答没有读：训练前 {base} 篇，训练后 {tuned} 篇"
            found["note"] = Text(zh, f"empty answers, not read: {base} before, {tuned} after")._asdict()
    give_back_memory(decoder.device)
    return found


def _chosen(teller: Teller, place: DevicePlace) -> tuple[str, Reader]:
    """Return the reader and its name. Raises a UserError that says why there is none."""
    own, named = _weights(teller.base), teller.run.config.reader
    if named is not None:
        files = scan_model(find(named))
        name = name_of(named, files.folder)
        if _weights(files) == own:
            raise UsageError(
                f"读者 {name} 就是这次训练的基座，它总觉得自己写的最通顺；请用 reader= 换一个模型",
                f"the reader {name} is the run's own base, which finds most sense in what it wrote; name another model"
                " with reader=",
            )
        _require_room(name, files, place)
        return name, open_reader(files.folder, place)
    refused: UserError | None = None
    for name, files in sorted(_others(own), key=lambda each: -needed_bytes(each[1], place, None)):
        try:
            _require_room(name, files, place)
            return name, open_reader(files.folder, place)
        except UserError as error:
            refused = refused or error
    raise refused or UsageError(*NO_READER)


def _weights(files: ModelFiles) -> str:
    return fingerprint(files)["weights_sha256"]


def _others(own: str) -> Iterator[tuple[str, ModelFiles]]:
    """Yield the downloaded models that can be computed and are not the run's own base; `tiny` is none of them."""
    for model in models():
        try:
            files = scan_model(model.path)
        except UserError:
            continue
        if _weights(files) != own:
            yield model.name, files


def _require_room(name: str, files: ModelFiles, place: DevicePlace) -> None:
    needed, free = needed_bytes(files, place, None) + WORKSPACE_BYTES, free_bytes(place.device)
    if needed > free:
        raise ResourceError(
            f"读者 {name} 放不下：要 {decimal(needed)} 内存，只空闲 {decimal(free)}；请用 reader= 换小一点的",
            f"the reader {name} does not fit beside the run: it takes {decimal(needed)} of memory and {decimal(free)}"
            " are free; name a smaller one with reader=",
        )
