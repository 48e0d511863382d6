"""Recordings are decoded as in this process, and a file that is made to harm takes nothing but its own process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from f5_worker.audio import isolated
from f5_worker.audio.decode import decode
from f5_worker.audio.decode_child import BLOCK, SAMPLES
from f5_worker.audio.isolated import DecoderPool
from f5_worker.cancellation import JobControl
from f5_worker.errors import JobCancelled, JobTimeout, ReferenceProblem, ReferenceTooLarge, ReferenceUnreadable
from tests.attacks.files import flac_with_comments, m4a_of_many_samples, mp3_with_id3, wav_with_id3
from tests.audio.signals import amr_wb, file, muxed, noise, tone
from tests.conftest import ROOT

LIMITS = {"max_bytes": 25_000_000, "max_s": 600.0}
MAX_GROWTH_BYTES = 300 * 2**20

needs_filters = pytest.mark.skipif(
    not Path("/proc/sys/kernel/seccomp/actions_avail").exists(), reason="this kernel has no system-call filters"
)


@pytest.fixture
def pool() -> Iterator[DecoderPool]:
    pool = DecoderPool(max_processes=2)
    yield pool
    pool.close()


def pid_of(pool: DecoderPool) -> int:
    (idle,) = pool._idle
    return idle._process.pid


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.parametrize(
    "data",
    [
        *(
            pytest.param(file(tone(3.0, rate=rate), rate, format, subtype), id=f"{format}-{subtype}")
            for format, subtype, rate in (
                ("WAV", "PCM_24", 48_000),
                ("WAV", "FLOAT", 44_100),
                ("AIFF", "PCM_16", 24_000),
                ("FLAC", "PCM_16", 24_000),
                ("OGG", "VORBIS", 44_100),
            )
        ),
        *(
            pytest.param(muxed(tone(3.0, rate=rate), container, codec, rate), id=f"{container}-{codec}")
            for container, codec, rate in (
                ("mp4", "aac", 48_000),
                ("mov", "alac", 48_000),
                ("webm", "libopus", 48_000),
                ("adts", "aac", 48_000),
                ("mp3", "libmp3lame", 48_000),
                ("ogg", "libopus", 48_000),
                ("3gp", "libopencore_amrnb", 8_000),
                ("amr", "libopencore_amrnb", 8_000),
            )
        ),
        pytest.param(amr_wb(3.0), id="amr-wb"),
        pytest.param(file(np.stack([noise(6.0), -noise(6.0)], axis=1)), id="out-of-phase"),
        pytest.param(b"junk" + muxed(tone(3.0, rate=48_000), "adts", "aac"), id="junk-aac"),
    ],
)
def test_every_sample_is_the_same(data: bytes) -> None:
    here, there = decode(data, **LIMITS), isolated.decode(data, **LIMITS)
    assert np.array_equal(here.samples, there.samples)
    assert (here.sample_rate, here.channels, here.channel) == (there.sample_rate, there.channels, there.channel)


@pytest.mark.parametrize("data", [b"", b"not audio at all", b"RIFF\x00\x00\x00\x00WAVE", file(tone(1.0))[:40]])
def test_a_refusal_is_the_same(data: bytes) -> None:
    with pytest.raises(ReferenceProblem) as here:
        decode(data, **LIMITS)
    with pytest.raises(type(here.value)) as there:
        isolated.decode(data, **LIMITS)
    assert there.value.message == here.value.message


def test_limits_hold() -> None:
    with pytest.raises(ReferenceTooLarge, match="at most 1000"):
        isolated.decode(file(tone(1.0)), max_bytes=1_000, max_s=600.0)
    with pytest.raises(ReferenceTooLarge, match=r"longer than 0\.5 s"):
        isolated.decode(file(tone(1.0)), max_bytes=25_000_000, max_s=0.5)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(flac_with_comments(40_000), id="flac", marks=pytest.mark.slow),
        pytest.param(wav_with_id3(40_000), id="wav", marks=pytest.mark.slow),
        pytest.param(m4a_of_many_samples(85_000_000), id="m4a"),
    ],
)
def test_a_harmful_file_is_refused_and_takes_little(data: bytes, pool: DecoderPool) -> None:
    peaks, stopped = [0], threading.Event()

    def watch() -> None:
        while not stopped.wait(0.01):
            children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
            for pid in {pid for task in children for pid in task.read_text().split()}:
                try:  # until a child is the decoder's program, its memory is this process's
                    if b"decode_child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        peaks.append(int(status_of(int(pid)).get("VmHWM", "0 kB").split()[0]) * 1024)
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    with pytest.raises(ReferenceUnreadable, match=r"processor time|cannot be opened|holds no audio"):
        pool.decode(data, **LIMITS)
    stopped.set()
    watcher.join()
    assert time.monotonic() - started < 15.0  # 1 s of processor time; FFmpeg alone took 21 s
    assert 0 < max(peaks) < MAX_GROWTH_BYTES
    assert pool.decode(file(tone(1.0)), **LIMITS).duration_s == 1.0


def test_tags_in_front_are_never_read(pool: DecoderPool) -> None:
    data = mp3_with_id3(50_000)
    pool.warm_up(LIMITS["max_bytes"])
    started = time.monotonic()
    assert pool.decode(data, **LIMITS).duration_s == pytest.approx(1.0, abs=0.06)
    assert time.monotonic() - started < 10.0


def test_a_decoder_that_dies_refuses_its_file_only(pool: DecoderPool) -> None:
    pool.warm_up(LIMITS["max_bytes"])
    pid = pid_of(pool)
    os.kill(pid, signal.SIGSTOP)

    def kill_once_it_has_the_file() -> None:
        while True:
            with pool._lock:
                if not pool._idle:
                    break
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_once_it_has_the_file)
    killer.start()
    with pytest.raises(ReferenceUnreadable, match="killed by SIGKILL"):
        pool.decode(file(tone(1.0)), **LIMITS)
    killer.join()
    assert pool.decode(file(tone(1.0)), **LIMITS).duration_s == 1.0


@pytest.mark.slow
def test_an_idle_decoder_that_died_is_replaced(pool: DecoderPool) -> None:
    pool.warm_up(LIMITS["max_bytes"])
    os.kill(pid_of(pool), signal.SIGKILL)
    pool._idle[0]._process.wait(5.0)
    assert pool.decode(file(tone(1.0)), **LIMITS).duration_s == 1.0


@pytest.mark.slow
def test_a_decoder_that_hangs_is_killed() -> None:
    pool = DecoderPool(wall_s=0.5)
    pool.warm_up(LIMITS["max_bytes"])
    pid = pid_of(pool)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ReferenceUnreadable, match=r"not decoded within 0\.5 s"):
        pool.decode(file(tone(1.0)), **LIMITS)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(("timeout_s", "error"), [(0.2, JobTimeout), (60.0, JobCancelled)], ids=["timeout", "cancel"])
def test_a_decoder_is_killed_when_its_job_has_to_stop(
    pool: DecoderPool, timeout_s: float, error: type[Exception]
) -> None:
    pool.warm_up(LIMITS["max_bytes"])
    control = JobControl(timeout_s)
    pid = pid_of(pool)
    os.kill(pid, signal.SIGSTOP)
    cancel = threading.Timer(0.2 if error is JobCancelled else 20.0, control.cancel)
    cancel.start()
    begun = time.monotonic()
    with pytest.raises(error):
        control.run(lambda: pool.decode(file(tone(1.0)), **LIMITS))
    assert time.monotonic() - begun < 15.0
    assert not Path(f"/proc/{pid}").exists()
    cancel.cancel()


def test_a_decoder_that_says_too_much_is_not_believed(pool: DecoderPool) -> None:
    pool.warm_up(LIMITS["max_bytes"])
    decoder = pool._idle[0]
    ours, theirs = socket.socketpair()
    decoder._socket.close()
    decoder._socket = ours
    theirs.sendall(BLOCK.pack(SAMPLES, 2**32 - 1))
    with pytest.raises(ReferenceUnreadable, match="its decoder was stopped"):
        pool.decode(file(tone(1.0)), **LIMITS)
    theirs.close()


@pytest.mark.slow
def test_many_threads_share_few_processes(pool: DecoderPool) -> None:
    files = [file(tone(0.5 + 0.1 * i)) for i in range(12)]
    with ThreadPoolExecutor(6) as threads:
        audio = list(threads.map(lambda data: pool.decode(data, **LIMITS), files))
    assert [round(one.duration_s, 3) for one in audio] == [round(0.5 + 0.1 * i, 3) for i in range(12)]
    assert len(pool._idle) <= 2


@needs_filters
def test_the_process_has_no_key_and_no_rights(pool: DecoderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_SECRET_ACCESS_KEY", "a-secret")
    pool.warm_up(LIMITS["max_bytes"])
    pid = pid_of(pool)
    status = status_of(pid)
    if os.geteuid() == 0:
        assert status["Uid"].split() == ["65534"] * 4
        assert b"a-secret" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")


@pytest.mark.slow
def test_packages_are_found_where_the_worker_has_them(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise SystemExit(7)")
    program = (
        f"import sys\nfrom f5_worker.audio.isolated import DecoderPool\nsys.path.insert(0, {str(tmp_path)!r})\n"
        "DecoderPool().warm_up(1_000_000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert "the decoder's process could not be started (exit code 7)" in done.stderr


ATTEMPTS = """
import os, socket, subprocess
from f5_worker.audio.sandbox import confine
assert confine(200_000_000) == [], "every measure is taken here"
for name, attempt in {
    "file": lambda: open("/etc/passwd"),
    "socket": lambda: socket.socket(),
    "fork": lambda: os.fork(),
    "program": lambda: os.execv("/bin/true", ["true"]),
    "signal": lambda: os.kill(os.getppid(), 0),
    "memory": lambda: bytearray(300_000_000),
}.items():
    try:
        attempt()
    except (PermissionError, MemoryError) as error:
        continue
    print("allowed:", name)
