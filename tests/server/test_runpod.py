"""RunPod's edge with the SDK mocked: what goes in, what comes back, what stops the worker."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import runpod  # noqa: F401 - before a thread of handler.main imports it over a test's stand-in

import handler
from f5_worker.api.actions import Action
from f5_worker.api.call import Call
from f5_worker.audio.encoders import EncoderPool
from f5_worker.audio.levels import Samples
from f5_worker.boot import starts
from f5_worker.boot.report import REPORT_VARIABLE, BootReport
from f5_worker.engine.types import Segment
from f5_worker.errors import GpuLost, ModelUnavailable, OutOfMemory
from f5_worker.schema.actions import parse_input
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.server import jobs
from f5_worker.server import runpod as server
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.encoding import AudioChunk
from tests.conftest import ROOT, ToneDevice
from tests.server.test_limits import merged

JOB = {"id": "job-1", "input": {"text": "Hello there, this is a test.", "voice": "joe", "nfe_step": 4, "seed": 3}}


def answer(worker: Worker, job: dict[str, Any]) -> dict[str, Any]:
    reply = asyncio.run(handler.sdk_config(worker)["handler"](job))
    json.dumps(reply, allow_nan=False)
    return dict(reply)


def with_settings(worker: Worker, **changes: Any) -> Worker:
    return dataclasses.replace(worker, settings=worker.settings.model_copy(update=changes))


def test_a_job_is_answered_without_a_second_output(worker: Worker) -> None:
    reply = answer(worker, JOB)
    assert set(reply) == {"audio", "segments", "seed", "model", "metrics", "warnings"}


def test_health_is_answered_while_the_device_is_busy(worker: Worker, device: ToneDevice) -> None:
    held, free = threading.Event(), threading.Event()

    def hold(segment: Segment, step: int) -> None:
        held.set()
        free.wait(10)

    device.before = hold

    async def both() -> tuple[dict[str, Any], dict[str, Any]]:
        config = handler.sdk_config(worker)
        work = asyncio.create_task(config["handler"](JOB))
        await asyncio.to_thread(held.wait, 10)
        health = await config["handler"]({"id": "h", "input": {"action": "health"}})
        free.set()
        return health, await work

    health, reply = asyncio.run(both())
    assert health["status"] == "ok"
    assert health["jobs_running"] == 1
    assert health["voices"] == worker.voices.names()
    assert "audio" in reply


@pytest.mark.parametrize("value", [None, "text", ["text"], {}, {"text": 3}, {"action": "fly"}])
def test_bad_input_is_an_error_string_with_a_code(worker: Worker, value: object) -> None:
    error = answer(worker, {"id": "j", "input": value})["error"]
    code, _, words = error.partition(": ")
    assert code in ("INVALID_INPUT", "UNKNOWN_ACTION")
    assert words


def test_a_reply_that_is_too_large_is_refused_with_what_would_fit(worker: Worker) -> None:
    error = answer(with_settings(worker, max_reply_bytes=60_000), JOB)["error"]
    assert error.startswith("RESULT_TOO_LARGE: the reply takes 0.1 MB")
    assert "F5_MAX_REPLY_BYTES" in error
    assert "ask for format 'mp3'" in error


def test_an_unforeseen_error_tells_the_caller_nothing_inside(
    worker: Worker, device: ToneDevice, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(segment: Segment, step: int) -> None:
        raise ValueError("the secret text of the job")

    device.before = fail
    with caplog.at_level(logging.INFO, logger="f5_worker"):
        logging.getLogger("f5_worker").propagate = True
        error = answer(worker, JOB)["error"]
    assert error.startswith("INTERNAL_ERROR: ")
    for told in (error, caplog.text):
        assert "secret" not in told
        assert "Traceback" not in told
        assert str(ROOT) not in told
    assert "ValueError at test_runpod.py" in caplog.text
    device.before = lambda segment, step: None
    assert "audio" in answer(worker, JOB)


@pytest.mark.parametrize(("fault", "leaves"), [(GpuLost("gone"), True), (OutOfMemory("full"), False)])
def test_only_a_lost_gpu_stops_the_worker(worker: Worker, device: ToneDevice, fault: Exception, leaves: bool) -> None:
    def fail(segment: Segment, step: int) -> None:
        raise fault

    device.before = fail
    config = handler.sdk_config(worker)
    reply = asyncio.run(config["handler"](JOB))
    assert reply == {"error": str(fault)}
    assert config.get("refresh_worker", False) is leaves


def test_cancelling_reaches_the_device_and_is_passed_on(worker: Worker, device: ToneDevice) -> None:
    started, steps = threading.Event(), []

    def slow(segment: Segment, step: int) -> None:
        steps.append(step)
        started.set()
        stopped.wait(0.05)

    stopped = threading.Event()
    device.before = slow
    job = JOB | {"input": JOB["input"] | {"nfe_step": 64}}  # type: ignore[operator]

    async def cancel() -> None:
        task = asyncio.create_task(handler.sdk_config(worker)["handler"](job))
        await asyncio.to_thread(started.wait, 10)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    device.before = lambda segment, step: None
    assert "audio" in answer(worker, JOB)  # waits its turn behind the step that was in work
    assert len(steps) < 64


def test_more_jobs_than_may_wait_are_refused(worker: Worker, device: ToneDevice) -> None:
    free = threading.Event()
    device.before = lambda segment, step: bool(free.wait(10)) and None  # type: ignore[assignment, func-returns-value]

    async def crowd() -> list[dict[str, Any]]:
        config = handler.sdk_config(with_settings(worker, concurrency=1, queue_jobs=1))
        tasks = [asyncio.create_task(config["handler"](JOB)) for _ in range(3)]
        await asyncio.sleep(0)
        free.set()
        return list(await asyncio.gather(*tasks))

    replies = asyncio.run(crowd())
    assert ["error" in reply for reply in replies] == [False, False, True]
    assert replies[2]["error"].startswith("QUEUE_FULL: 2 jobs are here already")


def test_results_are_saved_under_a_name_that_cannot_leave_the_directory(worker: Worker, tmp_path: Any) -> None:
    saving = with_settings(worker, save_dir=tmp_path / "out")
    answer(saving, JOB)
    answer(saving, JOB | {"id": "../../evil"})
    names = {path.name for path in (tmp_path / "out").iterdir()}
    random = {name for name in names if re.fullmatch(r"[0-9a-f]{32}\.(wav|json)", name)}
    assert names - random == {"job-1.wav", "job-1.json"}
    assert len(random) == 2
    answer(saving, JOB | {"id": "../../evil"})
    assert len(list((tmp_path / "out").iterdir())) == 6, "no job writes over another's files"
    assert "base64" not in (tmp_path / "out" / "job-1.json").read_text()


@pytest.mark.slow
def test_waiting_does_not_count_as_a_jobs_time(worker: Worker, device: ToneDevice) -> None:
    def hold_the_first(segment: Segment, step: int) -> None:
        device.before = lambda segment, step: None
        time.sleep(1.2)

    answer(worker, JOB)  # what is prepared once is prepared
    device.before = hold_the_first
    handle = handler.sdk_config(with_settings(worker, job_timeout_s=1.0, concurrency=1, queue_jobs=1))["handler"]

    async def both() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(handle(JOB | {"id": f"job-{number}"}) for number in range(2))))

    first, second = asyncio.run(both())
    assert first["error"].startswith("JOB_TIMEOUT: ")
    assert "audio" in second


def test_a_full_disk_does_not_take_a_finished_job(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    reply = answer(with_settings(worker, save_dir=tmp_path / "file" / "out"), JOB)
    assert "base64" in reply["audio"]


def test_concurrency_is_constant(worker: Worker) -> None:
    modifier = handler.sdk_config(with_settings(worker, concurrency=3))["concurrency_modifier"]
    assert [modifier(current) for current in (1, 3, 7)] == [3, 3, 3]


def test_main_hands_the_sdk_a_loaded_worker(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    sdk = types.SimpleNamespace(serverless=types.SimpleNamespace(start=given.append))
    monkeypatch.setitem(sys.modules, "runpod", sdk)
    monkeypatch.delenv("F5_BOOT_REPORT", raising=False)
    monkeypatch.setattr(handler, "load_worker", lambda settings: worker)
    monkeypatch.setattr(handler.starts, "end_at_sigterm", lambda boot: None)
    handler.main()
    assert "audio" in asyncio.run(given[0]["handler"](JOB))


def test_main_ends_with_one_line_when_settings_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("F5_CONCURRENCY", "many")
    monkeypatch.setattr(handler.starts, "end_at_sigterm", lambda boot: None)
    with pytest.raises(SystemExit) as caught:
        handler.main()
    assert str(caught.value) == "SETTINGS_INVALID: F5_CONCURRENCY='many' is not accepted (1..256)"


def test_importing_the_handler_loads_no_model_code() -> None:
    heavy = ("torch", "f5_tts", "torchaudio", "transformers", "runpod", "fastapi", "uvicorn", "f5_worker.http")
    check = f"import sys, handler; sys.exit(str([name for name in {heavy} if name in sys.modules] or ''))"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.fixture
def boot_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A boot that ended so, as the handler is told of it."""

    def write(**findings: Any) -> None:
        report = BootReport("1", **findings)
        report.write(tmp_path / "boot.json")
        monkeypatch.setenv(REPORT_VARIABLE, str(tmp_path / "boot.json"))

    return write


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """The SDK's `serverless`, remembering what it was given."""
    sdk = types.SimpleNamespace(configs=[], checks=[])
    sdk.start, sdk.register_fitness_check = sdk.configs.append, sdk.checks.append
    monkeypatch.setitem(sys.modules, "runpod", types.SimpleNamespace(serverless=sdk))
    monkeypatch.setattr(handler.starts, "end_at_sigterm", lambda boot: None)
    return sdk


