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
    assert added["voice"]["defaults"] == {"speed": 1.2}
    assert [voice["name"] for voice in ask("voices.list")["voices"]] == sorted(["ann", *TINY_VOICES])
    got = ask("voices.get", name="ann", with_audio=True)["voice"]
    assert (got["has_consent"], got["audio_base64"]) == (True, CLIP)
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
