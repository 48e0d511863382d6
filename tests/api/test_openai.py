"""OpenAI's speech call, read by its own names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from f5_worker.api.openai import OpenAIContract
from f5_worker.api.other_services import OtherServiceSpeech, with_voice
from f5_worker.errors import InvalidInput, UnknownVoice
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.schema.responses import AudioResponse, Metrics, SpeechResponse
from f5_worker.schema.verify import VerifyInput
from f5_worker.settings import Settings
from f5_worker.synthesis.encoding import AudioChunk


def call(**body: Any) -> dict[str, Any]:
    return {"openai_route": "/v1/audio/speech", "openai_input": {"input": "Hello.", "voice": "joe"} | body}


def read(value: dict[str, Any]) -> tuple[SynthesizeInput, bool]:
    """The request, and whether its chunks are events."""
    contract = OpenAIContract(value, "job-1")
    contract.read()
    return contract.request, isinstance(contract.chunk(0, AudioChunk(b"ABC", 0, 24_000)), str)


def translated(**body: Any) -> OtherServiceSpeech:
    speech = OpenAIContract(call(**body), "job-1").read()
    assert isinstance(speech, OtherServiceSpeech)
    return speech


def test_a_call_as_the_client_sends_it() -> None:
    job, sse = read(call(model="tts-1", response_format="opus", speed=1.5))
    assert (job.text, job.voice, job.model, job.format, job.sample_rate) == ("Hello.", "joe", None, "opus", 48_000)
    assert (job.speed, sse) == (1.5, False)


def test_defaults_are_those_of_openai() -> None:
    job, _ = read(call())
    assert (job.format, job.speed) == ("mp3", 1.0)


def test_the_speech_may_be_checked() -> None:
    assert read(call(verify={"takes": 2}))[0].verify_or(False) == VerifyInput(takes=2)
    assert read(call(verify=False))[0].verify_or(True) is None
    assert read(call())[0].verify_or(True) == VerifyInput()


def test_a_voice_may_be_an_object_and_a_model_one_of_ours() -> None:
    job, sse = read(call(voice={"id": "ann"}, model="F5TTS_German", stream_format="sse", instructions="softly"))
    assert (job.voice, job.model, sse) == ("ann", "F5TTS_German", True)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"openai_route": "/v1/chat/completions", "openai_input": {}}, "openai_route '/v1/chat/completions' is not"),
        ({"openai_route": "/v1/audio/speech"}, "openai_input is not an object"),
        (call(response_format="ogg"), "response_format='ogg'"),
        (call(input=None), "input is missing"),
        (call(speed="fast"), "speed: input should be a valid number"),
        (call(seed="x"), "seed: input should be a valid integer"),
    ],
)
def test_what_is_wrong_is_said_by_its_name(value: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read(value)


def test_null_is_absent() -> None:
    names = ("model", "voice", "response_format", "speed", "stream_format", "instructions", "seed", "language", "other")
    everything_null = translated(**dict.fromkeys(names))
    assert everything_null.warnings == ()
    assert everything_null.request == SynthesizeInput(text="Hello.", format="mp3", speed=1.0)


def test_seed_and_language_are_read() -> None:
    speech = translated(seed=7, language="de")
    assert (speech.request.seed, speech.request.language, speech.warnings) == (7, "de", ())


@pytest.mark.parametrize(
    ("body", "field", "value", "warning"),
    [
        ({"speed": 4}, "speed", 2.0, "speed=4.0 is outside 0.5..2.0 and was read as 2.0"),
        ({"speed": 0.25}, "speed", 0.5, "speed=0.25 is outside 0.5..2.0 and was read as 0.5"),
        ({"seed": -1}, "seed", 0, "seed=-1 is outside 0..4294967295 and was read as 0"),
        ({"seed": 2**40}, "seed", 2**32 - 1, "seed=1099511627776 is outside"),
        ({"language": "en-US"}, "language", "en", None),
        ({"language": "English"}, "language", None, "language='English' ignored"),
        ({"instructions": "softly"}, "text", "Hello.", "instructions ignored"),
        ({"stream_format": "chunked"}, "text", "Hello.", "stream_format='chunked' ignored"),
        ({"volume": 3, "user": "u-1"}, "text", "Hello.", "'volume', 'user' ignored"),
        ({"voice": {"id": "ann", "name": "Ann"}}, "voice", "ann", None),
    ],
)
def test_what_this_worker_does_otherwise_is_a_warning(
    body: dict[str, Any], field: str, value: object, warning: str | None
) -> None:
    speech = translated(**body)
    assert getattr(speech.request, field) == value
    assert [text.startswith(warning or "") for text in speech.warnings] == ([True] if warning else [])


def test_warnings_stay_short() -> None:
    many = {f"{number:03}" + "x" * 190: number for number in range(900)}
    speech = translated(**many, speed=1e300, seed=-(10**300), language="x" * 10_000, stream_format="y" * 10_000)
    assert len(" ".join(speech.warnings)) < 1_000


class Voices:
    def names(self) -> list[str]:
        return ["echo", "joe"]

    def of(self, key: object) -> Voices:
        return self


@pytest.mark.parametrize(
    ("asked", "settings", "spoken"),
    [
        (None, {"default_voice": "joe"}, "joe"),
        ("", {"default_voice": "joe"}, "joe"),
        ("alloy", {"default_voice": "joe"}, "joe"),
        ("alloy", {"voice_aliases": "nova=x, alloy=ann"}, "ann"),
        ("alloy", {"voice_aliases": "alloy=ann", "default_voice": "joe"}, "ann"),
        ("nova", {"voice_aliases": "alloy=ann", "default_voice": "joe"}, "joe"),
        ("narrator", {"voice_aliases": "narrator=joe"}, "joe"),
        ("echo", {"voice_aliases": "echo=joe", "default_voice": "joe"}, "echo"),  # this worker's own
        ("unknown", {"voice_aliases": "alloy=ann", "default_voice": "joe"}, "unknown"),
    ],
)
def test_the_voice_that_speaks(asked: str | None, settings: dict[str, str], spoken: str) -> None:
    worker = SimpleNamespace(voices=Voices(), settings=Settings(**settings))
    chosen = with_voice(translated(voice=asked), worker)
    assert chosen.request.voice == spoken
    replaced = bool(asked) and asked != spoken
    assert chosen.warnings == ((f"voice {asked!r} is spoken by {spoken!r} here",) if replaced else ())


@pytest.mark.parametrize("asked", [None, "alloy"])
def test_without_a_default_the_voices_and_settings_are_named(asked: str | None) -> None:
    worker = SimpleNamespace(voices=Voices(), settings=Settings())
    with pytest.raises(UnknownVoice, match=r"F5_DEFAULT_VOICE.*this worker has echo, joe") as error:
        with_voice(translated(voice=asked), worker)
    assert ("F5_VOICE_ALIASES" in str(error.value)) == (asked is not None)


def test_events_are_what_a_client_parses() -> None:
    contract = OpenAIContract(call(stream_format="sse"), "job-1")
    contract.read()
    metrics = Metrics(reference_ms=0, queue_ms=0, text_ms=0, engine_wait_ms=0, engine_ms=0, total_ms=0, nfe=1, rtf=0)
    audio = AudioResponse(format="mp3", sample_rate=24_000, duration_s=1.0)
    done = SpeechResponse(audio=audio, seed=1, model="m", metrics=metrics, warnings=["quiet"])
    text = f"{contract.chunk(0, AudioChunk(b'ABC', 0, 24_000))}{contract.last(done)}"
    assert text.startswith('data: {"type":"speech.audio.delta","audio":"QUJD"}\n\n')
    assert '"type":"speech.audio.done","usage":{"input_characters":6,"audio_seconds":1.0},"warnings":["quiet"]}' in text