def test_a_boot_that_failed_answers_every_job_with_the_reason(
    boot_report: Callable[..., None], sdk: types.SimpleNamespace
) -> None:
    boot_report(error="MODEL_UNAVAILABLE: no weights")
    handler.main()
    answer = sdk.configs[0]["handler"]
    assert asyncio.run(answer(JOB)) == {"error": "BOOT_FAILED: MODEL_UNAVAILABLE: no weights"}
    diagnosis = asyncio.run(answer({"id": "d", "input": {"action": "diagnose"}}))
    assert diagnosis["boot"]["error"] == "MODEL_UNAVAILABLE: no weights"
    assert asyncio.run(answer({"id": "x", "input": None}))["error"].startswith("INVALID_INPUT")
    health = asyncio.run(answer({"id": "h", "input": {"action": "health"}}))
    assert (health["status"], health["reason"]) == ("unavailable", "MODEL_UNAVAILABLE: no weights")
    assert sdk.checks == []


def test_a_fault_of_the_host_is_reported_by_a_fitness_check(
    boot_report: Callable[..., None], sdk: types.SimpleNamespace
) -> None:
    boot_report(host_fault="torch sees no GPU: driver too old")
    handler.main()
    with pytest.raises(RuntimeError, match="torch sees no GPU: driver too old"):
        sdk.checks[0]()


