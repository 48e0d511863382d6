"""Starts that died, that became ready and that were not tried, told apart by a file that workers share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from f5_worker.boot import starts
from f5_worker.boot.starts import DIED, FILE, MAX_STARTS, Start, StartLog, State, summary
from f5_worker.settings import REPOSITORY

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"F5_CACHE_DIR": str(tmp_path), "RUNPOD_POD_ID": "pod"}


def start(minutes_ago: float, state: State, error: str | None = None, worker: str = "") -> Start:
    return Start(f"{minutes_ago}", worker or f"{minutes_ago}", NOW - 60 * minutes_ago, state, error)


def said(*found: Start, own: str | None = None) -> str:
    ordered = sorted(found, key=lambda one: one.began_s)
    return str(summary(ordered, own, NOW)["verdict"])


def test_a_crash_loop_is_named_with_its_codes() -> None:
    found = [
        start(50, "failed", "MODEL_UNAVAILABLE: F5_MODEL='x' is not available"),
        start(40, "failed", "MODEL_UNAVAILABLE: F5_MODEL='x' is not available"),
        start(30, "ready"),
        start(20, "loading"),
        start(10, "failed", "HOST_UNFIT: torch sees no GPU"),
        start(90, "failed", "SETTINGS_INVALID: long ago"),
    ]
    assert said(*found) == (
        "4 of the last 5 starts of the last hour died before they were ready: MODEL_UNAVAILABLE (2), "
        f"{DIED['loading']}, HOST_UNFIT"
    )
    errors = summary(sorted(found, key=lambda one: one.began_s), None, NOW)["errors"]
    assert [error["error"].partition(":")[0] for error in errors] == [
        "MODEL_UNAVAILABLE",
        DIED["loading"],
        "HOST_UNFIT",
    ]
    assert errors[-1]["at"] == "2027-01-15 07:50:00 UTC"


def test_missing_capacity_is_named() -> None:
    own = start(0, "preparing")
    found = said(start(300, "ready"), own, own=own.id)
    assert found.startswith(
        "before this start none was tried since 2027-01-15 03:00:00 UTC: jobs that waited since then"
    )
    assert "GPU types, CUDA versions and worker limits" in found
    assert said(start(300, "failed", "A: b")).startswith("no start was tried since 2027-01-15 03:00:00 UTC")
    assert said(start(10, "ready"), start(20, "stopped")) == "no start of the last hour died before it was ready, of 2"
    assert said(own, own=own.id) == "no earlier start is recorded"


@pytest.mark.parametrize(
    ("state", "minutes", "again", "died"),
    [
        ("preparing", 1, False, False),  # it may still become ready
        ("loading", 6, False, False),
        ("loading", 8, False, True),  # 7 minutes are RunPod's limit
        ("preparing", 1, True, True),  # its container has started again
        ("ready", 30, True, False),
        ("stopped", 30, True, False),
        ("failed", 0, False, True),
    ],
)
def test_a_silent_start_has_died_when_its_time_is_over_or_its_container_starts_again(
    state: State, minutes: float, again: bool, died: bool
) -> None:
    later = [start(0.5, "preparing", worker="same")] if again else []
    found = said(start(minutes, state, worker="same"), *later)
    assert found.startswith("no start of the last hour died") != died


@pytest.mark.parametrize(
    ("found", "died"),
    [
        ([], False),
        ([start(3, "ready")], False),
        ([start(3, "ready"), start(2, "failed")], True),
        ([start(3, "failed"), start(2, "ready")], False),
        ([start(3, "failed"), start(2, "stopped")], False),
        ([start(3, "failed"), start(2, "loading")], True),  # how the second ends is not known yet
        ([start(3, "ready"), start(2, "loading", worker="own")], True),  # its container has started again
    ],
)
def test_the_last_start_whose_end_is_known_has_died_or_not(found: list[Start], died: bool) -> None:
    own = start(0, "preparing", worker="own")
    assert summary([*found, own], own.id, NOW)["last_died"] == died


def test_a_start_is_counted_from_its_begin_to_its_end(environ: dict[str, str]) -> None:
    first = starts.begin(environ, 420.0)
    assert (first["verdict"], first["errors"]) == ("no earlier start is recorded", [])
    assert first["scope"] == "this container only: there is no volume"
    starts.note({"starts": first}, "loading", None, environ)
    second = starts.begin(environ, 420.0)  # the container has started again: the first had died
    assert second["verdict"] == f"the one start of the last hour died before it was ready: {DIED['loading']}"
    starts.note({"starts": second}, "failed", "MODEL_UNAVAILABLE: /opt/models/x: no space\nmore", environ)
    third = starts.begin(environ, 420.0)
    starts.note({"starts": third}, "ready", None, environ)
    states = [(one.state, one.error) for one in StartLog.of(environ).read()]
    assert states == [("loading", None), ("failed", "MODEL_UNAVAILABLE: ...: no space"), ("ready", None)]
    assert starts.look(environ)["verdict"].startswith("2 of the last 3 starts")


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        ("A: /opt/models/x.pt is damaged", "A: ... is damaged"),
        ("A: 'https://key:secret@host/x?y' is not reachable", "A: '... is not reachable"),
        ("A: F5_MODEL='/workspace/my voice' is not there", "A: F5_MODEL='... voice' is not there"),
        ("A: 3/4 of and/or 12 MB/s", "A: 3/4 of and/or 12 MB/s"),
        ("A: " + "x" * 1_000, "A: " + "x" * 297),
    ],
)
def test_no_path_and_no_address_is_kept(environ: dict[str, str], error: str, kept: str) -> None:
    begun = starts.begin(environ, 420.0)
    starts.note({"starts": begun}, "failed", error, environ)
    assert StartLog.of(environ).read()[0].error == kept
    assert "pod" not in (StartLog.of(environ).path).read_text()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, null, {}]",
        b'{"a": 1}',
        b"\xff\xfe",
        b"[" * 200_000,
        b'[{"id": 1, "worker": 2, "began_s": "x"}]',
    ],
)
def test_a_file_that_cannot_be_read_is_begun_again(environ: dict[str, str], tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert starts.look(environ)["verdict"] == "no earlier start is recorded"
    assert starts.begin(environ, 420.0)["verdict"] == "no earlier start is recorded"
    assert len(StartLog.of(environ).read()) == 1


def test_an_entry_that_cannot_be_read_costs_only_itself(environ: dict[str, str], tmp_path: Path) -> None:
    starts.begin(environ, 420.0)
    good: list[Any] = json.loads((tmp_path / FILE).read_text())
    bad = [{**good[0], "state": "?"}, {**good[0], "error": 5}, {**good[0], "began_s": None}]
    bad += [{**good[0], "began_s": seconds} for seconds in (10**400, 1e300, float("nan"), -1.0)]
    (tmp_path / FILE).write_text(json.dumps(bad + good))
    assert [one.id for one in StartLog.of(environ).read()] == [good[0]["id"]]
    assert starts.look(environ)["errors"] == []


def test_the_file_stays_small(environ: dict[str, str], tmp_path: Path) -> None:
    for _ in range(MAX_STARTS + 5):
        last = starts.begin(environ, 420.0)
        starts.note({"starts": last}, "failed", "A: " + "\U0001f600" * 1_000, environ)
    found = StartLog.of(environ).read()
    assert len(found) == MAX_STARTS
    assert found[-1].id == last["id"]
    assert (tmp_path / FILE).stat().st_size < starts.MAX_BYTES


def test_eight_workers_count_in_one_file(environ: dict[str, str]) -> None:
    code = (
        "import os; from f5_worker.boot import starts\n"
        "begun = starts.begin(os.environ, 420.0); starts.note({'starts': begun}, 'ready')"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=REPOSITORY, env={**os.environ, **environ, "RUNPOD_POD_ID": f"{n}"}
        )
        for n in range(8)
    ]
    assert [worker.wait(30) for worker in workers] == [0] * 8
    assert [one.state for one in StartLog.of(environ).read()] == ["ready"] * 8


def test_a_directory_that_cannot_be_written_to_is_named_and_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    begun = starts.begin({"F5_CACHE_DIR": str(tmp_path / "file")}, 420.0)
    assert begun == {"verdict": "the starts are not counted: the cache directory cannot be written to", "errors": []}
    starts.note({"starts": begun}, "ready")


def test_a_disk_that_does_not_answer_does_not_delay_the_start(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts, "ANSWER_S", 0.05)
    monkeypatch.setattr(StartLog, "read", lambda self: time.sleep(1) or [])
    assert starts.begin(environ, 420.0)["verdict"] == "the starts are not counted: the disk does not answer"
    assert starts.look(environ)["verdict"] == "no start is known: the disk does not answer"


def test_a_volume_that_does_not_answer_does_not_delay_the_start(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starts, "ANSWER_S", 0.05)
    monkeypatch.setattr("f5_worker.settings.os.path.isdir", lambda path: time.sleep(1))
    assert starts.begin(environ, 420.0)["verdict"] == "the starts are not counted: the disk does not answer"
    assert starts.look(environ)["verdict"] == "no start is known: the disk does not answer"


@pytest.mark.parametrize("has_volume", [True, False])
def test_workers_share_the_file_on_the_volume(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_volume: bool
) -> None:
    (tmp_path / "volume").mkdir()
    if has_volume:
        monkeypatch.setattr("f5_worker.settings.VOLUME", tmp_path / "volume")
        monkeypatch.setattr(starts, "VOLUME", tmp_path / "volume")
    begun = starts.begin(environ, 420.0)
    assert begun["scope"].startswith("all workers" if has_volume else "this container only")
    assert (tmp_path / "volume" / "f5-worker" / FILE).exists() == has_volume
    assert (tmp_path / FILE).exists() != has_volume


def test_sigterm_is_no_crash(environ: dict[str, str]) -> None:
    code = (
        "import os, time; from f5_worker.boot import starts\n"
        "begun = starts.begin(os.environ, 420.0); starts.end_at_sigterm(lambda: {'starts': begun})\n"
        "print('begun', flush=True); time.sleep(30)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "begun\n"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 128 + signal.SIGTERM
    assert [one.state for one in StartLog.of(environ).read()] == ["stopped"]
