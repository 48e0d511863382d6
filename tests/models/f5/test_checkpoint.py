"""Weights that were read ahead are those of the file, in the memory that they were read into."""

from __future__ import annotations

import ctypes
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from f5_worker.errors import ModelUnavailable
from f5_worker.models import ahead
from f5_worker.models.f5.checkpoint import read_weights
from tests.conftest import TINY


def read_ahead(path: Path, monkeypatch: pytest.MonkeyPatch) -> ahead.Pinned:
    content = path.read_bytes()
    memory = (ctypes.c_ubyte * len(content)).from_buffer_copy(content)
    file: Future[ahead.Pinned | None] = Future()
    file.set_result(memory)
    monkeypatch.setitem(ahead._files, path, file)
    return memory


@pytest.mark.parametrize("name", ahead.FILES)
def test_weights_read_ahead_are_those_of_the_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, memory = load_file(TINY / name), read_ahead(TINY / name, monkeypatch)
    found = read_weights(TINY / name)
    begin = ctypes.addressof(memory)
    assert sorted(found) == sorted(expected)
    for key, tensor in found.items():
        assert (tensor.dtype, tensor.shape) == (expected[key].dtype, expected[key].shape)
        assert torch.equal(tensor, expected[key])
        assert begin <= tensor.data_ptr() < begin + len(memory)


def test_tensors_of_all_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {
        "scalar": torch.tensor(3, dtype=torch.int64),
        "flag": torch.tensor(True),
        "empty": torch.zeros(0, 4),
        "half": torch.arange(6, dtype=torch.float16).view(2, 3),
        "bytes": torch.arange(5, dtype=torch.uint8),
    }
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    read_ahead(path, monkeypatch)
    found = read_weights(path)
    assert {key: (x.dtype, x.tolist()) for key, x in found.items()} == {
        key: (x.dtype, x.tolist()) for key, x in tensors.items()
    }


def test_a_tensor_that_is_not_aligned_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = (
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}'
    )
    header += b" " * (-len(header) % 8)
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x07" + torch.tensor([1.0, 2.0]).numpy().tobytes())
    read_ahead(path, monkeypatch)
    assert {key: x.tolist() for key, x in read_weights(path).items()} == {"a": [7], "b": [1.0, 2.0]}


def test_a_damaged_file_is_told_as_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((TINY / "model.safetensors").read_bytes()[:-1])
    read_ahead(path, monkeypatch)
    with pytest.raises(ModelUnavailable, match=r"model.safetensors of model .* cannot be read"):
        read_weights(path)