@pytest.mark.parametrize(("fault", "of_the_host"), [(GpuLost("gone"), True), (ModelUnavailable("no"), False)])
def test_a_load_that_fails_after_boot_is_told_the_same_way(
    boot_report: Callable[..., None],
    sdk: types.SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    of_the_host: bool,
) -> None:
    def load(settings: object) -> Worker:
        raise fault

    boot_report()
    monkeypatch.setattr(handler, "load_worker", load)
    handler.main()
    assert asyncio.run(sdk.configs[0]["handler"](JOB))["error"] == f"BOOT_FAILED: {fault}"
    assert bool(sdk.checks) is of_the_host


@pytest.mark.parametrize(
    ("fault", "state", "error"),
    [(None, "ready", None), (ModelUnavailable("/opt/models/x: no"), "failed", "MODEL_UNAVAILABLE: ...: no")],
)
def test_what_became_of_the_start_is_counted(
    boot_report: Callable[..., None],
    sdk: types.SimpleNamespace,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fault: Exception | None,
    state: str,
    error: str | None,
) -> None:
    def load(settings: object) -> Worker:
        if fault is not None:
            raise fault
        return worker

    monkeypatch.setenv("F5_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(handler, "load_worker", load)
    log = starts.StartLog.of(os.environ)
    log.note(log.begin({"RUNPOD_POD_ID": "another"}), "failed", "SETTINGS_INVALID: a")
    boot_report(starts=starts.begin(os.environ, 420.0))
    handler.main()
    asyncio.run(until(lambda: log.read()[-1].state == state))
    assert log.read()[-1].error == error
    diagnosis = asyncio.run(sdk.configs[0]["handler"]({"id": "d", "input": {"action": "diagnose"}}))
    assert diagnosis["boot"]["starts"]["verdict"] == (
        "the one start of the last hour died before it was ready: SETTINGS_INVALID"
    )
    assert str(tmp_path) not in json.dumps(diagnosis["boot"]["starts"])


def test_diagnose_returns_the_boot_report(worker: Worker, boot_report: Callable[..., None]) -> None:
    boot_report(problems=["one thing"])
    assert answer(worker, {"id": "d", "input": {"action": "diagnose"}})["boot"]["problems"] == ["one thing"]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The chunks that a stream's thread has made so far; there is a chunk for each character of the text."""
    numbers: list[int] = []

    def stream(request: SynthesizeInput, call: Call) -> Iterator[AudioChunk]:
        for number in range(len(request.text)):
            numbers.append(number)
            yield AudioChunk(b"sound", number, number + 1)

    monkeypatch.setattr(server, "ACTIONS", {SynthesizeInput: Action(lambda request, call: {}, stream)})
    return numbers


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_stream_that_is_read_slowly_is_not_made_ahead(worker: Worker, made: list[int]) -> None:
    async def read() -> None:
        items = server.QueueServer(worker).stream({"id": "s", "input": {"text": "a" * 40, "voice": "joe"}})
        for n_read in range(1, 30):
            await anext(items)
            await until(lambda n_read=n_read: len(made) >= n_read + jobs.MAX_UNREAD_ITEMS + 1)
            assert len(made) == n_read + jobs.MAX_UNREAD_ITEMS + 1, "one more waits to be sent"
        assert len([item async for item in items]) == 40 - n_read

    asyncio.run(read())


def test_a_stream_that_is_not_read_lends_its_place_and_ends_in_time(
    worker: Worker, made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MAX_UNREAD_S", 0.2)

    async def read() -> None:
        queue = server.QueueServer(with_settings(worker, concurrency=1, queue_jobs=1))
        slow = queue.stream({"id": "s", "input": {"text": "a" * 40, "voice": "joe"}})
        await anext(slow)
        others = [item async for item in queue.stream({"id": "o", "input": {"text": "a" * 4, "voice": "joe"}})]
        assert len(others) == 4
        await asyncio.sleep(0.5)
        *rest, last = [item async for item in slow]
        assert len(rest) <= jobs.MAX_UNREAD_ITEMS + 1
        assert last["error"].startswith("JOB_TIMEOUT: nothing of the stream was read for 0.2 s")  # type: ignore[index]

    asyncio.run(read())


def test_a_job_has_the_same_bytes_from_an_encoders_process_whole_and_streamed(worker: Worker) -> None:
    pool = EncoderPool(1)
    elsewhere = dataclasses.replace(worker, encoders=pool)
    job = {"id": "1", "input": JOB["input"] | {"format": "mp3"}}

    async def streamed(worker: Worker) -> list[Any]:
        return [item async for item in server.QueueServer(worker).stream(job)]

    whole = answer(elsewhere, job)
    *chunks, _ = asyncio.run(streamed(elsewhere))
    pool.close()
    assert whole["audio"] == answer(worker, job)["audio"]
    assert chunks == asyncio.run(streamed(worker))[:-1]
    assert whole["metrics"]["cpu_ms"]["encode"] > 0


def test_a_job_is_encoded_while_the_next_one_is_spoken(worker: Worker) -> None:
    held, free = threading.Event(), threading.Event()

    class SlowEncoders(EncoderPool):
        def encode(self, samples: Samples, format: str, sample_rate: int, *args: Any) -> bytes:
            if format == "mp3":
                held.set()
                assert free.wait(20)
            return super().encode(samples, format, sample_rate, *args)

    async def both() -> tuple[dict[str, Any], dict[str, Any]]:
        slow = dataclasses.replace(with_settings(worker, concurrency=1), encoders=SlowEncoders())
        queue = server.QueueServer(slow)
        first = asyncio.create_task(queue.answer({"id": "1", "input": JOB["input"] | {"format": "mp3"}}))
        await asyncio.to_thread(held.wait, 20)
        second = await queue.answer(JOB)
        assert not first.done()
        free.set()
        return await first, second

    first, second = asyncio.run(both())
    assert first["audio"]["duration_s"] == second["audio"]["duration_s"]


def test_a_stream_whose_caller_leaves_ends_and_frees_its_place(worker: Worker, made: list[int]) -> None:
    async def leave() -> None:
        queue = server.QueueServer(with_settings(worker, concurrency=1, queue_jobs=0))
        for _ in range(2):
            items = queue.stream({"id": "s", "input": {"text": "a" * 1_000, "voice": "joe"}})
            assert "error" not in await anext(items)
            await items.aclose()
            await until(lambda: not queue._runner.n_jobs)
        assert len(made) < 50

    asyncio.run(leave())


def test_a_job_has_its_place_until_its_thread_is_done(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    held, free = threading.Event(), threading.Event()

    def hold(request: SynthesizeInput, call: Call) -> dict[str, Any]:
        held.set()
        assert free.wait(20)
        return {}

    monkeypatch.setattr(server, "ACTIONS", {SynthesizeInput: Action(hold)})

    async def cancel() -> None:
        queue = server.QueueServer(with_settings(worker, concurrency=1, queue_jobs=0))
        task = asyncio.create_task(queue.answer(JOB))
        await asyncio.to_thread(held.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        following = [asyncio.create_task(queue.answer(JOB)) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert not following[0].done(), "it may wait, since the SDK has a place for it"
        free.set()
        first, second = await asyncio.gather(*following)
        assert first == {}
        assert second["error"].startswith("QUEUE_FULL: 2 jobs are here already")

    asyncio.run(cancel())


@pytest.mark.parametrize("streams", [False, True])
def test_a_job_is_answered_in_time_also_where_its_thread_comes_to_no_check(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    free = threading.Event()

    def hang(request: SynthesizeInput, call: Call) -> dict[str, Any]:
        call.control.enter("preparing the voice")
        assert free.wait(20)
        return {}

    def stream(request: SynthesizeInput, call: Call) -> Iterator[AudioChunk]:
        yield AudioChunk(b"sound", 0, 1)
        hang(request, call)

    monkeypatch.setattr(jobs, "GRACE_S", 0.0)
    monkeypatch.setattr(server, "ACTIONS", {SynthesizeInput: Action(hang, stream)})

    async def ask() -> None:
        queue = server.QueueServer(with_settings(worker, job_timeout_s=0.2))
        items = [item async for item in queue.stream(JOB)] if streams else [await queue.answer(JOB)]
        assert len(items) == 1 + streams
        error = items[-1]["error"]  # type: ignore[index]
        assert error.startswith("JOB_TIMEOUT: the job was stopped after 0.2 s of work (F5_JOB_TIMEOUT_S) while prep")
        assert queue._runner.n_jobs == 1, "its place is not free yet"
        free.set()
        await until(lambda: not queue._runner.n_jobs)

    asyncio.run(ask())


def order_of(jobs: dict[str, dict[str, Any]], worker: Worker, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return in which order one place takes jobs that come at once."""
    done: list[str] = []
    held, free = threading.Event(), threading.Event()

    def note(request: SynthesizeInput, call: Call) -> dict[str, Any]:
        held.set()
        assert free.wait(20)
        done.append(call.job_id)
        return {}

    monkeypatch.setattr(server, "ACTIONS", {SynthesizeInput: Action(note)})

    async def crowd() -> None:
        queue = server.QueueServer(worker)
        tasks = [asyncio.create_task(queue.answer({"id": name, "input": job})) for name, job in jobs.items()]
        await asyncio.to_thread(held.wait, 20)
        free.set()
        await asyncio.gather(*tasks)

    asyncio.run(crowd())
    return done


def test_a_short_job_does_not_wait_behind_all_long_ones(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {f"long-{number}": "a" * 20_000 for number in range(3)} | {"short": "Hello."}
    jobs = {name: {"text": text, "voice": "joe"} for name, text in texts.items()}
    done = order_of(jobs, with_settings(worker, concurrency=1), monkeypatch)
    assert done == ["long-0", "short", "long-1", "long-2"]


def test_holders_of_keys_take_turns(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {
        f"{caller}-{number}": {"text": "Hello.", "voice": "joe", "voices_key": caller * 16}
        for caller in ("a", "b")
        for number in range(3)
    }
    done = order_of(jobs, with_settings(worker, concurrency=1, voices_scope="per_key"), monkeypatch)
    assert done == ["a-0", "b-0", "a-1", "b-1", "a-2", "b-2"]


@pytest.mark.slow
def test_every_item_of_a_long_stream_is_carried_and_the_last_ones_merge_to_the_response(worker: Worker) -> None:
    text = "The quick brown fox jumps over the lazy dog, and it says so. " * 320
    speech = {
        "text": text, "voice": "joe", "seed": 1, "format": "opus", "sample_rate": 8_000, "nfe_step": 4,
        "timings": "characters", "captions": {"formats": ["srt", "vtt", "ass", "csv", "json"]},
    }  # fmt: skip

    async def collect(worker: Worker) -> list[Any]:
        config = handler.sdk_config(with_settings(worker, streaming=True))
        return [item async for item in config["handler"]({"id": "j", "input": speech})]

    items = asyncio.run(collect(worker))
    assert max(len(json.dumps(item)) for item in items) < 1_000_000
    ends = [item for item in items if "final" in item]
    assert len(ends) > 1
    assert [item["final"] for item in ends] == [False] * (len(ends) - 1) + [True]
    assert {"audio", "seed", "model", "metrics"} <= ends[-1].keys()
    whole = merged(ends)
    assert len(whole["timings"]["words"]) == len(text.split())
    assert "".join(whole["timings"]["alignment"]["characters"]) == text
    assert set(whole["captions"]) == set(speech["captions"]["formats"])

    (refused,) = asyncio.run(collect(with_settings(worker, max_reply_bytes=9_500_000)))
    assert refused["error"].startswith("RESULT_TOO_LARGE: the reply takes ")


def test_a_streaming_worker_sends_the_items_of_a_batch_as_they_are_done(worker: Worker) -> None:
    config = handler.sdk_config(with_settings(worker, streaming=True))
    good = {"text": "Hello there. " * 150, "voice": "joe", "nfe_step": 4, "seed": 3}
    job = {"id": "job-1", "input": {"action": "batch", "items": [good | {"id": "a"}, {"text": "...", "id": "b"}]}}

    async def run() -> list[dict[str, Any]]:
        return [item async for item in config["handler"](job)]

    *items, summary = asyncio.run(run())
    assert summary == {"final": True, "succeeded": 1, "failed": 1}
    assert all(len(json.dumps(item)) <= 1_000_000 for item in items)
    of_a = [item for item in items if item["id"] == "a"]
    assert [item.get("partial", False) for item in of_a] == [True] * (len(of_a) - 1) + [False]
    assert len(of_a) > 1  # more than 1 MB of wav
    whole = merged([{name: part[name] for name in part if name in ("result",)} for part in of_a])
    assert whole["result"]["audio"]["bytes"] == len(base64.b64decode(whole["result"]["audio"]["base64"]))
    (of_b,) = (item for item in items if item["id"] == "b")
    assert (of_b["index"], of_b["error"]["code"]) == (1, "TEXT_UNSPEAKABLE")


def test_a_lost_gpu_is_the_error_of_the_items_that_it_ended_and_stops_the_worker(
    worker: Worker, device: ToneDevice
) -> None:
    config = handler.sdk_config(worker)

    def fail(segment: Segment, step: int) -> None:
        if segment.seed % 2:
            raise GpuLost("gone")

    device.before = lambda segment, step: fail(segment, step)
    items = [JOB["input"] | {"seed": seed} for seed in range(6)]
    reply = asyncio.run(config["handler"]({"id": "j", "input": {"action": "batch", "items": items}}))
    assert {item["error"]["code"] for item in reply["items"] if "error" in item} == {"GPU_LOST"}
    assert config["refresh_worker"]


def test_finished_items_are_returned_when_the_time_is_over(worker: Worker, device: ToneDevice) -> None:
    def slow(segment: Segment, step: int) -> None:
        time.sleep(0.1 if segment.nfe == 64 else 0)

    device.before = slow
    limited = with_settings(worker, job_timeout_s=2.0)
    items = [JOB["input"], JOB["input"] | {"nfe_step": 64}, JOB["input"]]
    reply = answer(limited, {"id": "j", "input": {"action": "batch", "items": items}})
    assert ["result" in item for item in reply["items"]] == [True, False, True]
    assert reply["items"][1]["error"]["code"] == "JOB_TIMEOUT"


def test_a_batch_waits_for_its_turn_by_all_its_texts() -> None:
    request = parse_input({"action": "batch", "items": [{"text": "x" * 900}, {}], "defaults": {"text": "x" * 300}})
    assert jobs.JobTicket("job-1", request).n_chars == 1_200
