"""OpenAI's custom voices, by the official client."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from tests.http.conftest import RunningServer

CONSENT = "Ann agreed on 3 May to be cloned for our videos."


@pytest.fixture
def client(storing: RunningServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{storing.url}/v1", api_key="any", max_retries=0)


def test_a_voice_is_made_of_a_sample_used_and_deleted(client: openai.OpenAI, tiny: Path) -> None:
    words = {"transcript": (tiny / "voices" / "joe.txt").read_text()}
    sample = tiny / "voices" / "joe.wav"
    voice = client.audio.voices.create(name="ann", consent=CONSENT, audio_sample=sample, extra_body=words)
    assert (voice.id, voice.name, voice.type) == ("ann", "ann", "audio_sample")
    assert voice.created_at > 1_700_000_000
    assert client.audio.speech.create(model="tts-1", input="Hello there.", voice={"id": voice.id}).content
    assert client.audio.voices.delete(voice.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.audio.speech.create(model="tts-1", input="Hello there.", voice=voice.id)


def test_a_voice_of_a_sample_needs_a_recogniser(client: openai.OpenAI, tiny: Path) -> None:
    """The call has no transcript, and this worker has nothing that writes one."""
    with pytest.raises(openai.BadRequestError, match="TRANSCRIPT_NEEDED"):
        client.audio.voices.create(name="ann", consent=CONSENT, audio_sample=tiny / "voices" / "joe.wav")
    with pytest.raises(openai.BadRequestError, match="audio_sample"):
        client.audio.voices.create(name="ann", prompt="deep and warm", type="prompt")
    with pytest.raises(openai.NotFoundError):
        client.audio.voices.delete("ann")
