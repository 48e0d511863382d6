"""What requests say of their text, and the worker's file of pronunciations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from f5_worker.errors import InvalidInput, SettingsInvalid
from f5_worker.schema.actions import parse_input
from f5_worker.schema.dub import DubInput
from f5_worker.schema.requests import PreviewInput, SynthesizeInput, VoicesAddInput
from f5_worker.schema.text import load_pronunciations
from f5_worker.text.markup.pronunciations import Pronunciation

ENTRY = {"written": "Xiaomi", "spoken": "shao mee"}


def test_a_text_has_its_markup_dialogue_and_pronunciations() -> None:
    fields = {"markup": "plain", "directions": "speak", "voices": {"Ann": "joe"}, "pronunciations": [ENTRY]}
    for action in (SynthesizeInput, PreviewInput):
        name = "synthesize" if action is SynthesizeInput else "preview"
        request = parse_input({"action": name, "text": "Hello."} | fields)
        assert type(request) is action
        assert request.pronunciations[0].to_pronunciation() == Pronunciation("Xiaomi", "shao mee")


def test_subtitles_have_pronunciations_and_no_markup() -> None:
    request = parse_input({"action": "dub", "subtitles": "x", "pronunciations": [ENTRY]})
    assert isinstance(request, DubInput)
    with pytest.raises(InvalidInput, match="unknown field 'markup'"):
        parse_input({"action": "dub", "subtitles": "x", "markup": "plain"})


def test_a_voice_is_stored_with_its_pronunciations() -> None:
    fields = {"action": "voices.add", "name": "ann", "audio": "x", "defaults": {"pronunciations": [ENTRY]}}
    request = parse_input(fields)
    assert isinstance(request, VoicesAddInput)
    stored = request.defaults.model_dump_json(exclude_none=True)
    assert type(request.defaults).model_validate_json(stored) == request.defaults


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"markup": "html"}, "markup='html': input should be 'auto' or 'plain'"),
        ({"directions": "act"}, "directions='act'"),
        ({"pronunciations": [{"written": "x"}]}, "pronunciations.0.spoken is missing"),
        (
            {"pronunciations": [ENTRY | {"writen": "x"}]},
            "unknown field 'pronunciations.0.writen'",
        ),
        ({"pronunciations": [ENTRY | {"language": "english"}]}, "pronunciations.0.language"),
        ({"pronunciations": [ENTRY] * 101}, "pronunciations: tuple should have at most 100 items"),
        ({"voices": dict.fromkeys(map(str, range(33)), "joe")}, "voices: dictionary should have at most 32 items"),
    ],
)
def test_faults_are_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_input({"text": "Hello."} | fields)
    assert words in str(caught.value)


def test_the_largest_request_is_within_the_bounds() -> None:
    from f5_worker.schema.bounds import check_bounds

    entry = ENTRY | {"language": "en", "voice": "joe", "case_sensitive": True}
    voices = dict.fromkeys(map(str, range(32)), "joe")
    check_bounds({"text": "x", "pronunciations": [entry] * 100, "voices": voices})


def test_the_workers_file_is_read_at_start(tmp_path: Path) -> None:
    path = tmp_path / "pronunciations.json"
    path.write_text('[{"written": "Xiaomi", "spoken": "shao mee"}, {"written": "US", "spoken": "x", "language": "en"}]')
    assert load_pronunciations(path) == (Pronunciation("Xiaomi", "shao mee"), Pronunciation("US", "x", "en"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "F5_PRONUNCIATIONS: the file cannot be read (No such file or directory)"),
        ("[", "F5_PRONUNCIATIONS: the file: Invalid JSON"),
        ('[{"written": "x", "spoken": "y"}, {"written": "x"}]', "F5_PRONUNCIATIONS: 1.spoken: Field required"),
        ("{}", "F5_PRONUNCIATIONS: the file: Input should be a valid array"),
    ],
)
def test_a_file_that_cannot_be_used_ends_the_start(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "pronunciations.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsInvalid) as caught:
        load_pronunciations(path)
    assert words in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
