"""CTranslate2's model.bin, read without CTranslate2.

The format, little-endian (`ModelSpec._serialize` of ctranslate2, binary version 6):

    u32 version, string name of the spec, u32 revision of the spec
    u32 number of variables, each: string name, u8 rank, u32 x rank shape, u8 type, u32 bytes, the values
    u32 number of aliases, each: string alias, string name of the variable that it stands for

A string is a u16 length, with the zero byte at its end, and the characters. A weight in int8 has a scale for each row
in the variable `<name>_scale`: value = stored / scale.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from f5_worker.errors import ModelUnavailable

VERSION = 6
SPEC = "WhisperSpec"
_BFLOAT16 = 5
_TYPES: tuple[str, ...] = ("<f4", "<i1", "<i2", "<i4", "<f2", "<i2")  # by number; the last holds bfloat16's bits
MAX_RANK = 8


def read_model_bin(path: Path) -> dict[str, Tensor]:
    """Return all variables by name, aliases too; weights in int8 as fp32. The tensors are copies.

    Raises:
        ModelUnavailable: the file is damaged, or not that of a Whisper model.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data).read()
    except (OSError, ValueError, struct.error) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        raise ModelUnavailable(f"the recogniser's {path.name} cannot be read ({problem}); fetch it again") from None


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def read(self) -> dict[str, Tensor]:
        version = self._number("I")
        if version != VERSION:
            raise ValueError(f"its format has version {version}, {VERSION} is read")
        name, _ = self._string(), self._number("I")
        if name != SPEC:
            raise ValueError(f"it holds a {name[:40]}")
        variables = dict(self._variable() for _ in range(self._number("I")))
        found = {name: _tensor(values, kind) for name, (values, kind) in variables.items()}
        for name in [name for name in found if f"{name}_scale" in found]:
            scale = found.pop(f"{name}_scale")
            found[name] = found[name].float() / scale.reshape(-1, *[1] * (found[name].dim() - 1))
        for _ in range(self._number("I")):
            alias, name = self._string(), self._string()
            if name in found:  # a scale of an alias has been applied
                found[alias] = found[name]
        return found

    def _number(self, kind: str) -> int:
        (value,) = struct.unpack_from(f"<{kind}", self._data, self._at)
        self._at += struct.calcsize(kind)
        return int(value)

    def _bytes(self, n_bytes: int) -> bytes:
        if self._at + n_bytes > len(self._data):
            raise ValueError("it ends too early")
        self._at += n_bytes
        return self._data[self._at - n_bytes : self._at]

    def _string(self) -> str:
        return self._bytes(self._number("H"))[:-1].decode()

    def _variable(self) -> tuple[str, tuple[NDArray[np.generic], int]]:
        name, rank = self._string(), self._number("B")
        if rank > MAX_RANK:
            raise ValueError(f"a variable has {rank} dimensions")
        shape = [self._number("I") for _ in range(rank)]
        kind, n_bytes = self._number("B"), self._number("I")
        if kind >= len(_TYPES):
            raise ValueError(f"a variable has the type {kind}")
        return name, (np.frombuffer(self._bytes(n_bytes), _TYPES[kind]).reshape(shape), kind)


def _tensor(values: NDArray[np.generic], kind: int) -> Tensor:
    tensor = torch.from_numpy(values.copy())
    return tensor.view(torch.bfloat16) if kind == _BFLOAT16 else tensor
