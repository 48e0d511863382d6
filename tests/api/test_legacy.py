"""The earlier worker's contract: its callers' inputs, and replies in its words."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from f5_worker.api.legacy import Download, LegacyContract, downloaded, is_legacy
from f5_worker.errors import InvalidInput
from f5_worker.schema.requests import SynthesizeInput, VoicesAddInput, VoicesListInput

SPOKEN: dict[str, Any] = {
    "audio": {"format": "wav", "sample_rate": 24_000, "duration_s": 1.5, "base64": "QUJD"},
    "timings": {
        "source": "aligned",
        "words": [
            {"text": "Hello", "start_s": 0.1, "end_s": 0.4, "confidence": 0.8},
            {"text": "there.", "start_s": 0.5, "end_s": 1.2, "confidence": 1.0},
        ],
    },
    "captions": {"srt": {"content": "1\n..."}},
}


def read(value: dict[str, Any]) -> object:
    return LegacyContract(value, "a-1").read()


def respond(value: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    contract = LegacyContract(value, "a-1")
    contract.read()
    return contract.response(response)


@pytest.mark.parametrize(
    "value",
    [
        {"text": "x", "local_voice": "Ann.wav"},
        {"text": "x", "return_word_timings": True},
        {"endpoint": "tts", "text": "x"},
        {"endpoint": "list_voices"},
    ],
)
def test_old_inputs_are_known_by_their_fields(value: dict[str, Any]) -> None:
    assert is_legacy(value)
    assert not is_legacy({"action": "synthesize", **value})


def test_todays_inputs_are_not_old() -> None:
    assert not is_legacy({"text": "x", "voice": "joe"})


def test_speaking() -> None:
    job = read(
        {"endpoint": "tts", "text": "Hello there.", "local_voice": "My Voice.WAV", "speed": 1.2, "seed": 3}
        | {"return_word_timings": True, "timing_format": "ass", "timing_method": "google"}
    )
    assert isinstance(job, SynthesizeInput)
    assert (job.text, job.voice, job.speed, job.seed, job.timings) == ("Hello there.", "My Voice.WAV", 1.2, 3, "words")
    assert job.captions is not None
    assert job.captions.formats == ("ass",)


def test_a_voice_by_url() -> None:
    job = read({"text": "x", "local_voice": "https://example.com/a.wav"})
    assert isinstance(job, SynthesizeInput)
    assert job.reference is not None
    assert (job.reference.audio, job.reference.transcript) == ("https://example.com/a.wav", None)


def test_uploading() -> None:
    text = base64.b64encode("\ufeffHello.".encode()).decode()
    job = read(
        {"endpoint": "upload", "voice_name": "Ann.wav", "voice_file_url": "https://example.com/a.wav"}
        | {"text_file": text, "consent": "Ann agreed on 1 May."}
    )
    assert isinstance(job, VoicesAddInput)
    assert (job.name, job.transcript, job.replace) == ("ann", "Hello.", True)
    by_url = read(
        {"endpoint": "upload", "voice_name": "Ann.wav", "voice_file": "QUJD", "text_file_url": "https://example.com/a"}
    )
    assert isinstance(by_url, VoicesAddInput)
    assert (by_url.audio, by_url.transcript) == ("QUJD", "https://example.com/a")


def test_listing() -> None:
    assert isinstance(read({"endpoint": "list_voices"}), VoicesListInput)


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"file_path": "output/a-1.wav"}, "output/a-1.wav"),
        ({"file_path": "/timings/a-1.srt"}, "timings/a-1.srt"),
        ({"job_id": "a-1"}, "output/a-1.wav"),
        ({"job_id": "a-1", "type": "timing", "format": "vtt"}, "timings/a-1.vtt"),
    ],
)
def test_downloading(fields: dict[str, str], key: str) -> None:
    job = read({"endpoint": "download", **fields})
    assert isinstance(job, Download)
    assert job.key == key


@pytest.mark.parametrize("path", ["voices/ann.wav", "output/../voices/ann.wav", "output/a/b.wav", "output/a", "", "x"])
def test_only_results_can_be_downloaded(path: str) -> None:
    with pytest.raises(InvalidInput):
        read({"endpoint": "download", "file_path": path})


@pytest.mark.parametrize("endpoint", ["status", "result"])
def test_what_is_gone_says_where_it_went(endpoint: str) -> None:
    with pytest.raises(InvalidInput, match="/status/<job id>"):
        read({"endpoint": endpoint, "job_id": "x"})


def test_an_unknown_endpoint_is_never_a_synthesis() -> None:
    with pytest.raises(InvalidInput, match="none of tts, upload, list_voices, download"):
        read({"endpoint": "sing", "text": "x"})


def test_a_reply_in_the_old_words() -> None:
    reply = respond({"text": "Hello there.", "local_voice": "joe.wav", "return_word_timings": True}, SPOKEN)
    assert (reply["audio_url"], reply["duration"], reply["status"]) == ("data:audio/wav;base64,QUJD", 1.5, "completed")
    assert (reply["text"], reply["job_id"], reply["word_count"]) == ("Hello there.", "a-1", 2)
    assert reply["timing_confidence"] == pytest.approx(0.9)
    assert reply["word_timings"][1] == {"word": "there.", "start_time": 0.5, "end_time": 1.2}
    assert base64.b64decode(reply["timing_files"]["srt"].partition(",")[2]) == b"1\n..."


def test_estimated_times_have_no_score() -> None:
    words = [{"text": "Hello", "start_s": 0.1, "end_s": 0.4}]
    reply = respond(
        {"text": "Hello", "return_word_timings": True}, SPOKEN | {"timings": {"source": "estimated", "words": words}}
    )
    assert "timing_confidence" not in reply
    assert reply["timing_source"] == "estimated"


def test_links_where_there_is_a_bucket() -> None:
    stored = SPOKEN | {
        "audio": {"duration_s": 1.5, "url": "https://b/output/a-1.wav"},
        "captions": {"srt": {"url": "https://b/timings/a-1.srt"}},
    }
    reply = respond({"text": "Hello", "return_word_timings": True}, stored)
    assert (reply["audio_url"], reply["timing_files"]) == (
        "https://b/output/a-1.wav",
        {"srt": "https://b/timings/a-1.srt"},
    )


def test_a_downloaded_file_in_the_form_that_the_caller_knows() -> None:
    old = downloaded(Download("output/a.wav", by_path=True), b"abc")
    assert (old["success"], old["mime_type"], old["file_size"], old["file_name"]) == (True, "audio/wav", 3, "a.wav")
    new = downloaded(Download("timings/a.srt", by_path=False), b"abc")
    assert (new["timing_data"], new["filename"]) == ("YWJj", "a.srt")
