"""Requests in the names of F5-TTS itself mean what the same ones in ours do."""

from __future__ import annotations

from typing import Any

import pytest

from f5_worker.api.contracts import contract_of
from f5_worker.api.legacy import LegacyContract
from f5_worker.api.native import Contract, Translated
from f5_worker.api.upstream import UpstreamContract
from f5_worker.errors import InvalidInput
from f5_worker.schema.actions import parse_input

CLIP = "https://example.org/clip.wav"
NATIVE = {"text": "Hello.", "reference": {"audio": CLIP, "transcript": "Some call me nature."}}


def read(value: dict[str, Any]) -> Translated:
    translated = contract_of(value, "job-1").read()
    assert isinstance(translated, Translated)
    return translated


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({}, {}),
        ({"nfe_step": 16, "cfg_strength": 2, "sway_sampling_coef": -1, "speed": 0.8, "seed": 4},) * 2,
        ({"sway_sampling_coef": None},) * 2,
        ({"cross_fade_duration": 0.15}, {"cross_fade_s": 0.15}),
        ({"cross_fade_duration": 0}, {"cross_fade_s": 0}),
        ({"cross_fade_duration": None, "remove_silence": None, "fix_duration": None, "speed": None}, {}),
        ({"remove_silence": True}, {"trim_silence": True}),
        ({"remove_silence": False}, {}),
        ({"seed": -1}, {}),
        ({"format": "mp3", "timings": "words"},) * 2,
        ({"target_rms": 0.1, "show_info": True, "fix_duration": 9.0, "device": "cuda"}, {}),
    ],
)
def test_the_request_is_the_same(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    named = {"gen_text": "Hello.", "ref_audio": CLIP, "ref_text": "Some call me nature."}
    assert read(named | theirs).request == parse_input(NATIVE | ours)


@pytest.mark.parametrize(
    "names",
    [
        ("gen_text", "ref_file", "ref_text"),
        ("gen_text", "ref_audio_orig", "ref_text"),
        ("gen_text_input", "ref_audio_input", "ref_text_input"),
    ],
)
def test_every_entry_of_upstream_has_its_names(names: tuple[str, str, str]) -> None:
    given = dict(zip(names, ("Hello.", CLIP, "Some call me nature."), strict=True))
    assert read(given).request == parse_input(NATIVE)


@pytest.mark.parametrize("words", ["", "  \n", None])
def test_without_words_the_recogniser_writes_them(words: str | None) -> None:
    theirs = read({"gen_text": "Hello.", "ref_audio": CLIP, "ref_text": words})
    assert theirs.request == parse_input({"text": "Hello.", "reference": {"audio": CLIP}})


def test_both_names_may_stand_in_one_request() -> None:
    assert read({"gen_text": "Hello.", "voice": "joe"}).request == parse_input({"text": "Hello.", "voice": "joe"})
    mixed = {"action": "synthesize", "text": "Hello.", "voice": "joe", "cross_fade_duration": 0.1}
    assert read(mixed).request.cross_fade_s == 0.1


def test_the_warnings_say_what_each_name_became() -> None:
    theirs = {"gen_text": "Hello.", "ref_audio": CLIP, "remove_silence": True, "target_rms": 0.2, "progress": "x"}
    assert read(theirs | {"fix_duration": 4.0}).warnings == (
        "read as F5-TTS's own names: gen_text is text, ref_audio is reference.audio, "
        "remove_silence is trim_silence (both ends only)",
        "fix_duration ignored: it counts the reference, too; fix_duration_s is of the speech alone",
        "target_rms, progress ignored: this worker has no such option",
    )


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({"ref_audio": CLIP}, "gen_text is missing"),
        ({"gen_text": ""}, r"gen_text \(0 characters\)"),
        ({"gen_text": "a", "text": "b"}, "give either gen_text or text"),
        ({"gen_text": "a", "ref_text": "b"}, "ref_audio is missing"),
        ({"gen_text": "a", "ref_audio": CLIP, "reference": {"audio": CLIP}}, "give either ref_audio or reference"),
        ({"gen_text": "a", "ref_audio": CLIP, "ref_file": CLIP}, "give either ref_file or ref_audio"),
        ({"gen_text": "a", "ref_audio": CLIP, "voice": "joe"}, "give either voice"),
        ({"gen_text": "a", "voice": "joe", "cross_fade_duration": 2}, "cross_fade_duration=2"),
        ({"gen_text": "a", "voice": "joe", "remove_silence": "yes"}, "remove_silence: "),
        ({"gen_text": "a", "voice": "joe", "nfe_step": 128}, "nfe_step=128"),
        ({"gen_text": "a", "voice": "joe", "nfe_steps": 16}, "unknown field 'nfe_steps', did you mean 'nfe_step'"),
    ],
)
def test_faults_are_told_by_the_names_that_were_used(theirs: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read(theirs)


def test_other_contracts_keep_their_requests() -> None:
    assert type(contract_of(NATIVE | {"nfe_step": 8, "cfg_strength": 1.0, "speed": 1.0, "seed": 1}, "")) is Contract
    assert type(contract_of({"action": "voices.add", "ref_audio": CLIP}, "")) is Contract
    assert type(contract_of({"text": "a", "local_voice": "joe.wav", "remove_silence": True}, "")) is LegacyContract
    assert type(contract_of({"gen_text": "a"}, "")) is UpstreamContract
