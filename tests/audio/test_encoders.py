"""Files encoded in other processes are those of this one; what ends a process, or a job, ends nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from f5_worker.audio import encoders
from f5_worker.audio.encode import Encoder, encode
from f5_worker.audio.encode_child import Encoders, Message
from f5_worker.audio.encoders import EncoderPool
from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.cancellation import JobControl
from f5_worker.errors import InternalError, JobCancelled, JobTimeout
from tests.audio.signals import noise, tone
from tests.conftest import ROOT

CODECS = [name for name, format in AUDIO_FORMATS.items() if not format.is_pcm]
SIGNAL = tone(1.2345, 0.4, 330.0)
LONG = noise(25.0)


@pytest.fixture(scope="module")
def pool() -> Iterator[EncoderPool]:
    pool = EncoderPool(2)
    yield pool
    pool.close()


def processes(pool: EncoderPool) -> list[int]:
    return [process._process.pid for process in pool._processes]


@pytest.mark.parametrize("format", CODECS)
def test_a_whole_file_and_a_stream_have_the_same_bytes(pool: EncoderPool, format: str) -> None:
    assert pool.encode(SIGNAL, format, 48_000) == encode(SIGNAL, format, 48_000)
    own = Encoder(format, 24_000, streaming=True)
    with pool.open(format, 24_000, streaming=True) as first, pool.open(format, 24_000, streaming=True) as second:
        for part in np.array_split(SIGNAL, 3):
            assert first.write(part) == own.write(part)
            second.write(part[::-1])
        assert first.close() == own.close()


def test_files_of_many_threads_do_not_mix(pool: EncoderPool) -> None:
    signals = [tone(0.3, 0.3, 100.0 + 50.0 * i) for i in range(12)]
    with ThreadPoolExecutor(12) as threads:
        files = list(threads.map(lambda signal: pool.encode(signal, "mp3", 24_000), signals))
    assert files == [encode(signal, "mp3", 24_000) for signal in signals]
    assert len(processes(pool)) == 2
    assert not any(process.files for process in pool._processes)


def test_pcm_and_files_of_a_pool_without_processes_are_encoded_here() -> None:
    without, pool = EncoderPool(), EncoderPool(1)
    assert without.encode(SIGNAL, "mp3", 24_000) == encode(SIGNAL, "mp3", 24_000)
    assert pool.encode(SIGNAL, "wav", 16_000) == encode(SIGNAL, "wav", 16_000)
    assert processes(pool) == processes(without) == []


def test_the_time_of_another_process_is_counted(pool: EncoderPool) -> None:
    elsewhere_s: list[float] = []
    begun_s = time.thread_time()
    pool.encode(LONG, "mp3", 24_000, elsewhere_s.append)
    assert sum(elsewhere_s) > time.thread_time() - begun_s
    assert len(elsewhere_s) == 4, "three parts and the end"


def test_samples_that_are_no_numbers_are_refused_and_other_files_go_on(pool: EncoderPool) -> None:
    with pool.open("mp3", 24_000, streaming=True) as other:
        data = other.write(SIGNAL)
        for _ in range(2):  # in each process
            with pytest.raises(ValueError, match="NaN or infinity"):
                pool.encode(np.full(100, np.nan, np.float32), "mp3", 24_000)
        with pytest.raises(ValueError, match="no samples"):
            pool.encode(SIGNAL[:0], "mp3", 24_000)
        data += other.close()
    own = Encoder("mp3", 24_000, streaming=True)
    assert data == own.write(SIGNAL) + own.close()


def test_a_process_that_dies_takes_its_files_and_another_one_serves_the_next() -> None:
    pool = EncoderPool(1)
    try:
        with pool.open("mp3", 24_000, streaming=True) as encoder:
            encoder.write(SIGNAL)
            (killed,) = processes(pool)
            os.kill(killed, signal.SIGKILL)
            with pytest.raises(InternalError, match="send the job again"):
                encoder.close()
        assert pool.encode(SIGNAL, "mp3", 24_000) == encode(SIGNAL, "mp3", 24_000)
        assert processes(pool) != [killed]
    finally:
        pool.close()


def test_a_process_that_does_not_answer_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = EncoderPool(1)
    try:
        pool.encode(SIGNAL, "mp3", 24_000)
        (stopped,) = processes(pool)
        os.kill(stopped, signal.SIGSTOP)
        monkeypatch.setattr(encoders, "ANSWER_S", 0.05)
        with pytest.raises(InternalError):
            pool.encode(SIGNAL, "mp3", 24_000)
        assert not Path(f"/proc/{stopped}").exists()
    finally:
        pool.close()


def test_a_cancelled_job_stops_at_its_next_part(pool: EncoderPool) -> None:
    control, parts = JobControl(60), []

    def count(cpu_s: float) -> None:
        parts.append(cpu_s)
        control.cancel()

    with pytest.raises(JobCancelled):
        control.run(lambda: pool.encode(LONG, "mp3", 24_000, count))
    assert len(parts) == 1
    assert not any(process.files for process in pool._processes)


def test_the_time_of_a_job_covers_its_wait_for_an_encoder() -> None:
    pool = EncoderPool(1)
    try:
        pool.warm_up()
        turn = pool._processes[0]._turn
        turn.acquire()
        control = JobControl(0.05)

        def release_too_late() -> None:
            while control.left_s():
                threading.Event().wait(0.01)
            turn.release()

        threading.Thread(target=release_too_late).start()
        with pytest.raises(JobTimeout):
            control.run(lambda: pool.encode(SIGNAL, "mp3", 24_000))
        assert not pool._processes[0].files
    finally:
        pool.close()


def test_a_file_that_is_dropped_leaves_nothing() -> None:
    here, message = Encoders(), Message(1, "mp3", 24_000, streaming=True, samples=SIGNAL)
    here.answer(message)
    assert here._open
    assert here.answer(message._replace(samples=None)) == b""
    assert not here._open


def test_the_processes_end_with_the_worker_however_it_ends() -> None:
    program = (
        "import os\nfrom f5_worker.audio.encoders import EncoderPool\npool = EncoderPool(2)\npool.warm_up()\n"
        "print(*(process._process.pid for process in pool._processes), flush=True)\nos.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2
    until = time.monotonic() + 20
    while any(is_running(pid) for pid in pids) and time.monotonic() < until:
        threading.Event().wait(0.02)
    assert not any(is_running(pid) for pid in pids)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
