"""ElevenLabs' call: what of it has an effect, and the times of characters."""

from __future__ import annotations

from typing import Any

import pytest

from f5_worker.alignment.timeline import Word
from f5_worker.api.elevenlabs.speech import CharacterTimes, ElevenLabsContract, parse_output_format
from f5_worker.api.elevenlabs.voices import NewVoiceForm, new_voice
from f5_worker.errors import InvalidInput
from f5_worker.schema.requests import SynthesizeInput


def read(**body: Any) -> tuple[SynthesizeInput, str]:
    """The request that a call stands for, and its warnings."""
    contract = ElevenLabsContract({"text": "Hello.", "voice": "joe", **body}, "j", timed=False)
    contract.read()
    return contract.request, "; ".join(contract.warnings)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("pcm_16000", ("pcm_s16le", 16_000, None)), ("mp3_22050_32", ("mp3", 22_050, 32)),
        ("opus_48000_64", ("opus", 48_000, 64)), ("wav_44100", ("wav", 44_100, None)),
        ("ulaw_8000", ("ulaw", 8_000, None)), ("alaw_8000", ("alaw", 8_000, None)),
    ],
)  # fmt: skip
def test_output_formats(name: str, made: tuple[str, int, int | None]) -> None:
    assert parse_output_format(name) == made


@pytest.mark.parametrize("name", ["ulaw_16000", "pcm_32000", "opus_44100_64", "mp3", "", "pcm_16000x", "flac_24000"])
def test_an_output_format_that_is_not_made_is_told_those_that_are(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"use .*mp3_44100_128.*opus_48000_64.*pcm_24000"):
        parse_output_format(name)


def test_what_has_an_effect() -> None:
    request, warnings = read(
        seed=3, language_code="de-DE", model_id="mine", voice_settings={"speed": 1.2}, apply_text_normalization="off",
        verify=True,
    )  # fmt: skip
    assert warnings == ""
    assert request.verify is not None
    assert (request.seed, request.language, request.model) == (3, "de", "mine")
    assert (request.speed, request.normalize) == (1.2, False)
    assert (request.format, request.sample_rate) == ("mp3", 44_100)


def test_what_has_none_is_said() -> None:
    request, warnings = read(
        model_id="eleven_flash_v2_5", output_format="mp3_22050_32", next_text="More.", language_code=None,
        voice_settings={"stability": 0.5, "style": None, "speed": 9.0},
    )  # fmt: skip
    assert request.model is None
    assert request.speed == 2.0
    for said in ("'next_text' ignored", "stability ignored", "mp3 has 128 kbit/s here", "speed=9.0 is outside"):
        assert said in warnings
    assert "style" not in warnings


def test_each_character_has_its_share_of_its_words_time() -> None:
    text = " One,\n two."
    times = CharacterTimes(text)
    first = times.take([Word("One,", 1, 5, 0.1, 0.4, None)])
    assert "".join(each.character for each in first) == " One,\n "
    assert [each.end_s for each in first] == pytest.approx([0.0, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4])
    assert not times.is_complete
    assert times.take([]) == []
    assert "".join(each.character for each in times.take([Word("two.", 7, 11, 0.5, 0.9, None)])) == "two."
    assert times.is_complete


def test_a_voice_takes_its_words_and_consent_from_labels_or_fields() -> None:
    labels = '{"consent": "Joe agreed.", "accent": "US", "language": "en", "age": 3}'
    new = new_voice(NewVoiceForm(name="My Voice", files=[b"clip"], labels=labels, transcript="Words."))
    assert (new["name"], new["consent"], new["transcript"]) == ("my_voice", "Joe agreed.", "Words.")
    assert new["defaults"] == {"language": "en"}
    assert set(new_voice(NewVoiceForm(name="a", files=[b"clip"], labels="none"))) == {"name", "audio"}


@pytest.mark.parametrize("n_clips", [0, 2])
def test_a_voice_needs_one_clip(n_clips: int) -> None:
    with pytest.raises(InvalidInput, match=f"{n_clips} files"):
        new_voice(NewVoiceForm(name="a", files=[b"clip"] * n_clips))
