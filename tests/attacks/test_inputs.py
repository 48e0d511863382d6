"""Inputs that are made to harm are refused in a short message, and the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

import handler
from f5_worker.synthesis.context import Worker

MAX_BLOCKED_S = 0.05
MAX_REPLY_BYTES = 20_000
LONGEST = 33_000_000  # of one text
CUE = "{0:02}:{1:02}.000 --> {0:02}:{1:02}.500\n<v {2}>hi\n\n"
SRT = "1\n00:00:01,000 --> 00:00:02,000\nhi\n"

INPUTS: dict[str, Any] = {
    "list of wrong values": {"text": "Hi.", "voice": "joe", "captions": {"formats": [1] * 1_000_000}},
    "voices of a wrong type": {"action": "dub", "subtitles": "x", "voices": {f"s{i}": 1 for i in range(500_000)}},
    "unknown fields": {"text": "Hi.", "voice": "joe", **{f"field{i}": 0 for i in range(50_000)}},
    "long name": {"action": "dub", "subtitles": "x", "voices": {"s" * 9_900_000: "joe"}},
    "long names": {"action": "dub", "subtitles": SRT, "voices": {"s" * 199 + str(i % 10): "joe" for i in range(30)}},
    "long route": {"openai_route": "x" * LONGEST, "openai_input": {}},
    "long texts": {"text": "x" * LONGEST, "voices_key": "x" * LONGEST},
    "long texts of OpenAI's": {
        "openai_route": "/v1/audio/speech",
        "openai_input": {
            "input": "Hi.",
            "voice": "none",
            "language": "x" * LONGEST,
            "instructions": "x" * LONGEST,
            "stream_format": "x" * LONGEST,
        },
    },
    "list as a route": {"openai_route": [1] * 900, "openai_input": {}},
    "long endpoint": {"endpoint": "x" * 9_000_000},
    "long transcript file": {"endpoint": "upload", "voice_name": "ann", "voice_file": "", "text_file": "A" * 9_000_000},
    "long voice": {"text": "Hi.", "voice": "x" * 9_000_000},
    "long action": {"action": "x" * LONGEST},
    "long track": {"action": "dub", "voice": "joe", "subtitles": SRT, "track_s": 14_400},
    "many speakers": {
        "action": "dub",
        "voices": {"nil": "joe"},
        "subtitles": "WEBVTT\n\n" + "".join(CUE.format(i // 60, i % 60, f"{'s' * 150}{i}") for i in range(900)),
    },
}


@pytest.mark.parametrize("name", INPUTS)
def test_it_is_refused_and_blocks_nothing(name: str, worker: Worker) -> None:
    handle = handler.sdk_config(worker)["handler"]

    async def beat(gaps_s: list[float]) -> None:
        """Measure the processor time that others take on the loop at once: a busy machine does not add to it."""
        while True:
            started = time.thread_time()
            await asyncio.sleep(0)
            gaps_s.append(time.thread_time() - started)

    async def send() -> tuple[dict[str, Any], float]:
        await handle({"id": "first", "input": {"action": "fly"}})  # what is compiled once is compiled
        gaps_s: list[float] = []
        heart = asyncio.create_task(beat(gaps_s))
        reply = await handle({"id": "job", "input": INPUTS[name]})
        heart.cancel()
        return reply, max(gaps_s, default=0.0)

    reply, blocked_s = asyncio.run(send())
    assert len(json.dumps(reply)) < MAX_REPLY_BYTES
    code, _, words = reply["error"].partition(": ")
    assert code in ("INVALID_INPUT", "UNKNOWN_ACTION", "UNKNOWN_VOICE", "TEXT_TOO_LONG")
    assert words
    assert blocked_s < MAX_BLOCKED_S
