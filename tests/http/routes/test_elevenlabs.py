"""ElevenLabs' routes on a socket, called by the official client."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from elevenlabs import VoiceSettings
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError

from f5_worker.synthesis.context import Worker
from f5_worker.voices.library import Library
from f5_worker.voices.store_directory import DirectoryStore
from tests.conftest import TINY
from tests.http.conftest import RunningServer, running

TEXT = " ".join(f"Sentence number {number} goes by,\n and it says so." for number in ("one", "two", "three"))
CALL = {"voice_id": "joe", "text": TEXT, "model_id": "eleven_flash_v2_5", "seed": 7}


@pytest.fixture
def client(server: RunningServer) -> ElevenLabs:
    return ElevenLabs(base_url=server.url, api_key="any", timeout=30)


@pytest.mark.parametrize(
    "output_format", ["pcm_24000", "pcm_16000", "mp3_44100_128", "opus_48000_64", "wav_24000", "ulaw_8000"]
)
def test_the_stream_joined_is_the_whole_file(client: ElevenLabs, output_format: str) -> None:
    whole = b"".join(client.text_to_speech.convert(**CALL, output_format=output_format))  # type: ignore[arg-type]
    streamed = b"".join(client.text_to_speech.stream(**CALL, output_format=output_format))  # type: ignore[arg-type]
    assert len(whole) > 1_000
    assert streamed == whole


def test_every_character_has_its_time(client: ElevenLabs) -> None:
    whole = client.text_to_speech.convert_with_timestamps(**CALL, output_format="pcm_24000")  # type: ignore[arg-type]
    times = whole.alignment
    assert times is not None
    assert "".join(times.characters) == TEXT
    starts, ends = times.character_start_times_seconds, times.character_end_times_seconds
    assert starts == sorted(starts)
    assert all(start <= end for start, end in zip(starts, ends, strict=True))
    assert ends[-1] <= len(base64.b64decode(whole.audio_base_64)) / 48_000 + 0.001


def test_the_stream_with_times_is_the_same_in_parts(client: ElevenLabs) -> None:
    call: dict[str, Any] = CALL | {"output_format": "pcm_24000"}
    whole = client.text_to_speech.convert_with_timestamps(**call)
    parts = list(client.text_to_speech.stream_with_timestamps(**call))
    assert len(parts) > 1
    audio = b"".join(base64.b64decode(part.audio_base_64) for part in parts)
    assert audio == base64.b64decode(whole.audio_base_64)
    aligned = [part.alignment for part in parts if part.alignment]
    assert "".join(character for part in aligned for character in part.characters) == TEXT
    assert whole.alignment is not None
    starts = [start for part in aligned for start in part.character_start_times_seconds]
    assert starts == pytest.approx(whole.alignment.character_start_times_seconds, abs=0.1)


def test_what_has_no_effect_is_named_in_a_header(client: ElevenLabs) -> None:
    settings = VoiceSettings(speed=2.0, stability=0.5, use_speaker_boost=True)
    call: dict[str, Any] = CALL | {"output_format": "pcm_24000", "previous_text": "Before."}
    with client.text_to_speech.with_raw_response.convert(**call, voice_settings=settings) as response:
        fast = b"".join(response.data)
        told = response.headers["x-warnings"]
    assert "'previous_text' ignored" in told
    assert "stability, use_speaker_boost ignored" in told
    assert len(fast) < 0.7 * len(b"".join(client.text_to_speech.convert(**call)))


def test_an_error_is_one_of_the_client(client: ElevenLabs) -> None:
    with pytest.raises(ApiError) as error:
        b"".join(client.text_to_speech.convert(voice_id="nowhere", text=TEXT))
    assert error.value.status_code == 404
    assert error.value.body["detail"]["status"] == "unknown_voice"
    with pytest.raises(ApiError) as error:
        b"".join(client.text_to_speech.convert(voice_id="joe", text=TEXT, output_format="pcm_32000"))
    assert error.value.status_code == 400
    assert "pcm_24000" in error.value.body["detail"]["message"]


def test_a_voice_of_elevenlabs_is_spoken_by_the_default_voice(worker: Worker, client: ElevenLabs) -> None:
    call: dict[str, Any] = {"voice_id": "JBFqnCBsd6RMkjVDRZzb", "text": TEXT}
    with pytest.raises(ApiError, match="F5_DEFAULT_VOICE"):
        b"".join(client.text_to_speech.convert(**call))
    with running(worker, default_voice="joe") as server:
        assert b"".join(ElevenLabs(base_url=server.url, api_key="any").text_to_speech.convert(**call))


def test_a_key_is_asked_for(worker: Worker) -> None:
    with running(worker, api_key="right") as server:
        wrong, right = (ElevenLabs(base_url=server.url, api_key=key) for key in ("wrong", "right"))
        for call in (wrong.voices.get_all, wrong.voices.search, wrong.models.list):
            with pytest.raises(ApiError) as error:
                call()
            assert error.value.status_code == 401
        assert right.voices.search().voices


def test_voices_and_models_are_listed(client: ElevenLabs) -> None:
    names = [voice.voice_id for voice in client.voices.get_all().voices]
    assert "joe" in names
    assert client.voices.get("joe").category == "cloned"
    assert [model.model_id for model in client.models.list()] == ["tones"]
    first = client.voices.search(page_size=1)
    assert first.has_more
    second = client.voices.search(page_size=100, next_page_token=first.next_page_token)
    assert [voice.voice_id for voice in (*first.voices, *second.voices)] == names
    assert [voice.voice_id for voice in client.voices.search(search="JO").voices] == ["joe"]


def test_a_voice_is_added_spoken_and_deleted(worker: Worker, tmp_path: Path) -> None:
    library = Library(TINY / "voices", worker.settings, stores=[DirectoryStore(tmp_path)])
    clip = (TINY / "voices" / "joe.wav").read_bytes()
    labels = {"consent": "Joe agreed on 3 May to all uses.", "transcript": (TINY / "voices" / "joe.txt").read_text()}
    with running(dataclasses.replace(worker, voices=library)) as server:
        client = ElevenLabs(base_url=server.url, api_key="any", timeout=30)
        with pytest.raises(ApiError) as error:
            client.voices.ivc.create(name="My Voice", files=[clip])
        assert error.value.body["detail"]["status"] == "consent_missing"
        added = client.voices.ivc.create(name="My Voice", files=[clip], labels=labels)
        assert added.voice_id == "my_voice"
        assert b"".join(client.text_to_speech.convert(voice_id=added.voice_id, text=TEXT))
        assert client.voices.delete(added.voice_id).status == "ok"
        assert "my_voice" not in [voice.voice_id for voice in client.voices.get_all().voices]


def test_a_line_tells_an_error_in_the_stream(server: RunningServer, client: ElevenLabs) -> None:
    response = httpx2.post(f"{server.url}/v1/text-to-speech/joe/stream/with-timestamps", json={"text": "..."})
    assert response.status_code == 400
    assert json.loads(response.text)["detail"]["status"] == "text_unspeakable"
