"""A device that no machine has: tensors say that they are on `meta`, and the CPU computes them.

    with FarDevice() as device:
        Decoder(shape, torch.float32, FAR) ...      code takes its paths for a GPU, with real numbers
    device.told                                     what a GPU would have waited for, or refused

`told` counts, by the function of the package that did it:

    to host     values that the host asked for: item(), bool(), tolist(), cpu(), nonzero, an index by a bool mask
    to device   copies to the device
    mixed       operations with tensors of both sides
    wide        float64 or complex numbers on the device: MPS has none
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import torch
import yaml
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

import tonghua

FAR = torch.device("meta")

WIDE = (torch.float64, torch.complex64, torch.complex128)

ASKING = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "_unique2", "unique_dim")
"""Operations whose result, or the size of it, the host waits for."""

MOVING = ("_to_copy", "copy_", "_foreach_copy_", "_copy_from")

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # both are safe; the one in C takes a tenth of the time

HOUSE = str(Path(tonghua.__file__).parent)


class FarTensor(Tensor):
    """A tensor that says it is on `FAR`; its numbers are in `here`."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> "FarTensor":
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined, no-any-return]
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=FAR,
        )

    def __init__(self, here: Tensor):
        self.here = here

    def tolist(self) -> Any:
        """Return the numbers as lists, which PyTorch itself refuses for classes of its users."""
        return self.cpu().tolist()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"FarTensor({self.here})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} was called outside of `FarDevice`")


class FarDevice(TorchDispatchMode):
    """Runs what is on `FAR`, and tells what would cost or fail on a real device. `ops` counts all operations there."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Counter[str] = Counter()
        self.ops: Counter[str] = Counter()
        self._filled = _Filled()

    def __enter__(self) -> Self:
        self._filled.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._filled.__exit__(*error)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [each for each in tree_iter((args, kwargs)) if isinstance(each, Tensor)]
        far = [each for each in tensors if isinstance(each, FarTensor)]
        named = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
        stays = named == FAR if named is not None else bool(far)
        if not far and not stays:
            return func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        self.ops[f"{name}.{func._overloadname}".removesuffix(".default")] += 1
        self._watch(name, args, tensors, stays)
        if named is not None:
            kwargs["device"] = torch.device("cpu")
        inner_args, inner_kwargs = tree_map(_near, (tuple(args), kwargs))
        out = func(*inner_args, **inner_kwargs)
        if stays and any(each.dtype in WIDE for each in tree_iter(out) if isinstance(each, Tensor)):
            self._tell(f"wide {name}")
        if not stays:
            return out
        # An operation in place returns its argument, not a new tensor.
        own: dict[int, Tensor] = {id(each.here): each for each in far}
        return tree_map(lambda each: _far(each, own) if isinstance(each, Tensor) else each, out)

    def _watch(self, name: str, args: Sequence[Any], tensors: Sequence[Tensor], stays: bool) -> None:
        near = [each for each in tensors if not isinstance(each, FarTensor)]
        if name in MOVING:
            # The target comes first; what is made anew is where it was asked for.
            to_far = stays if name == "_to_copy" else isinstance(tensors[0], FarTensor)
            if to_far and near:
                self._tell("to device")
            elif not to_far:
                self._tell("to host")
        elif near:
            self._tell(f"mixed {name}")
        masks = args[1] if name in ("index", "index_put_", "index_put", "_index_put_impl_") else ()
        if name in ASKING or any(isinstance(each, Tensor) and each.dtype == torch.bool for each in masks):
            self._tell("to host")

    def _tell(self, what: str) -> None:
        self.told[f"{_caller()}: {what}"] += 1


class _Filled(TorchFunctionMode):
    """Makes `torch.tensor(numbers, device=FAR)` copy its numbers, which PyTorch leaves out for `meta`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.tensor and kwargs.get("device") is not None and torch.device(kwargs["device"]) == FAR:
            del kwargs["device"]
            return func(*args, **kwargs).to(FAR)
        return func(*args, **kwargs)


def _far(result: Tensor, own: Mapping[int, Tensor]) -> Tensor:
    return own[id(result)] if id(result) in own else FarTensor(result)


def _near(value: Any) -> Any:
    return value.here if isinstance(value, FarTensor) else value


def _caller() -> str:
    """The innermost function of the package that is running, such as `core.loss._minus_log`."""
    frame = sys._getframe()
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(HOUSE):
            module = file.removeprefix(HOUSE).strip("/\\").removesuffix(".py").replace("/", ".").replace("\\", ".")
            return f"{module}.{frame.f_code.co_qualname.split('.<locals>')[0]}"
        frame = frame.f_back
    return "test"


def lacking_on_mps(ops: Sequence[str]) -> list[str]:
    """Those of these operations for which PyTorch's own table has no kernel on MPS and no other way to run there."""
    return [name for name in ops if not _runs_on_mps(name)]


@cache
def _table() -> dict[str, dict[str, Any]]:
    """PyTorch's table of operations, by name."""
    spec = find_spec("torchgen")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
    entries = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506
    return {entry["func"].split("(", 1)[0]: entry for entry in entries}


def _runs_on_mps(name: str) -> bool:
    entry = _table().get(name)
    if entry is None:  # made from another entry: the `out` form of an operation without one of its own
        base = name.split(".", 1)[0]
        return base in _table() and _runs_on_mps(base)
    delegate = entry.get("structured_delegate")
    if delegate is not None:
        return _runs_on_mps(delegate)
    # Without a list, an operation is made of others.
    keys = {key.strip() for keys in entry.get("dispatch", {"Composite": ""}) for key in keys.split(",")}
    return "MPS" in keys or any(key.startswith("Composite") for key in keys)
