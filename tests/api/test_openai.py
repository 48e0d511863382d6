"""OpenAI's speech call, read by its own names."""

from __future__ import annotations

from typing import Any

import pytest

from f5_worker.api.openai import OpenAIContract
from f5_worker.errors import InvalidInput
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.schema.responses import AudioResponse, Metrics, SpeechResponse
from f5_worker.synthesis.encoding import AudioChunk


def call(**body: Any) -> dict[str, Any]:
    return {"openai_route": "/v1/audio/speech", "openai_input": {"input": "Hello.", "voice": "joe"} | body}


def read(value: dict[str, Any]) -> tuple[SynthesizeInput, bool]:
    """The request, and whether its chunks are events."""
    contract = OpenAIContract(value, "job-1")
    return contract.read(), isinstance(contract.chunk(0, AudioChunk(b"ABC", 0, 24_000)), str)


def test_a_call_as_the_client_sends_it() -> None:
    job, sse = read(call(model="tts-1", response_format="opus", speed=1.5))
    assert (job.text, job.voice, job.model, job.format, job.sample_rate) == ("Hello.", "joe", None, "opus", 48_000)
    assert (job.speed, sse) == (1.5, False)


def test_defaults_are_those_of_openai() -> None:
    job, _ = read(call())
    assert (job.format, job.speed) == ("mp3", 1.0)


def test_a_voice_may_be_an_object_and_a_model_one_of_ours() -> None:
    job, sse = read(call(voice={"id": "ann"}, model="F5TTS_German", stream_format="sse", instructions="softly"))
    assert (job.voice, job.model, sse) == ("ann", "F5TTS_German", True)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"openai_route": "/v1/chat/completions", "openai_input": {}}, "openai_route '/v1/chat/completions' is not"),
        ({"openai_route": "/v1/audio/speech"}, "openai_input is not an object"),
        (call(response_format="ogg"), "response_format='ogg'"),
        (call(inputs="x"), "unknown field 'inputs', did you mean 'input'?"),
        (call(speed=9), "speed=9"),
    ],
)
def test_what_is_wrong_is_said_by_its_name(value: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read(value)


def test_events_are_what_a_client_parses() -> None:
    contract = OpenAIContract(call(stream_format="sse"), "job-1")
    contract.read()
    metrics = Metrics(reference_ms=0, queue_ms=0, text_ms=0, engine_wait_ms=0, engine_ms=0, total_ms=0, nfe=1, rtf=0)
    audio = AudioResponse(format="mp3", sample_rate=24_000, duration_s=1.0)
    done = SpeechResponse(audio=audio, seed=1, model="m", metrics=metrics, warnings=[])
    text = f"{contract.chunk(0, AudioChunk(b'ABC', 0, 24_000))}{contract.last(done)}"
    assert text.startswith('data: {"type":"speech.audio.delta","audio":"QUJD"}\n\n')
    assert '"type":"speech.audio.done","usage":{"input_characters":6,"audio_seconds":1.0}' in text
