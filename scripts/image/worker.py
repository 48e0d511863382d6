"""A container of the image that serves RunPod's local API, as seen from outside."""

from __future__ import annotations

import base64
import io
import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.image.containers import Container

JOB = Path(__file__).resolve().parents[2] / "test_input.json"
START_S, STOP_S = 120.0, 10.0  # `docker stop` kills after 10 s


class CheckFailed(Exception):
    """The image does not do what it should."""


def expect(holds: bool, otherwise: str) -> None:
    """Raise CheckFailed unless it holds."""
    if not holds:
        raise CheckFailed(otherwise)


@dataclass(frozen=True)
class Worker:
    """A container and the port of its local API."""

    container: Container
    port: int

    def await_ready(self) -> float:
        """Wait until it answers; return the seconds since the container's start."""
        while True:
            expect(not self.container.has_ended, "the container ended")
            expect(self.container.age_s < START_S, f"no answer within {START_S:.0f} s")
            try:
                answer = self.job({"action": "health"})
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
            else:
                expect("output" in answer, f"health: {answer}")
                return self.container.age_s

    def job(self, job: dict[str, Any]) -> dict[str, Any]:
        """Send a job and return what `/runsync` answers."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/runsync",
            json.dumps({"input": job}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=START_S) as response:
            answer: dict[str, Any] = json.load(response)
        return answer

    def speak(self) -> None:
        """Synthesize test_input.json and check the audio."""
        answer = self.job({**json.loads(JOB.read_text())["input"], "format": "wav"})
        expect("output" in answer, f"the job failed: {answer.get('error')}")
        check_audio(answer["output"]["audio"])

    def boot_report(self) -> dict[str, Any]:
        """Return boot's line in the log."""
        return boot_report(self.container.log)


def await_ping(container: Container, port: int) -> float:
    """Wait until `/ping` answers 200, not 204 as during the start; return the seconds since the container's start."""
    while True:
        expect(not container.has_ended, "the container ended")
        expect(container.age_s < START_S, f"/ping is not 200 within {START_S:.0f} s")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=START_S) as response:
                if response.status == 200:
                    return container.age_s
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.2)


def check_audio(audio: dict[str, Any]) -> None:
    """Raise CheckFailed unless the audio decodes to speech of the length that the response states."""
    with wave.open(io.BytesIO(base64.b64decode(audio["base64"]))) as spoken:
        duration_s = spoken.getnframes() / spoken.getframerate()
        samples = spoken.readframes(spoken.getnframes())
    expect(abs(duration_s - audio["duration_s"]) < 0.01, f"{duration_s} s of audio, not {audio['duration_s']}")
    expect(1 < duration_s < 10 and len(set(samples)) > 100, f"{duration_s} s are not speech")


def stop(container: Container) -> float:
    """Stop a container as `docker stop` does; return the seconds until it ended.

    Raises:
        CheckFailed: it was still running after 10 s, or ended otherwise than by the signal.
    """
    started = time.monotonic()
    container.terminate()
    try:
        code = container.wait(STOP_S)
    except subprocess.TimeoutExpired:
        raise CheckFailed(f"SIGTERM did not end it within {STOP_S:.0f} s") from None
    expect(code in (0, 128 + signal.SIGTERM), f"after SIGTERM it ended with {code}")
    return time.monotonic() - started


def boot_report(log: str) -> dict[str, Any]:
    """Return the report in a container's log."""
    line = next((line for line in log.splitlines() if line.startswith("BOOT ")), None)
    if line is None:
        raise CheckFailed("boot printed no report")
    report: dict[str, Any] = json.loads(line.removeprefix("BOOT "))
    return report


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
