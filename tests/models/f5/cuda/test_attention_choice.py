"""The fastest attention of those that are right is used, for each class of rows."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from f5_worker.models.f5.attention import Attend, attend_dense
from f5_worker.models.f5.cuda import attention_choice
from f5_worker.models.f5.cuda.attention_choice import (
    ROW_CLASSES,
    AttentionShape,
    ChosenAttention,
    Measured,
    RowClass,
    available_backends,
    class_of,
    read_attention,
    restrict,
    unmeasured,
)
from f5_worker.models.f5.cuda.packed import Rows

CPU = torch.device("cpu")
SHAPE = AttentionShape(2, 8, torch.float32)
SMALL_CLASSES = (RowClass("short", (5, 5), 3, 20), RowClass("batch", (7,) * 4, float("inf"), float("inf")))


class Timed:
    """Dense attention that takes a given time for each class of SMALL_CLASSES."""

    def __init__(self, short_us: float, batch_us: float, change: Callable[[Tensor], Tensor] = lambda out: out) -> None:
        self.us, self.change = {2: short_us, 4: batch_us}, change
        self.lengths: list[tuple[int, ...]] = []

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, rows: Rows) -> Tensor:
        self.lengths.append(rows.lengths)
        return self.change(attend_dense(query, key, value, rows))


def time_us(call: Any) -> float:
    return float(call.func.us[len(call.func.lengths[-1])])


@pytest.fixture(autouse=True)
def small_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_choice, "ROW_CLASSES", SMALL_CLASSES)
    monkeypatch.setattr(attention_choice, "_choice_file", lambda shape, backends: None)


def choose(backends: dict[str, Attend]) -> ChosenAttention:
    attention = ChosenAttention(backends)
    for measure in unmeasured(attention, SHAPE, CPU, time_us):
        measure()
    return attention


def test_the_fastest_of_each_class_is_chosen_and_called() -> None:
    ours, theirs = Timed(10.0, 90.0), Timed(15.0, 80.0)
    attention = choose({"ours": ours, "theirs": theirs})
    assert attention.chosen == {"short": Measured("ours", 10.0), "batch": Measured("theirs", 80.0)}
    for lengths, used in (((4, 4), ours), ((4, 4, 2), ours), ((9, 9, 9), theirs), ((4,) * 5, theirs)):
        query = torch.zeros(sum(lengths), 2, 8)
        attention(query, query, query, Rows.from_lengths(lengths, CPU))
        assert used.lengths[-1] == lengths


def test_until_then_the_first_is_called() -> None:
    attention = ChosenAttention({"first": lambda q, k, v, rows: q, "second": lambda q, k, v, rows: k})
    query, rows = torch.zeros(4, 2, 8), Rows.from_lengths((4,), CPU)
    assert attention(query, query + 1, query, rows) is query


def fail(out: Tensor) -> Tensor:
    raise RuntimeError("no kernel for this GPU")


@pytest.mark.parametrize("change", [lambda out: 1.02 * out, lambda out: out * float("nan"), fail])
def test_what_is_wrong_or_fails_is_not_chosen(
    change: Callable[[Tensor], Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        attention = choose({"right": Timed(10.0, 10.0), "fast": Timed(1.0, 1.0, change)})
    assert {measured.backend for measured in attention.chosen.values()} == {"right"}
    assert "fast is not used for attention of short rows" in caplog.text


def test_a_choice_is_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "choice.json"
    monkeypatch.setattr(attention_choice, "_choice_file", lambda shape, backends: kept)
    backends: dict[str, Attend] = {"ours": Timed(10.0, 90.0), "theirs": Timed(15.0, 80.0)}
    chosen = choose(backends).chosen
    again = ChosenAttention(backends)
    assert list(unmeasured(again, SHAPE, CPU, time_us)) == []
    assert again.chosen == chosen
    assert read_attention(kept, {"ours": attend_dense}) == {}  # the other was installed when it was measured


def test_what_an_earlier_start_chose_is_ready_before_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the first job with it would wait for a compiler or an import."""
    kept = tmp_path / "choice.json"
    monkeypatch.setattr(attention_choice, "_choice_file", lambda shape, backends: kept)
    backends: dict[str, Attend] = {"ours": Timed(10.0, 90.0), "theirs": Timed(15.0, 80.0), "slow": Timed(99.0, 99.0)}
    choose(backends)
    prepared: list[str] = []
    again = ChosenAttention(backends)

    def prepare(name: str, *_: object) -> None:
        assert not again.chosen
        prepared.append(name)

    monkeypatch.setattr(attention_choice, "_prepare", prepare)
    assert list(unmeasured(again, SHAPE, CPU, time_us)) == []
    assert sorted(prepared) == ["ours", "theirs"]


def test_a_choice_is_the_same_whether_a_backend_was_there_at_once_or_came_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    at_once, later = (attention_choice._choice_file(SHAPE, names) for names in (["b", "a"], ["a", "b"]))
    assert at_once == later
    assert at_once != attention_choice._choice_file(SHAPE, ["a"])


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"short": 1}', b'{"short": {"backend": "a"}}', b"\xff"])
def test_a_file_that_cannot_be_used_is_no_choice(content: bytes, tmp_path: Path) -> None:
    kept = tmp_path / "choice.json"
    assert read_attention(kept, {"a": attend_dense}) == {}
    kept.write_bytes(content)
    assert read_attention(kept, {"a": attend_dense}) == {}
    kept.write_text(json.dumps({"short": {"backend": "a", "us": 1.0}}))  # of one class only
    assert read_attention(kept, {"a": attend_dense}) == {}


@pytest.mark.parametrize(
    ("n_rows", "n_frames", "name"),
    [
        (2, 900, "short"), (3, 1_400, "short"), (2, 1_800, "usual"), (3, 3_056, "long"), (4, 900, "batch"),
        (32, 8_208, "batch"), (16, 43_000, "large batch"),
    ],
)  # fmt: skip
def test_every_size_belongs_to_a_class(n_rows: int, n_frames: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_choice, "ROW_CLASSES", ROW_CLASSES)
    assert class_of(n_rows, n_frames).name == name


def test_backends_are_those_that_are_installed_and_of_the_kind_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed = {"flash_attn", "flash_attn_interface"}
    monkeypatch.setattr(attention_choice, "find_spec", lambda name: name if name in installed else None)
    assert list(available_backends(torch.float32, triton=True, flash=True)) == ["dense"]
    assert list(available_backends(torch.float16, triton=False, flash=False)) == ["torch"]
    backends = available_backends(torch.bfloat16, triton=False, flash=True)
    assert list(backends) == ["flash-attn", "flash-attn 3", "torch"]
    assert list(restrict(backends, "flash")) == ["flash-attn", "flash-attn 3"]
    assert list(restrict(backends, "torch")) == ["torch"]
    assert restrict(backends, "triton") == {}
    assert restrict(backends, "auto") == backends
