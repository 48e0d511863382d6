"""The reader of PyTorch's checkpoints beside torch's own, and what it refuses."""

from __future__ import annotations

import ast
import io
import os
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from f5_worker.boot.weights.weights_child import Unusable, _load
from f5_worker.models.pickled import torch_file
from f5_worker.models.pickled.torch_file import TorchFile
from f5_worker.models.pickled.torch_pickle import STORAGES, CheckpointRefused, interpret
from f5_worker.settings import REPOSITORY

DTYPES = [getattr(torch, dtype) for dtype, _ in STORAGES.values()]


def load(path: Path, nested_as: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    return _load(path, nested_as)


def assert_same(path: Path, nested_as: tuple[str, ...] = ()) -> None:
    """The tensors are those that torch.load gives, bit by bit, and their shapes and types."""
    expected = torch.load(path, weights_only=True)
    expected = next((expected[name] for name in nested_as if name in expected), expected)
    ours = load(path, nested_as)
    assert list(ours) == [name for name, value in expected.items() if isinstance(value, torch.Tensor)]
    for name, tensor in ours.items():
        assert (tensor.dtype, tensor.shape) == (expected[name].dtype, expected[name].shape), name
        assert torch.equal(_bits(tensor), _bits(expected[name])), name


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(torch.uint8) if tensor.dim() else tensor


# -- beside torch.load -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_of_element_is_read_bit_by_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    bits = torch.randint(0, 2 if dtype == torch.bool else 256, (3, 8 * 8), dtype=torch.uint8)
    torch.save({"a": bits.view(dtype)}, tmp_path / "m.pt")
    assert_same(tmp_path / "m.pt")


def test_views_parameters_and_shared_storages(tmp_path: Path) -> None:
    base = torch.randn(6, 4)
    state = OrderedDict(
        whole=base,
        again=base,
        transposed=base.T,
        part=base[2:, 1::2],
        one=base[3, 2],
        expanded=base[0].expand(3, 4),
        empty=base[:0],
        nothing=torch.empty(0),
        scalar=torch.tensor(7),
        parameter=torch.nn.Parameter(torch.randn(2)),
        channels_last=torch.randn(1, 2, 3, 4).to(memory_format=torch.channels_last),
    )
    torch.save(state, tmp_path / "m.pt")
    expected = torch.load(tmp_path / "m.pt", weights_only=True)
    ours = load(tmp_path / "m.pt")
    assert list(ours) == list(expected)
    assert all(torch.equal(ours[name], expected[name]) for name in ours)
    assert ours["whole"].data_ptr() == ours["again"].data_ptr()


def test_a_state_dict_of_modules(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv1d(3, 4, 5, groups=1), torch.nn.BatchNorm1d(4), torch.nn.LSTM(4, 4))
    torch.save(network.state_dict(), tmp_path / "m.pt")  # with the versions of its modules as attributes
    assert_same(tmp_path / "m.pt")


NESTED = ("ema_model_state_dict", "model_state_dict")


def test_of_a_training_checkpoint_only_the_wanted_storages_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"transformer.a": torch.randn(64, 64), "transformer.b": torch.randn(64)}
    averaged = {f"ema_model.{name}": value.half() for name, value in weights.items()}
    moments = {n: {"step": torch.tensor(5.0), "exp_avg": torch.ones(64, 64)} for n in range(2)}
    checkpoint = {
        "model_state_dict": OrderedDict(weights),
        "optimizer_state_dict": {
            "state": moments,
            "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999), "params": [0]}],
        },
        "ema_model_state_dict": {"initted": torch.tensor(True), "step": torch.tensor(5), **averaged},
        "scheduler_state_dict": {"_milestones": [10], "_schedulers": [{"last_epoch": -1}], "_last_lr": [1e-8]},
        "update": 5,
    }
    torch.save(checkpoint, tmp_path / "model_5.pt")
    read = []
    original = TorchFile.read

    def recorded(self: TorchFile, storage: Any) -> bytearray:
        read.append(storage.n_elements)
        return original(self, storage)

    monkeypatch.setattr(TorchFile, "read", recorded)
    assert_same(tmp_path / "model_5.pt", NESTED)
    assert sorted(read) == [1, 1, 64, 64 * 64]


