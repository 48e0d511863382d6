"""`voices.*` from a job's input to its reply, on a directory."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import handler
from f5_worker.synthesis.context import Worker
from f5_worker.voices.library import Library
from f5_worker.voices.store_directory import DirectoryStore
from tests.conftest import TINY, TINY_VOICES

CLIP = base64.b64encode((TINY / "voices" / "joe.wav").read_bytes()).decode()
WORDS = (TINY / "voices" / "joe.txt").read_text().strip()
CONSENT = "Joe agreed on 3 May to tests."

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(worker: Worker, tmp_path: Path) -> Ask:
    """Send an input through the edge."""
    library = Library(TINY / "voices", worker.settings, stores=[DirectoryStore(tmp_path)])
    config = handler.sdk_config(dataclasses.replace(worker, voices=library))

    def send(action: str, **fields: Any) -> dict[str, Any]:
        reply = asyncio.run(config["handler"]({"id": "j", "input": {"action": action, **fields}}))
        json.dumps(reply, allow_nan=False)
        return dict(reply)

    return send


def test_a_voice_from_adding_to_deleting(ask: Ask) -> None:
    added = ask("voices.add", name="ann", audio=CLIP, transcript=WORDS, consent=CONSENT, defaults={"speed": 1.2})
    assert added["voice"]["report"]["verdict"] in ("good", "usable")
    assert added["voice"]["warnings"] == list(added["voice"]["report"]["reasons"])
    assert added["voice"]["defaults"] == {"speed": 1.2}
    assert [voice["name"] for voice in ask("voices.list")["voices"]] == sorted(["ann", *TINY_VOICES])
    got = ask("voices.get", name="ann", with_audio=True)["voice"]
    assert (got["has_consent"], got["audio_base64"]) == (True, CLIP)
    assert len(got["version"]) == 12
    assert CONSENT not in json.dumps([added, got])
    assert ask("voices.report", name="ann")["report"] == added["voice"]["report"]
    spoken = ask("synthesize", text="Hello there, this is a test.", voice="ann", nfe_step=4, seed=1)
    slower = ask("synthesize", text="Hello there, this is a test.", voice="ann", nfe_step=4, seed=1, speed=1.0)
    assert spoken["audio"]["duration_s"] < slower["audio"]["duration_s"]  # the voice's own speed
    assert ask("voices.delete", name="ann") == {"deleted": "ann"}
    assert ask("voices.get", name="ann")["error"].startswith("UNKNOWN_VOICE: ")


def test_consent_and_names_are_insisted_on(ask: Ask) -> None:
    refused = ask("voices.add", name="ann", audio=CLIP, transcript=WORDS)["error"]
    assert refused.startswith("CONSENT_MISSING: ")
    assert ask("voices.add", name="joe", audio=CLIP, transcript=WORDS, consent=CONSENT)["error"].startswith(
        "VOICE_EXISTS: "
    )
    assert ask("voices.add", name="../x", audio=CLIP, consent=CONSENT)["error"].startswith("INVALID_INPUT: name")


def test_a_default_model_that_is_not_there_is_refused(ask: Ask) -> None:
    refused = ask(
        "voices.add", name="ann", audio=CLIP, transcript=WORDS, consent=CONSENT, defaults={"model": "klingon"}
    )
    assert refused["error"].startswith("UNKNOWN_MODEL: ")


def test_lists_come_in_pages(ask: Ask) -> None:
    for name in ("a", "b", "c"):
        ask("voices.add", name=name, audio=CLIP, transcript=WORDS, consent=CONSENT)
    first = ask("voices.list", limit=2)
    assert ([voice["name"] for voice in first["voices"]], first["next_after"]) == (["a", "b"], "b")
    rest = ask("voices.list", after="b")
    assert ([voice["name"] for voice in rest["voices"]], rest["next_after"]) == (sorted(["c", *TINY_VOICES]), None)


def test_a_clip_is_judged_without_being_kept(ask: Ask) -> None:
    report = ask("voices.report", reference={"audio": CLIP, "transcript": WORDS})["report"]
    assert report["verdict"] in ("good", "usable")
    assert [voice["name"] for voice in ask("voices.list")["voices"]] == TINY_VOICES


def test_a_clip_without_words_needs_them_where_nobody_listens(ask: Ask) -> None:
    refused = ask("voices.add", name="ann", audio=CLIP, consent=CONSENT)["error"]
    assert refused.startswith("TRANSCRIPT_NEEDED: ")


def test_the_earlier_contract_reaches_the_same_library(worker: Worker, tmp_path: Path) -> None:
    settings = worker.settings.model_copy(update={"require_consent": False})
    library = Library(TINY / "voices", settings, stores=[DirectoryStore(tmp_path)])
    config = handler.sdk_config(dataclasses.replace(worker, settings=settings, voices=library))

    def send(**fields: Any) -> dict[str, Any]:
        return dict(asyncio.run(config["handler"]({"id": "job-7", "input": fields})))

    text = base64.b64encode(WORDS.encode()).decode()
    assert "uploaded" in send(endpoint="upload", voice_name="Ann.wav", voice_file=CLIP, text_file=text)["status"]
    listed = send(endpoint="list_voices")
    assert (listed["count"], listed["voices"][0]["voice_file"]) == (len(TINY_VOICES) + 1, "ann.wav")
    spoken = send(text="Hello there, this is a test.", local_voice="Ann.wav", return_word_timings=True)
    assert (spoken["status"], spoken["job_id"]) == ("completed", "job-7")
    assert spoken["audio_url"].startswith("data:audio/wav;base64,")
    assert [word["word"] for word in spoken["word_timings"]] == "Hello there, this is a test.".split()
    gone = send(endpoint="download", job_id="job-7")["error"]
    assert gone.startswith("INVALID_INPUT: this worker has no bucket")


# -- callers apart ----------------------------------------------------------------------------------------------------

MINE, THEIRS = "my own secret, 1234", "their own secret, 5678"
LINES = "1\n00:00:00,000 --> 00:00:02,000\nHello there.\n"


@pytest.fixture
def job(worker: Worker, tmp_path: Path) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Send an input, in any contract, to a worker that keeps the callers apart."""
    settings = worker.settings.model_copy(update={"voices_scope": "per_key", "max_voices": 2})
    library = Library(TINY / "voices", settings, stores=[DirectoryStore(tmp_path)])
    config = handler.sdk_config(dataclasses.replace(worker, settings=settings, voices=library))
    return lambda value: dict(asyncio.run(config["handler"]({"id": "j", "input": value})))


