"""A batch that is sent again goes on where it ended, and what is found is what was spoken."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from f5_worker.api.batch import resume
from f5_worker.api.batch.parts import FOLDER, BucketParts, DirectoryParts, open_parts
from f5_worker.api.batch.resume import dump_part, load_part
from f5_worker.cancellation import JobControl
from f5_worker.engine.types import Segment
from f5_worker.errors import InvalidInput, JobCancelled, StorageFailed
from f5_worker.schema.responses import SynthesizeResponse
from f5_worker.settings import Settings
from f5_worker.storage.s3 import Bucket
from f5_worker.storage.s3_config import bucket_from_env
from f5_worker.synthesis.context import Worker
from f5_worker.text.markup.pronunciations import Pronunciation
from f5_worker.voices.library import Library
from tests import s3_server
from tests.api.batch.test_action import JOB_S, SPEECH, batch, call
from tests.conftest import FakeBucket, ToneDevice

KEY = {"resume_key": "book-1"}
LINES: list[Any] = [SPEECH | {"text": f"This is line number {name}."} for name in ("one", "two", "three", "four")]


@pytest.fixture
def keeping(worker: Worker, tmp_path: Path) -> Worker:
    """A worker that keeps finished items."""
    return with_settings(worker, resume_dir=tmp_path)


def with_settings(worker: Worker, **changes: Any) -> Worker:
    return dataclasses.replace(worker, settings=worker.settings.model_copy(update=changes))


def results(reply: dict[str, Any]) -> list[Any]:
    return [item["result"] for item in reply["items"]]


def resumed(reply: dict[str, Any]) -> list[bool]:
    assert reply["failed"] == 0
    return [item.get("resumed", False) for item in reply["items"]]


def test_finished_items_are_found_as_they_were(keeping: Worker, device: ToneDevice) -> None:
    lines = [LINES[0] | {"timings": "words", "captions": {"formats": ["srt", "json"]}}, *LINES[1:]]
    first = batch(keeping, lines, **KEY)
    assert resumed(first) == [False] * 4
    n_spoken = len(device.segments)
    again = batch(keeping, lines, **KEY)
    assert len(device.segments) == n_spoken
    assert resumed(again) == [True] * 4
    assert results(again) == results(first)


def test_a_cancelled_batch_goes_on_where_it_ended(keeping: Worker, device: ToneDevice) -> None:
    control = JobControl(JOB_S)
    device.before = lambda segment, step: control.cancel() if len(device.segments) == 2 else None
    with pytest.raises(JobCancelled):
        batch(keeping, LINES, call(keeping, control=control), **KEY)
    device.before = lambda segment, step: None
    reply = batch(keeping, LINES, **KEY)
    assert resumed(reply) == [True, True, False, False]
    assert len(device.segments) == 4
    assert results(batch(keeping, LINES, **KEY)) == results(reply)


def test_only_what_changed_is_spoken_again(keeping: Worker) -> None:
    before = batch(keeping, LINES, **KEY)
    after = batch(keeping, [LINES[2] | {"id": "x"}, {**LINES[0], "text": "Another line."}, LINES[1]], **KEY)
    assert resumed(after) == [True, False, True]
    assert results(after)[0] == results(before)[2]


@pytest.mark.parametrize(
    ("field", "value"),
    [("seed", 8), ("voice", "bella"), ("nfe_step", 5), ("format", "flac"), ("timings", "words"), ("speed", 1.1)],
)
def test_what_decides_the_result_decides_what_is_found(keeping: Worker, field: str, value: object) -> None:
    change = {field: value}
    batch(keeping, LINES[:1], **KEY)
    assert resumed(batch(keeping, [LINES[0] | change], **KEY)) == [False]
    assert resumed(batch(keeping, [LINES[0] | change], **KEY)) == [True]
    assert resumed(batch(keeping, [LINES[0] | {"delivery": "inline", "id": "a"}], **KEY)) == [True]


def test_other_keys_workers_and_versions_find_nothing(keeping: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    batch(keeping, LINES[:1], **KEY)
    assert resumed(batch(keeping, LINES[:1], resume_key="book-2")) == [False]
    said = dataclasses.replace(keeping, pronunciations=(Pronunciation("line", "lyne"),))
    assert resumed(batch(said, LINES[:1], **KEY)) == [False]
    assert resumed(batch(with_settings(keeping, precision="bf16"), LINES[:1], **KEY)) == [False]
    monkeypatch.setattr(resume, "__version__", "0.0.0")
    assert resumed(batch(keeping, LINES[:1], **KEY)) == [False]


def test_each_callers_items_are_their_own(keeping: Worker, tiny: Path) -> None:
    keeping = with_settings(keeping, voices_scope="per_key")
    keeping = dataclasses.replace(keeping, voices=Library(tiny / "voices", keeping.settings))
    own = KEY | {"voices_key": "a secret of sixteen"}
    batch(keeping, LINES[:1], **own)
    assert resumed(batch(keeping, LINES[:1], **KEY)) == [False]
    assert resumed(batch(keeping, LINES[:1], **KEY | {"voices_key": "another of sixteen"})) == [False]
    assert resumed(batch(keeping, LINES[:1], **own)) == [True]


def test_seeds_follow_from_key_and_text(keeping: Worker, settings: Settings) -> None:
    one, two, same = (result["seed"] for result in results(batch(keeping, [*LINES[:2], LINES[0]], **KEY)))
    assert one == same != two
    assert results(batch(keeping, LINES[:1], resume_key="book-2"))[0]["seed"] != one
    elsewhere = dataclasses.replace(with_settings(keeping, resume_dir=None), bucket=FakeBucket(settings))
    assert results(batch(elsewhere, LINES[:1], **KEY))[0]["seed"] == one


def test_one_is_spoken_at_a_time_unless_more_are_asked_for(keeping: Worker, device: ToneDevice) -> None:
    most = 0

    def count(segment: Segment, step: int) -> None:
        nonlocal most
        most = max(most, len(keeping.engine.engines[0]._scheduler.jobs))

    device.before = count
    batch(keeping, LINES, **KEY)
    assert most == 1
    held, free = threading.Event(), threading.Event()
    device.before = lambda segment, step: held.set() or free.wait(JOB_S)  # type: ignore[func-returns-value]
    thread = threading.Thread(target=lambda: batch(keeping, LINES, resume_key="other", at_once=3))
    thread.start()
    assert held.wait(JOB_S)
    while len(keeping.engine.engines[0]._scheduler.jobs) < 3:
        time.sleep(0.001)
    free.set()
    thread.join(JOB_S)


def test_a_damaged_part_is_spoken_again(keeping: Worker, tmp_path: Path) -> None:
    batch(keeping, LINES[:1], **KEY)
    (path,) = tmp_path.glob("*/*")
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:70], b"", b"\n\n", whole[:100] + b"x" + whole[101:]):
        path.write_bytes(damaged)
        assert resumed(batch(keeping, LINES[:1], **KEY)) == [False]
        assert resumed(batch(keeping, LINES[:1], **KEY)) == [True]


def test_a_disk_that_fails_costs_no_result(keeping: Worker, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("no directory")
    broken = with_settings(keeping, resume_dir=tmp_path / "f")
    (result,) = results(batch(broken, LINES[:1], **KEY))
    assert "was not kept for resume_key" in result["warnings"][-1]
    assert str(tmp_path) not in result["warnings"][-1]


def test_there_has_to_be_a_place(worker: Worker) -> None:
    with pytest.raises(InvalidInput, match="no place where finished items outlive it"):
        batch(worker, LINES, **KEY)
    for key in ("", "a b", "ä", "x" * 65, "a/b"):
        with pytest.raises(InvalidInput, match="resume_key"):
            batch(worker, LINES, resume_key=key)


def test_the_place_is_that_of_the_job_then_of_the_settings(settings: Settings, tmp_path: Path) -> None:
    own, bucket = FakeBucket(settings, untrusted=True), FakeBucket(settings)
    named = settings.model_copy(update={"resume_dir": tmp_path, "s3_prefix": "results"})
    parts = open_parts(named, own, bucket)
    parts.write("a/b", b"1")
    assert list(own.files) == ["f5-parts/a/b"]
    assert open_parts(named, None, bucket) == DirectoryParts(tmp_path)
    in_bucket = open_parts(named.model_copy(update={"resume_dir": None}), None, bucket)
    assert isinstance(in_bucket, BucketParts)
    in_bucket.write("a/b", b"2")
    assert list(bucket.files) == ["results/f5-parts/a/b"]
    assert (in_bucket.read("a/b"), in_bucket.read("a/c")) == (b"2", None)


def test_only_old_parts_are_removed(tmp_path: Path) -> None:
    parts = DirectoryParts(tmp_path)
    for name in ("a1/old", "a1/new", "a2/old", "b1/old"):
        parts.write(name, b"x")
    for name in ("a1/old", "a2/old", "b1/old", "a2", "a1"):
        os.utime(tmp_path / name, (1, 1))
    parts.remove_old(3_600, "a")
    os.utime(tmp_path / "a2", (1, 1))
    parts.remove_old(3_600, "a")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("**/*")) == ["a1", "a1/new", "b1", "b1/old"]


def test_a_part_is_read_back_bit_for_bit(keeping: Worker) -> None:
    fields = LINES[0] | {
        "timings": "characters",
        "captions": {"formats": ["ass"]},
        "format": "opus",
        "sample_rate": 48_000,
    }
    (result,) = results(batch(keeping, [fields | {"seed": 1}]))
    result["audio"]["data"] = __import__("base64").b64decode(result["audio"].pop("base64"))
    response = SynthesizeResponse.model_validate(result)
    assert load_part(dump_part(response)) == response


def test_two_workers_on_one_key_do_no_harm(keeping: Worker) -> None:
    replies: list[dict[str, Any]] = []

    def work(at_once: int) -> None:
        replies.append(batch(keeping, LINES, **KEY, at_once=at_once))

    threads = [threading.Thread(target=work, args=(at_once,)) for at_once in (1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOB_S)
    one, other = ([result["audio"] for result in results(reply)] for reply in replies)
    assert one == other


def test_storage_errors_name_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(StorageFailed, match="F5_RESUME_DIR"):
        DirectoryParts(tmp_path / "f").write("a/b", b"")


@pytest.mark.slow
def test_a_bucket_keeps_finished_items_and_only_old_ones_are_removed(worker: Worker, settings: Settings) -> None:
    with s3_server.s3_server() as server:
        server.create()
        config = bucket_from_env(server.environ())
        assert config is not None
        bucket = Bucket(config, settings)
        keeping = dataclasses.replace(worker, bucket=bucket)
        first = batch(keeping, LINES, **KEY)
        again = batch(keeping, LINES, **KEY)
        assert resumed(again) == [True] * 4
        assert results(again) == results(first)
        for older_s, n_left in ((3_600.0, 4), (-3_600.0, 0)):  # the latter: also those of the next hour
            for digit in "0123456789abcdef":
                BucketParts(bucket, "").remove_old(older_s, digit)
            assert len(list(bucket.list(f"{FOLDER}/"))) == n_left
