"""The contract: what is accepted, and what a caller is told when it is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.errors import InvalidInput, UnknownAction
from f5_worker.schema.actions import ACTIONS, parse_input
from f5_worker.schema.faults import show
from f5_worker.schema.requests import HealthInput, SynthesizeInput

JOB: dict[str, Any] = {"text": "Hello.", "voice": "joe"}


def refusal(value: object) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_input(value)
    return str(caught.value)


def test_the_shortest_job() -> None:
    job = parse_input(JOB)
    assert isinstance(job, SynthesizeInput)
    assert (job.quality, job.speed, job.seed, job.format, job.sample_rate) == (None, None, None, "wav", 24_000)


def test_health_needs_nothing_else() -> None:
    assert isinstance(parse_input({"action": "health"}), HealthInput)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "null"), ("text", "a string"), ([JOB], "a list"), (3, "a number"), (True, "a boolean")],
)
def test_input_that_is_no_object(value: object, kind: str) -> None:
    assert f"input is {kind}; send a JSON object such as" in refusal(value)


@pytest.mark.parametrize("action", ["helth", "Synthesize", "tts", "", 3, None, ["health"], "x" * 5_000])
def test_an_unknown_action_is_never_a_synthesis(action: object) -> None:
    with pytest.raises(UnknownAction) as caught:
        parse_input(JOB | {"action": action})
    assert "use synthesize, dub, batch, voices.add, " in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sped": 1.0}, "unknown field 'sped', did you mean 'speed'?"),
        ({"ref_audio": "x"}, "unknown field 'ref_audio'"),
        ({"text": ""}, "text (0 characters): string should have at least 1 character"),
        ({"text": "x" * 20_001}, "text (20001 characters)"),
        ({"text": "\ud800"}, "text holds a character that is not valid Unicode"),
        ({"text": 5}, "text=5: input should be a valid string"),
        ({"quality": "bst"}, "quality='bst': input should be 'fast', 'balanced' or 'best'"),
        ({"quality": "fast", "nfe_step": 8}, "give either quality or nfe_step"),
        ({"nfe_step": 3}, "nfe_step=3: input should be greater than or equal to 4"),
        ({"nfe_step": 65}, "nfe_step=65"),
        ({"nfe_step": 8.5}, "nfe_step=8.5"),
        ({"nfe_step": "8"}, "nfe_step: input should be a valid integer"),
        ({"speed": 0.4}, "speed=0.4"),
        ({"speed": float("nan")}, "speed=nan: input should be a finite number"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**32}, "seed=4294967296"),
        ({"seed": True}, "seed=True"),
        ({"sample_rate": 11_025}, "sample_rate=11025"),
        ({"format": "aiff"}, "format='aiff'"),
        ({"format": "opus", "sample_rate": 44_100}, "opus does not have 44100 Hz; use 8000, 16000, 24000, 48000"),
        ({"format": "aac", "sample_rate": 11_025}, "sample_rate=11025"),
        ({"reference": {"audio": "x", "transcript": "y"}}, "give either voice"),
        ({"voice": None, "reference": {"transcript": "x"}}, "reference.audio is missing"),
        ({"captions": {"formats": ["doc"]}}, "captions.formats.0='doc': input should be 'srt', 'vtt', 'ass'"),
        ({"captions": {"formats": []}}, "captions.formats"),
        ({"captions": {"style": {"mod": "word"}}}, "unknown field 'captions.style.mod', did you mean 'mode'?"),
        ({"loudness_lufs": -5}, "loudness_lufs=-5"),
        ({"language": "English"}, "language"),
        ({"fix_duration_s": 3.0, "trim_silence": True}, "give either fix_duration_s or trim_silence"),
        ({"voice": None, "reference": {"audio": "x", "transcrip": "y"}}, "did you mean 'transcript'?"),
        ({"voice": None, "reference": "clip.wav"}, "reference: input should be"),
    ],
)
def test_what_is_wrong_is_said(fields: dict[str, Any], words: str) -> None:
    assert words in refusal(JOB | fields)


def test_all_faults_are_said_at_once() -> None:
    words = refusal({"voice": "joe", "speed": 9, "sede": 1})
    assert "text is missing" in words
    assert "speed=9" in words
    assert "did you mean 'seed'?" in words


def test_text_is_not_repeated_in_errors() -> None:
    secret = "my private words " * 2_000
    assert "private" not in refusal(JOB | {"text": secret})


def test_bounds_are_inclusive() -> None:
    for fields in ({"seed": 0}, {"seed": 2**32 - 1}, {"nfe_step": 4}, {"nfe_step": 64}, {"speed": 0.5}, {"speed": 2}):
        parse_input(JOB | fields)
    parse_input(JOB | {"text": "x" * 20_000})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*SynthesizeInput.model_fields, "x"]), json_values))
def test_any_json_is_a_job_or_a_clear_refusal(value: dict[str, Any]) -> None:
    try:
        parse_input(value)
    except (InvalidInput, UnknownAction) as error:
        json.dumps(str(error).encode("utf-8").decode())


def test_every_action_names_itself() -> None:
    for name, model in ACTIONS.items():
        assert name in str(model.model_fields["action"].annotation)


def test_every_field_is_described() -> None:
    for model in ACTIONS.values():
        for name, field in model.model_fields.items():
            assert field.description or name == "action"


def test_json_lists_are_taken_for_formats() -> None:
    job = parse_input(JOB | {"captions": {"formats": ["srt", "vtt"]}})
    assert isinstance(job, SynthesizeInput)
    assert job.captions is not None
    assert (job.captions.formats, job.wants_times) == (("srt", "vtt"), True)


@pytest.mark.parametrize("name", ["joe", "a", "0-b_c", "x" * 64])
def test_names_that_voices_may_have(name: str) -> None:
    parse_input({"action": "voices.add", "name": name, "audio": "x"})


@pytest.mark.parametrize("name", ["", "Joe", "../joe", "joe.wav", "-joe", "jo e", "joé", "x" * 65, "joe\n", "joe\x00"])
def test_names_that_could_be_paths_or_confuse(name: str) -> None:
    assert "name" in refusal({"action": "voices.add", "name": name, "audio": "x"})


def test_a_report_is_of_one_thing() -> None:
    assert "give either name" in refusal({"action": "voices.report"})
    assert "give either name" in refusal({"action": "voices.report", "name": "joe", "reference": {"audio": "x"}})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((1,), 'input is not an object; send a JSON object such as {"text": "Hello.", "voice": "joe"}'),
        (JOB | {"quality": "fast", "nfe_step": 8}, "give either quality or nfe_step"),
        (JOB | {"zzzz": 1}, "unknown field 'zzzz'"),
        (JOB | {"text": {"a": 1}, "speedx": 1}, "text: input should be a valid string; unknown field 'speedx', "
         "did you mean 'speed'?"),
    ],
)  # fmt: skip
def test_the_whole_message(value: object, words: str) -> None:
    assert refusal(value) == f"INVALID_INPUT: {words}"


def test_the_whole_message_of_an_unknown_action() -> None:
    with pytest.raises(UnknownAction) as caught:
        parse_input(JOB | {"action": "helth"})
    assert caught.value.message.startswith(
        "action 'helth' does not exist, did you mean 'health'?; use synthesize, dub, "
    )


def test_a_long_value_is_cut_in_messages() -> None:
    assert show("x" * 38) == f"'{'x' * 38}'"
    assert show("x" * 39) == f"'{'x' * 36}..."


def test_the_name_of_a_speakers_voice_is_valid_unicode() -> None:
    refused = refusal({"action": "dub", "subtitles": "x", "voices": {"a": "\ud800"}})
    assert "voices.a holds a character that is not valid Unicode" in refused
