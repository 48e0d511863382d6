"""The HTTP server as a process of its own, with the small model: from its start to its end."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import httpx2
import openai
import pytest

from tests.e2e.worker_process import START_S, WorkerProcess, free_port

pytestmark = pytest.mark.e2e


def test_from_loading_to_speech_to_its_end(tmp_path: Path) -> None:
    port, health_port = free_port(), free_port()
    overrides = {"PORT": str(port), "PORT_HEALTH": str(health_port), "F5_HTTP_HOST": "127.0.0.1", "F5_API_KEY": "one"}
    with WorkerProcess(tmp_path, program=("-u", "http_server.py"), overrides=overrides) as worker:
        worker.wait_for_line("serving on port", timeout=START_S)
        seen, deadline = [], time.monotonic() + START_S
        while 200 not in seen:
            assert time.monotonic() < deadline
            try:
                seen.append(httpx2.get(f"http://127.0.0.1:{health_port}/ping").status_code)
            except httpx2.ConnectError:
                time.sleep(0.1)
        assert set(seen) == {204, 200}, "the port is open while the model loads"
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="one", timeout=START_S)
        speech = client.audio.speech.create(model="tts-1", input="Hello.", voice="joe", extra_body={"seed": 1})
        assert speech.content[:3] == b"ID3"
        worker.terminate(expected=128 + signal.SIGTERM)
    assert "Hello" not in worker.log
    assert any("POST /v1/audio/speech 200" in line for line in worker.lines)