@pytest.mark.slow
def test_a_real_optimizer_and_scheduler_are_skipped(tmp_path: Path) -> None:
    """As f5-tts' trainer saves them."""
    network = torch.nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    network(torch.randn(2, 8)).sum().backward()
    optimizer.step()
    linear = torch.optim.lr_scheduler.LinearLR
    schedulers = [linear(optimizer, 1e-8, 1.0, 10), linear(optimizer, 1.0, 1e-8, 10)]
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, schedulers=schedulers, milestones=[10])
    checkpoint = {
        "model_state_dict": network.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "scheduler_state_dict": scheduler.state_dict(),
    }
    torch.save(checkpoint, tmp_path / "model_5.pt")
    assert_same(tmp_path / "model_5.pt", NESTED)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(0, 4), max_size=4),
    strides=st.lists(st.integers(0, 5), min_size=4, max_size=4),
    offset=st.integers(0, 8),
    n_elements=st.integers(0, 60),
)
def test_any_view_is_torchs_or_refused(
    shape: list[int], strides: list[int], offset: int, n_elements: int, tmp_path: Path
) -> None:
    """The pickle states a view that torch itself would refuse to make wherever it leaves the storage."""
    path = write(tmp_path / "m.pt", tensor(shape, strides[: len(shape)], offset, n_elements), n_elements)
    elements = torch.arange(n_elements, dtype=torch.float32)
    try:
        expected = elements.as_strided(shape, strides[: len(shape)], offset)
    except RuntimeError:
        with pytest.raises(Unusable):
            load(path)
    else:
        assert torch.equal(load(path)["a"], expected)


# -- files made by hand ------------------------------------------------------------------------------------------------


def number(value: int) -> bytes:
    return pickle.dumps(value, protocol=2)[2:-1]


def string(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def items(values: list[int]) -> bytes:
    return b"(" + b"".join(number(value) for value in values) + b"t"


def tensor(
    shape: list[int], strides: list[int], offset: int = 0, n_elements: int = 4, kind: str = "FloatStorage"
) -> bytes:
    storage = b"(" + string("storage") + f"ctorch\n{kind}\n".encode() + string("0") + string("cpu")
    storage += number(n_elements) + b"tQ"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + number(offset)
        + items(shape)
        + items(strides)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def write(path: Path, value: bytes, n_elements: int = 4, *, compression: int = zipfile.ZIP_STORED) -> Path:
    """A checkpoint {"a": value} with one storage, 0, 1, 2, ..."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("m/data.pkl", b"\x80\x02}" + string("a") + value + b"s.")
        archive.writestr("m/version", b"3\n")
        archive.writestr("m/data/0", torch.arange(n_elements, dtype=torch.float32).numpy().tobytes())
    return path


def test_the_files_made_here_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "m.pt", tensor([2, 2], [1, 2]))
    assert load(path)["a"].tolist() == [[0, 2], [1, 3]]
    assert torch.equal(torch.load(path, weights_only=True)["a"], load(path)["a"])


class Calls:
    """Unpickling this would call a function, which leaves a file."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.reduced


@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch {}",), f"{os.name}.system"),
        (eval, ("open({!r}, 'w')",), "eval"),
        (exec, ("open({!r}, 'w')",), "exec"),
        (getattr, (os, "system"), "getattr"),
        (open, ("{}", "w"), "open"),
        (__import__, ("os",), "__import__"),
        (torch.load, ("{}",), "torch.serialization.load"),
        (torch.hub.load, ("owner/name", "model"), "torch.hub.load"),
        (bytearray, (1 << 40,), "bytearray"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_call_is_refused_and_not_made(
    function: Callable[..., object], arguments: tuple[Any, ...], named: str, nested: bool, protocol: int, tmp_path: Path
) -> None:
    mark = tmp_path / "called"
    given = tuple(value.format(str(mark)) if isinstance(value, str) else None for value in arguments)
    value: Any = Calls(function, *given)
    value = {"weights": torch.ones(2), "other": [{"deep": (1, value)}]} if nested else value
    torch.save(value, tmp_path / "m.pt", pickle_protocol=protocol)
    with pytest.raises(Unusable, match=rf"m\.pt .*{named if protocol == 2 else ''}.*safetensors"):
        load(tmp_path / "m.pt")
    assert not mark.exists()


PROGRAMS = {
    "a class of a package that could be anywhere": b"cf5_worker.process\nrun\n)R",
    "the method of a class": b"ctorch\nTensor.__class__\n)R",
    "a name with an escape": b"c\x1b[31mos\nsystem\n)R",
    "torch's own load by two names": b"\x8c\x05torch\x8c\x04load\x93)R",
    "an instance": b"(cos\nsystem\no",
    "an instance by name": b"(ios\nsystem\n",
    "an extension": b"\x82\x01",
    "a new object": b"ccollections\nOrderedDict\n)\x81",
    "the state of a tensor": tensor([2], [1]) + b"}b",
    "the state of a list": b"]}b",
    "a constant that is called": b"ctorch\nfloat32\n)R",
    "a storage class that is called": b"ctorch\nFloatStorage\n)R",
    "a result that is called": b"ccollections\nOrderedDict\n)R)R",
    "arguments that are a list": b"ccollections\nOrderedDict\n]R",
    "a dict with content": b"ccollections\nOrderedDict\n]\x85R",
    "a parameter of no tensor": b"ctorch._utils\n_rebuild_parameter\n}\x85R",
    "no arguments": b"ctorch._utils\n_rebuild_tensor_v2\n)R",
    "a tensor of no storage": b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))t\x88}tR",
    "a storage of another kind": b"(" + string("module") + b"ctorch\nFloatStorage\n" + string("0") * 2 + b"K\x04tQ",
    "a storage without class": b"(" + string("storage") * 4 + b"K\x04tQ",
    "a storage that is a text": string("storage") + b"Q",
    "a key that is a tuple": b"})Ns",
    "an odd number of keys and values": b"}(K\x01u",
    "a value set in a list": b"]K\x01K\x01s",
    "an empty stack": b"sssss",
    "a memo that was never written": b"h\x07",
    "no mark": b"t",
    "a length beyond the end": b"X\xff\xff\xff\x7fabc",
    "bytes that are no instruction": b"\xff\xfe",
    "a text that is not UTF-8": b"X\x02\x00\x00\x00\xff\xff",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_other_programs_are_refused(program: bytes, tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"^m\.pt ") as raised:
        load(write(tmp_path / "m.pt", program))
    assert str(raised.value).isprintable()


