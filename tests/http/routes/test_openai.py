"""OpenAI's routes on a socket, called by the official client."""

from __future__ import annotations

import httpx2
import openai
import pytest

from f5_worker.engine.types import Segment
from f5_worker.errors import OutOfMemory
from tests.conftest import ToneDevice
from tests.http.conftest import RunningServer

TEXT = " ".join(f"Sentence number {number} goes by, and it says so." for number in ("one", "two", "three"))


@pytest.fixture
def client(server: RunningServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)


@pytest.mark.parametrize("format", ["pcm", "mp3", "opus", "wav"])
def test_the_audio_as_it_is_spoken_joined_is_the_whole_file(client: openai.OpenAI, format: str) -> None:
    call = dict(model="tts-1", input=TEXT, voice="joe", response_format=format, extra_body={"seed": 7})
    whole = client.audio.speech.create(**call).content  # type: ignore[arg-type]
    with client.audio.speech.with_streaming_response.create(**call) as response:  # type: ignore[arg-type]
        streamed = b"".join(response.iter_bytes())
    assert len(whole) > 1_000
    assert streamed == whole


def test_an_error_is_one_of_the_client(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        client.audio.speech.create(model="tts-1", input=TEXT, voice="nowhere")
    assert error.value.code == "UNKNOWN_VOICE"


def test_an_error_before_the_first_audio_has_its_status(client: openai.OpenAI, device: ToneDevice) -> None:
    def fail(segment: Segment, step: int) -> None:
        raise OutOfMemory("full; send a shorter text")

    device.before = fail
    with pytest.raises(openai.InternalServerError) as error:
        client.audio.speech.create(model="tts-1", input=TEXT, voice="joe")  # an mp3 has a header
    assert (error.value.status_code, error.value.code) == (503, "OUT_OF_MEMORY")


def test_a_stream_that_fails_does_not_end_as_if_it_were_whole(client: openai.OpenAI, device: ToneDevice) -> None:
    def fail(segment: Segment, step: int) -> None:
        if device.segments:
            raise OutOfMemory("full; send a shorter text")

    device.before = fail
    call = {"model": "tts-1", "input": TEXT * 3, "voice": "joe", "response_format": "pcm"}
    with client.audio.speech.with_streaming_response.create(**call) as response:  # type: ignore[arg-type]
        assert response.status_code == 200
        with pytest.raises(httpx2.RemoteProtocolError):
            response.read()
