"""OpenAI's routes on a socket, called by the official client."""

from __future__ import annotations

import base64
import json

import httpx2
import openai
import pytest

from f5_worker.engine.types import Segment
from f5_worker.errors import OutOfMemory
from f5_worker.synthesis.context import Worker
from tests.conftest import ToneDevice
from tests.http.conftest import RunningServer, running

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


def test_events_joined_are_the_audio(server: RunningServer, client: openai.OpenAI) -> None:
    call = {"model": "tts-1", "input": TEXT, "voice": "joe", "response_format": "pcm"}
    whole = client.audio.speech.create(**call, extra_body={"seed": 7}).content  # type: ignore[arg-type]
    response = httpx2.post(f"{server.url}/v1/audio/speech", json=call | {"seed": 7, "stream_format": "sse"}, timeout=30)
    assert response.headers["content-type"].startswith("text/event-stream")
    *deltas, done = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == whole
    assert done["type"] == "speech.audio.done"


def test_null_is_absent_and_what_is_unknown_is_named_in_a_header(server: RunningServer, client: openai.OpenAI) -> None:
    body = {
        "input": TEXT, "voice": "joe", "speed": None, "volume": 3, "männlich": 1, "instructions": "softly\n",
    }  # fmt: skip
    response = httpx2.post(f"{server.url}/v1/audio/speech", json=body, timeout=30)
    assert response.status_code == 200
    assert response.headers["x-warnings"].startswith("'volume', 'm\\xe4nnlich' ignored: ")
    assert "instructions ignored" in response.headers["x-warnings"]


def test_names_of_openais_voices_are_spoken_by_a_voice_of_this_worker(worker: Worker) -> None:
    with running(worker, default_voice="joe") as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)
        assert client.audio.speech.create(model="gpt-4o-mini-tts", input=TEXT, voice="alloy").content


def test_models_and_voices_are_listed(server: RunningServer, client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tones"]
    assert client.models.retrieve("tones").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    listed = httpx2.get(f"{server.url}/v1/audio/voices").json()["voices"]
    assert {"id": "joe", "name": "joe"} in listed


def test_a_wrong_key_is_an_authentication_error(worker: Worker) -> None:
    with running(worker, api_key="right") as server:
        wrong, right = (openai.OpenAI(base_url=f"{server.url}/v1", api_key=key) for key in ("wrong", "right"))
        with pytest.raises(openai.AuthenticationError):
            wrong.models.list()
        assert list(right.models.list())