VIEWS = {
    "beyond the end": tensor([5], [1]),
    "beyond by stride": tensor([2, 2], [3, 1]),
    "beyond by offset": tensor([4], [1], offset=1),
    "a negative size": tensor([-1], [1]),
    "a negative stride": tensor([2], [-1], offset=3),
    "a negative offset": tensor([1], [1], offset=-1),
    "a size beyond 64 bits": tensor([1 << 65], [0]),
    "a product beyond 64 bits": tensor([1 << 40, 1 << 40], [0, 0]),
    "an offset beyond 64 bits": tensor([1], [1], offset=1 << 70),
    "more strides than sizes": tensor([2], [1, 1]),
    "many dimensions": tensor([1] * 9, [1] * 9),
    "a storage longer than its entry": tensor([4], [1], n_elements=5),
    "a storage shorter than its entry": tensor([3], [1], n_elements=3),
    "a storage of a negative length": tensor([0], [1], n_elements=-4),
    "a storage of another type's length": tensor([4], [1], kind="DoubleStorage"),
    "an unknown type": tensor([4], [1], kind="QInt8Storage"),
    "one element as gigabytes": tensor([1 << 30], [0]),
    "a size that is a truth value": tensor([2], [1]).replace(items([2]), b"(\x88t", 1),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_that_cannot_be_is_refused(view: bytes, tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"^m\.pt "):
        load(write(tmp_path / "m.pt", view))


@pytest.mark.parametrize(
    "program",
    [
        b"]" * 1_000_000 + b"a" * 999_999,
        b")" + b"\x85" * 1_000_000,
        b"(" * 1_000_000 + b"t" * 1_000_000,
        b"}" + b"}K\x01" * 400_000 + b"N" + b"s" * 400_000,
        b"}" * 1_000_000 + b"(" * 1_000_000,
    ],
    ids=["lists", "tuples", "marks", "dicts", "unfinished"],
)
@pytest.mark.slow
def test_deep_nesting_ends_in_an_answer(program: bytes) -> None:
    """In bounded time, and without recursion, also when the values are freed."""
    try:
        value = interpret(b"\x80\x02" + program + b".")
    except CheckpointRefused:
        return
    assert type(value) in (list, tuple, dict)


@pytest.mark.slow
def test_deeply_nested_values_do_not_recurse() -> None:
    assert isinstance(interpret(b"]" * 20_000 + b"a" * 19_999 + b"."), list)
    assert isinstance(interpret(b")" + b"\x85" * 20_000 + b"."), tuple)
    with pytest.raises(CheckpointRefused, match="neither names nor integers"):
        interpret(b"})" + b"\x85" * 20_000 + b"Ns.")


def test_a_memo_takes_no_room_for_unused_places(tmp_path: Path) -> None:
    """The index is a key here; where it is a place in an array, this one takes gigabytes."""
    assert interpret(b"}r\xff\xff\xff\x7f.") == {}


def test_a_file_that_is_all_pickle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_file, "MAX_PICKLE_BYTES", 100)
    with pytest.raises(Unusable, match=r"an entry of \d+ bytes where at most 100"):
        load(write(tmp_path / "m.pt", string("x" * 200)))


