"""OpenAI's speech call, read by its own names."""

from __future__ import annotations

from typing import Any

import pytest

from f5_worker.api import openai
from f5_worker.errors import InvalidInput
from f5_worker.schema.responses import ChunkAudioResponse, ChunkResponse


def call(**body: Any) -> dict[str, Any]:
    return {"openai_route": "/v1/audio/speech", "openai_input": {"input": "Hello.", "voice": "joe"} | body}


def test_a_call_as_the_client_sends_it() -> None:
    job, sse = openai.read(call(model="tts-1", response_format="opus", speed=1.5))
    assert (job.text, job.voice, job.model, job.format, job.sample_rate) == ("Hello.", "joe", None, "opus", 48_000)
    assert (job.speed, sse) == (1.5, False)


def test_defaults_are_those_of_openai() -> None:
    job, _ = openai.read(call())
    assert (job.format, job.speed) == ("mp3", 1.0)


def test_a_voice_may_be_an_object_and_a_model_one_of_ours() -> None:
    job, sse = openai.read(call(voice={"id": "ann"}, model="F5TTS_German", stream_format="sse", instructions="softly"))
    assert (job.voice, job.model, sse) == ("ann", "F5TTS_German", True)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"openai_route": "/v1/chat/completions", "openai_input": {}}, "openai_route '/v1/chat/completions' is not"),
        ({"openai_route": "/v1/audio/speech"}, "openai_input is no object"),
        (call(response_format="ogg"), "response_format='ogg'"),
        (call(inputs="x"), "unknown field 'inputs', did you mean 'input'?"),
        (call(speed=9), "speed=9"),
    ],
)
def test_what_is_wrong_is_said_by_its_name(value: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        openai.read(value)


def test_events_are_what_a_client_parses() -> None:
    audio = ChunkAudioResponse(format="mp3", sample_rate=24_000, base64="QUJD")
    text = openai.event(ChunkResponse(index=0, audio=audio, start_s=0, duration_s=1)) + openai.done_event(6, 1.0)
    assert text.startswith('data: {"type":"speech.audio.delta","audio":"QUJD"}\n\n')
    assert '"type":"speech.audio.done"' in text