os.write(1, b"end")
"""


@needs_filters
def test_a_confined_process_can_do_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("end", 0), done.stderr


@pytest.mark.slow
def test_a_decoder_ends_with_its_worker() -> None:
    program = (
        "import os\nfrom f5_worker.audio.isolated import POOL\nPOOL.warm_up(1_000_000)\n"
        "print(POOL._idle[0]._process.pid, flush=True)\nos._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    until = time.monotonic() + 20.0
    while Path(f"/proc/{int(done.stdout)}").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not Path(f"/proc/{int(done.stdout)}").exists()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(file(tone(20.0, rate=48_000), 48_000, "WAV", "PCM_16"), id="wav"),
        pytest.param(muxed(tone(20.0, rate=48_000), "webm", "libopus", 48_000), id="opus"),
    ],
)
def test_stretches_of_a_recording_are_those_of_the_whole(data: bytes, pool: DecoderPool) -> None:
    spans_s = [(0.5, 1.25), (1.25, 2.0), (12.0, 14.5), (19.5, 23.0), (30.0, 31.0)]
    whole = pool.decode(data, **LIMITS)
    parts = pool.decode_spans(data, spans_s, **LIMITS)
    for (begin_s, end_s), part in zip(spans_s, parts, strict=True):
        expected = whole.samples[round(begin_s * 48_000) : round(end_s * 48_000)]
        assert part.sample_rate == 48_000
        assert np.array_equal(part.samples, expected)
    assert len(parts[-1].samples) == 0
    (after_the_end,) = pool.decode_spans(data, [(60.0, 61.0)], **LIMITS)
    assert len(after_the_end.samples) == 0


def test_of_stretches_only_what_is_kept_is_bounded(pool: DecoderPool) -> None:
    data = file(tone(20.0, rate=24_000), 24_000)
    (part,) = pool.decode_spans(data, [(18.0, 19.0)], max_bytes=25_000_000, max_s=1.5)
    assert part.duration_s == 1.0
    with pytest.raises(ReferenceTooLarge, match=r"longer than 1.5 s"):
        pool.decode_spans(data, [(1.0, 2.0), (18.0, 19.0)], max_bytes=25_000_000, max_s=1.5)


def test_stretches_of_channels_that_cancel_each_other_are_of_one_channel(pool: DecoderPool) -> None:
    left = tone(4.0, rate=24_000)
    data = file(np.stack([left, -0.9 * left], axis=1), 24_000)
    (part,) = pool.decode_spans(data, [(2.0, 3.0)], **LIMITS)
    assert part.channel == 0
    assert np.allclose(part.samples, left[48_000:72_000], atol=1e-4)