# -- archives ----------------------------------------------------------------------------------------------------------


def test_compressed_entries_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="overlap, or are compressed"):
        load(write(tmp_path / "m.pt", tensor([4], [1]), compression=zipfile.ZIP_DEFLATED))


def test_entries_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """Two entries of the directory that point to one place: a few bytes would count as many."""
    path = write(tmp_path / "m.pt", tensor([4], [1]))
    data = path.read_bytes()
    start = data.rindex(b"PK\x01\x02")
    entry = data[start : data.index(b"PK\x05\x06")]
    copy = entry.replace(b"m/data/0", b"m/data/1")
    end = data[start + len(entry) :]
    n_entries, size = struct.unpack_from("<HI", end, 10)
    end = end[:8] + struct.pack("<HHI", n_entries + 1, n_entries + 1, size + len(copy)) + end[16:]
    path.write_bytes(data[: start + len(entry)] + copy + end)
    assert len(zipfile.ZipFile(path).namelist()) == 4
    with pytest.raises(Unusable, match="overlap"):
        load(path)


def archive(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return path


def test_other_archives_are_refused(tmp_path: Path) -> None:
    good = b"\x80\x02}" + string("a") + tensor([4], [1]) + b"s."
    for entries, message in (
        ({"readme.txt": b""}, "0 named data.pkl"),
        ({"a/data.pkl": good, "b/data.pkl": good}, "2 named data.pkl"),
        ({"a/data.pkl": good}, "lacks an entry"),
        ({"a/data.pkl": good, "a/byteorder": b"big", "a/data/0": bytes(16)}, "big-endian"),
        ({"a/data.pkl": good, "a/data/0": bytes(15)}, "15 bytes of a storage of 16"),
        ({"a/data.pkl": b"\x80\x02]."}, "does not hold named tensors"),
        ({"a/data.pkl": b"\x80\x02}" + string("ema_model_state_dict") + b"Ns."}, "does not hold named tensors"),
    ):
        with pytest.raises(Unusable, match=message):
            load(archive(tmp_path / "m.pt", **entries), ("ema_model_state_dict",))


def test_a_directory_of_any_stated_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_file, "MAX_READ_BYTES", 70_000)
    path = archive(tmp_path / "m.pt", **{f"m/{n:0100}": b"" for n in range(600)})
    with pytest.raises(Unusable, match="not a PyTorch checkpoint"):
        load(path)


def test_a_storage_larger_than_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_file, "MAX_READ_BYTES", 70_000)
    torch.save({"a": torch.randn(100_000)}, tmp_path / "m.pt")
    assert_same(tmp_path / "m.pt")


def test_flipped_and_missing_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"a": torch.full((64,), 1.5)}, path)
    data = path.read_bytes()
    at = data.index(struct.pack("<f", 1.5) * 4)
    for damaged in (data[:at] + b"\xff" + data[at + 1 :], data[:-30], data[: len(data) // 2], data[10:]):
        path.write_bytes(damaged)
        with pytest.raises(Unusable, match=r"^m\.pt "):
            load(path)


@pytest.mark.slow
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_no_damage_leads_to_another_exception(is_zip: bool, tmp_path: Path) -> None:
    """Each byte of a checkpoint replaced in turn: read, or refused."""
    file = io.BytesIO()
    content = {"ema_model_state_dict": {"a": torch.ones(2), "b": torch.zeros(1).half()}, "step": 3}
    torch.save(content, file, _use_new_zipfile_serialization=is_zip)
    data = file.getvalue()
    path = tmp_path / "m.pt"
    for at in range(len(data)):
        for value in (0, 255, data[at] ^ 1):
            path.write_bytes(data[:at] + bytes([value]) + data[at + 1 :])
            try:
                load(path, ("ema_model_state_dict",))
            except Unusable:
                continue


# -- the form of torch before 1.6 --------------------------------------------------------------------------------------


def legacy(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def test_the_form_of_old_torch_is_read_as_torch_does(tmp_path: Path) -> None:
    base = torch.randn(6, 4)
    state = OrderedDict(whole=base, again=base, part=base[2:], empty=base[:0], half=torch.ones(3).half())
    path = tmp_path / "m.pt"
    path.write_bytes(legacy({"model_state": state, "optimizer": {"moments": torch.ones(5)}, "step": 3}))
    assert_same(path, ("model_state",))
    ours = load(path, ("model_state",))
    assert ours["whole"].data_ptr() == ours["again"].data_ptr()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "storages end at"),
        (lambda data: data + b"x", "storages end at"),
        (lambda data: data[:40], "damaged pickle"),
        (lambda data: data[:20], "damaged pickle"),
        (lambda data: data[:15], "damaged pickle"),
        (lambda data: re.sub(b"(?<=little_endianq.)\x88", b"\x89", data), "big-endian"),
        (lambda data: data.replace(b"M\xe9\x03.", b"M\xea\x03.", 1), "unknown version"),
        (lambda data: data[:-264] + struct.pack("<q", 65) + data[-256:], "65 elements of a storage of 64"),
        (lambda data: data[:-264] + struct.pack("<q", -1) + data[-256:], "-1 elements of a storage of 64"),
    ],
)
def test_of_old_files_damaged_ones_are_refused(damage: Callable[[bytes], bytes], message: str, tmp_path: Path) -> None:
    whole = legacy({"a": torch.full((64,), 1.5)})
    assert damage(whole) != whole
    (tmp_path / "m.pt").write_bytes(damage(whole))
    with pytest.raises(Unusable, match=message):
        load(tmp_path / "m.pt")