@pytest.mark.slow
def test_callers_of_every_contract_are_apart(job: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    new = {"action": "voices.add", "audio": CLIP, "transcript": WORDS, "consent": CONSENT}
    assert job(new | {"name": "ann"})["error"].startswith("INVALID_INPUT: voices_key is missing")
    assert job(new | {"name": "ann", "voices_key": MINE})["voice"]["consent"] == CONSENT
    upload = {"endpoint": "upload", "voice_name": "Аня.wav", "voice_file": CLIP, "consent": CONSENT}
    upload["text_file"] = base64.b64encode(WORDS.encode()).decode()
    assert "uploaded" in job(upload | {"voices_key": THEIRS})["status"]
    assert job(upload)["error"].startswith("INVALID_INPUT: voices_key is missing")

    def can_speak(key: dict[str, str], name: str) -> list[bool]:
        """Return for each contract whether the caller can speak in a voice."""
        text = "Hello there, this is a test."
        values = (
            {"text": text, "voice": name, "nfe_step": 4, **key},
            {"action": "dub", "subtitles": LINES, "voice": name, "nfe_step": 4, **key},
            {"openai_route": "/v1/audio/speech", "openai_input": {"input": text, "voice": name, **key}},
            {"endpoint": "tts", "text": text, "local_voice": f"{name}.wav", **key},
        )
        replies = [job(value) for value in values]
        errors = [reply["error"] for reply in replies if "error" in reply]
        assert all(error.startswith("UNKNOWN_VOICE") for error in errors)
        assert not any(other in error for error in errors for other in (MINE, THEIRS, "ann", "Аня"))
        return ["error" not in reply for reply in replies]

    assert can_speak({"voices_key": MINE}, "ann") == can_speak({"voices_key": THEIRS}, "Аня") == [True] * 4
    assert can_speak({"voices_key": THEIRS}, "ann") == can_speak({}, "ann") == can_speak({}, "Аня") == [False] * 4
    assert can_speak({}, "joe") == [True] * 4
    listed = job({"endpoint": "list_voices", "voices_key": MINE})["voices"]
    assert [voice["name"] for voice in listed] == sorted(["ann", *TINY_VOICES])
    assert job({"action": "health"})["voices"] == TINY_VOICES
    for action in ("voices.get", "voices.report", "voices.delete"):
        assert job({"action": action, "name": "ann", "voices_key": THEIRS})["error"].startswith("UNKNOWN_VOICE")
    assert job(new | {"name": "bob", "voices_key": MINE})["voice"]["name"] == "bob"
    assert job(new | {"name": "eve", "voices_key": MINE})["error"].startswith("VOICES_FULL: there are 2 voices")
    assert job({"action": "voices.delete", "name": "ann", "voices_key": MINE}) == {"deleted": "ann"}


@pytest.mark.parametrize("key", ["short", "x" * 201, 1234567890123456, ["my own secret, 1234"]])
def test_a_bad_key_is_refused_and_not_quoted(job: Callable[[dict[str, Any]], dict[str, Any]], key: object) -> None:
    error = job({"action": "voices.list", "voices_key": key})["error"]
    assert error.startswith("INVALID_INPUT: voices_key")
    assert str(key) not in error.removeprefix("INVALID_INPUT: voices_key")
    assert "my own secret" not in error


@pytest.mark.parametrize("key", ["\ud800" * 20, "ключ от моих голосов", " " * 16])
def test_any_text_is_a_key(job: Callable[[dict[str, Any]], dict[str, Any]], key: str) -> None:
    assert [voice["name"] for voice in job({"action": "voices.list", "voices_key": key})["voices"]] == TINY_VOICES


def test_consent_is_not_shown_where_callers_share_the_voices(ask: Ask) -> None:
    consent = "Ann <ann@example.org> agreed on 3 May."
    added = ask("voices.add", name="ann", audio=CLIP, transcript=WORDS, consent=consent)
    replies = [added, ask("voices.get", name="ann"), ask("voices.list"), ask("voices.report", name="ann")]
    assert "ann@example.org" not in json.dumps(replies)
    assert added["voice"]["has_consent"]
    refused = ask("voices.add", name="eve", audio=CLIP, transcript=WORDS, consent="\u3164" * 20)["error"]
    assert refused.startswith("CONSENT_MISSING: consent has 0 visible characters of 20")


@pytest.mark.slow
def test_uploads_of_different_names_are_different_voices(worker: Worker, tmp_path: Path) -> None:
    settings = worker.settings.model_copy(update={"require_consent": False})
    library = Library(TINY / "voices", settings, stores=[DirectoryStore(tmp_path)])
    config = handler.sdk_config(dataclasses.replace(worker, settings=settings, voices=library))

    def send(**fields: Any) -> dict[str, Any]:
        return dict(asyncio.run(config["handler"]({"id": "j", "input": fields})))

    names = ["nn", "аnn", "a", "ä", "_a", "Иван.wav"]
    text = base64.b64encode(WORDS.encode()).decode()
    for name in [*names, *names]:
        assert "uploaded" in send(endpoint="upload", voice_name=name, voice_file=CLIP, text_file=text)["status"]
    assert send(endpoint="list_voices")["count"] == len(TINY_VOICES) + len(names)
    assert send(text="Hello there.", local_voice="иван.wav")["error"].startswith("UNKNOWN_VOICE")
    assert send(text="Hello there.", local_voice="Иван.wav")["status"] == "completed"
