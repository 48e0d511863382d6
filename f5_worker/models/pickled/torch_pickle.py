"""An interpreter for the pickles inside PyTorch's checkpoints that makes descriptions of tensors, and runs nothing.

A pickle is a program for a stack machine that may call whatever it names. This machine knows the instructions that
`torch.save` writes, and the names below, each of which stands for a function of this module; there is no way from a
pickle to an import, an attribute or a call of anything else. What it returns is made of dicts with names and integers
as keys, lists, tuples, strings, numbers and the two classes below, whose numbers have been checked.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

MAX_DIMENSIONS = 8
MAX_NUMBER = 1 << 48  # of elements; products of a few stay small integers

# The storage classes of torch: the data type of their elements, and its size.
STORAGES = {
    "torch DoubleStorage": ("float64", 8),
    "torch FloatStorage": ("float32", 4),
    "torch HalfStorage": ("float16", 2),
    "torch BFloat16Storage": ("bfloat16", 2),
    "torch LongStorage": ("int64", 8),
    "torch IntStorage": ("int32", 4),
    "torch ShortStorage": ("int16", 2),
    "torch CharStorage": ("int8", 1),
    "torch ByteStorage": ("uint8", 1),
    "torch BoolStorage": ("bool", 1),
}


class CheckpointRefused(Exception):
    """The file is not a checkpoint of weights alone; the message continues a sentence that begins with its name."""


@dataclass(frozen=True)
class Storage:
    """A block of elements in the file. `key` is its name there."""

    key: str
    dtype: str
    item_bytes: int
    n_elements: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor: a view of a storage, within its bounds. `offset` and `strides` are in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """Return the size of the tensor when it is copied out of its storage."""
        return prod(self.shape) * self.storage.item_bytes


@dataclass(frozen=True)
class _Name:
    """A name in the pickle, not what it stands for."""

    text: str


def interpret(program: bytes | bytearray | io.BytesIO, storages: dict[str, Storage] | None = None) -> Any:
    """Return what a pickle describes; one in an open file is read up to its end, where another may begin.

    Args:
        storages: where the storages that it names are put, by their keys.

    Raises:
        CheckpointRefused: it does something else than `torch.save` does for weights, or is damaged.
    """
    machine = _Machine({} if storages is None else storages)
    try:
        for instruction, argument, _ in pickletools.genops(program):
            machine.step(instruction.name, argument)
        (result,) = machine.stack
    except (ValueError, IndexError, KeyError) as error:  # bytes that are no instruction, or an empty stack
        raise CheckpointRefused("has a damaged pickle") from error
    return result


class _Machine:
    """The stack machine. `memo` keeps values that are used again."""

    def __init__(self, storages: dict[str, Storage]) -> None:
        self.stack: list[Any] = []
        self._storages = storages
        self.memo: dict[int, Any] = {}
        self._marks: list[int] = []

    def step(self, instruction: str, argument: Any) -> None:
        """Execute one instruction."""
        if instruction in _PUSHES:
            self.stack.append(argument)
        elif instruction in _MAKES:
            self.stack.append(_MAKES[instruction]())
        elif instruction in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif instruction in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif instruction in _TUPLES:
            n_items = _TUPLES[instruction]
            self.stack.append(tuple(reversed([self.stack.pop() for _ in range(n_items)])))
        elif instruction == "GLOBAL":
            self.stack.append(_known_name(argument))
        elif (method := _METHODS.get(instruction)) is not None:
            method(self)
        elif instruction not in ("PROTO", "STOP"):
            raise CheckpointRefused(f"uses the pickle instruction {instruction}, which weights do not need")

    def _mark(self) -> None:
        self._marks.append(len(self.stack))

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _tuple(self) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _append(self) -> None:
        item = self.stack.pop()
        _as(list, self.stack[-1]).append(item)

    def _appends(self) -> None:
        items = self._since_mark()
        _as(list, self.stack[-1]).extend(items)

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _set_items(self.stack[-1], [key, value])

    def _set_items(self) -> None:
        items = self._since_mark()
        _set_items(self.stack[-1], items)

    def _build(self) -> None:
        """Drop the attributes of an object: of a state dict, the versions of its modules."""
        self.stack.pop()
        _as(dict, self.stack[-1])

    def _reduce(self) -> None:
        arguments = _as(tuple, self.stack.pop())
        name = _as(_Name, self.stack.pop())
        function = _FUNCTIONS.get(name.text)
        if function is None:
            raise CheckpointRefused(f"calls {name.text}, which weights do not need")
        self.stack.append(function(arguments))

    def _storage(self) -> None:
        storage = _storage(_as(tuple, self.stack.pop()))
        if self._storages.setdefault(storage.key, storage) != storage:
            raise CheckpointRefused("names a storage twice, with another type or size")
        self.stack.append(storage)


def _known_name(text: str) -> _Name:
    if text not in _FUNCTIONS and text not in STORAGES and text not in _CONSTANTS:
        shown = text.replace(" ", ".")[:80]
        raise CheckpointRefused(f"holds more than weights: it names {shown if shown.isprintable() else ascii(shown)}")
    return _Name(text)


def _as(kind: type[Any], value: Any) -> Any:
    if type(value) is not kind:
        raise CheckpointRefused("has a damaged pickle")
    return value


def _set_items(target: Any, items: Sequence[Any]) -> None:
    """Set keys and values in turn. Names and integers only: the hash of a deeply nested key would exhaust the stack."""
    mapping = _as(dict, target)
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (str, int):
            raise CheckpointRefused("has a dict whose keys are neither names nor integers")
        mapping[key] = value


def _storage(arguments: tuple[Any, ...]) -> Storage:
    """Describe the storage that a persistent identifier names: ("storage", class, key, device, number of elements).

    Before torch 1.6 a part of another storage could be one: that is the sixth then, None for the usual ones.
    """
    if len(arguments) < 5 or arguments[0] != "storage" or type(arguments[1]) is not _Name:
        raise CheckpointRefused("has a damaged pickle")
    if arguments[5:] not in ((), (None,)):
        raise CheckpointRefused("has storages within storages; save it with torch 1.6 or later")
    _, kind, key, _, n_elements = arguments[:5]
    if kind.text not in STORAGES:
        raise CheckpointRefused(f"has tensors of an unknown class, {kind.text}")
    dtype, item_bytes = STORAGES[kind.text]
    return Storage(_as(str, key), dtype, item_bytes, _number(n_elements))


def _rebuild_tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    """Describe the tensor that torch would make of: storage, offset, shape, strides, and what inference ignores."""
    storage, offset, shape, strides = arguments[:4] if len(arguments) >= 4 else (None,) * 4
    if len(arguments) > 6 and arguments[6]:
        raise CheckpointRefused("has tensors that are conjugated or negated views; save them with resolve_conj()")
    _as(Storage, storage)
    sizes, steps = (tuple(_number(number) for number in _as(tuple, part)) for part in (shape, strides))
    if not len(sizes) == len(steps) <= MAX_DIMENSIONS:
        raise CheckpointRefused(f"has a tensor of {len(sizes)} dimensions and {len(steps)} strides")
    last = _number(offset) + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
    if 0 not in sizes and last >= storage.n_elements:
        raise CheckpointRefused(f"has a tensor that reaches to element {last} of {storage.n_elements}")
    return StoredTensor(storage, offset, sizes, steps)


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise CheckpointRefused("has a tensor with a shape, stride or offset that cannot be")
    return value


def _rebuild_parameter(arguments: tuple[Any, ...]) -> StoredTensor:
    tensor: StoredTensor = _as(StoredTensor, arguments[0])
    return tensor


def _empty_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if arguments:
        raise CheckpointRefused("has a damaged pickle")
    return {}


_PUSHES = frozenset(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"))
_MAKES: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_METHODS = {
    "MARK": _Machine._mark,
    "TUPLE": _Machine._tuple,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "BUILD": _Machine._build,
    "REDUCE": _Machine._reduce,
    "BINPERSID": _Machine._storage,
}
_FUNCTIONS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    "collections OrderedDict": _empty_dict,
    "torch Size": lambda arguments: tuple(_as(tuple, arguments[0])),
    "torch device": lambda arguments: None,
}
# Values in the settings of an optimizer.
_CONSTANTS = frozenset(
    f"torch {name}" for name in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "uint8", "bool")
)