def test_of_old_files_nothing_is_called_in_any_of_the_pickles(tmp_path: Path) -> None:
    whole, path = legacy({"a": torch.ones(1)}), tmp_path / "m.pt"
    call = pickle.dumps(Calls(os.system, f"touch {tmp_path / 'run'}"), protocol=2)
    starts = [at + 1 for at in range(len(whole)) if whole[at : at + 3] == b".\x80\x02"]
    assert len(starts) == 4
    for start in starts:
        path.write_bytes(whole[:start] + call + whole[start:])
        with pytest.raises(Unusable, match=r"holds more than weights: it names posix\.system"):
            load(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("names", [[], ["1"], ["0", "0"], ["0", "1"], "0", [0], [["0"]]], ids=str)
def test_of_old_files_the_storages_are_those_of_the_content(names: Any, tmp_path: Path) -> None:
    whole = legacy({"a": torch.ones(1)})
    start = whole.rindex(b"\x80\x02]")
    end = len(whole) - 12  # a count and one element
    key = whole[whole.rindex(b"X", start, end) + 5 : end][: -len(b"q\x01a.")].decode()
    if isinstance(names, list):
        names = [{"0": key, 0: int(key)}[name] if name in ("0", 0) else name for name in names]
    (tmp_path / "m.pt").write_bytes(whole[:start] + pickle.dumps(names, protocol=2) + whole[end:])
    with pytest.raises(Unusable, match="has other storages than it names"):
        load(tmp_path / "m.pt")


def test_a_storage_that_is_part_of_another_is_refused() -> None:
    storage = b"(" + string("storage") + b"ctorch\nFloatStorage\n" + string("0") + string("cpu") + b"K\x04"
    assert interpret(b"\x80\x02" + storage + b"NtQ.") == interpret(b"\x80\x02" + storage + b"tQ.")
    with pytest.raises(CheckpointRefused, match="storages within storages"):
        interpret(b"\x80\x02" + storage + b"(" + string("1") + b"K\x00K\x04ttQ.")


def test_a_storage_has_one_size() -> None:
    def storage(size: bytes) -> bytes:
        return b"(" + string("storage") + b"ctorch\nFloatStorage\n" + string("0") + string("cpu") + size + b"tQ"

    with pytest.raises(CheckpointRefused, match="a storage twice"):
        interpret(b"\x80\x02]" + b"(" + storage(b"K\x04") + storage(b"K\x05") + b"e.")


# -- the product -------------------------------------------------------------------------------------------------------


def test_the_product_reads_no_pickle_otherwise() -> None:
    """Neither torch.load, nor the pickle module, nor a library's loader of pickles."""
    paths = [
        *(REPOSITORY / "f5_worker").rglob("*.py"),
        *(REPOSITORY / "scripts").rglob("*.py"),
        *REPOSITORY.glob("*.py"),
    ]
    assert len(paths) > 100
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not {"pickle", "_pickle", "shelve", "dill", "joblib", "cloudpickle"} & set(names), path
            if isinstance(node, ast.Attribute) and node.attr == "load":
                assert not (isinstance(node.value, ast.Name) and node.value.id in ("torch", "jit", "hub")), path
