from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.voices.naming import group_files, is_name, listing_warnings, name_from_file
from tests.voices.stores import MemoryFile


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("ada.wav", "ada"),
        ("Ada.WAV", "ada"),
        ("My Voice.mp3", "my_voice"),
        ("Dr. Ada (2nd take).wav", "dr-_ada_-2nd_take-"),
        ("José.wav", "jose"),
        ("_ada-1.wav", "ada-1"),
        ("voices/Ada.wav", "ada"),
        ("..\\..\\Ada.wav", "ada"),
        ("ada", "ada"),
        ("ada.v2", "ada-v2"),
        ("a" * 80 + ".wav", "a" * 64),
    ],
)
def test_a_files_name_makes_a_voices_name(file: str, name: str) -> None:
    assert name_from_file(file) == name


@given(st.text(max_size=100))
def test_any_files_name_makes_a_valid_one(file: str) -> None:
    assert is_name(name_from_file(file))
    assert is_name(name_from_file(f"{file}.wav"))


def test_names_of_other_scripts_stay_apart() -> None:
    assert name_from_file("声.wav") != name_from_file("音.wav")


def listing(*names: str) -> dict[str, tuple[list[str], list[str]]]:
    """Return the earlier layout's clips and transcripts of each voice."""
    voices = group_files(MemoryFile(name, b"", 0.0) for name in names)
    return {
        name: ([file.name for file in voice.clips], [file.name for file in voice.transcripts])
        for name, voice in voices.items()
        if voice.is_offered
    }


def test_the_earlier_layout() -> None:
    """Clip and transcript are matched though their names differ in case; times win over a plain text."""
    names = ["Ada.WAV", "ADA.csv", "bob.mp3", "bob.wav", "bob.txt", "bob.srt", "eve.ogg", "notes.pdf", "lost.txt"]
    assert listing(*names) == {
        "ada": (["Ada.WAV"], ["ADA.csv"]),
        "bob": (["bob.wav", "bob.mp3"], ["bob.srt", "bob.txt"]),
        "eve": (["eve.ogg"], []),
    }


def test_of_files_with_one_name_the_plain_one_is_used_with_its_own_transcript() -> None:
    clips, texts = listing("Ada.wav", "ADA.wav", "ada.wav", "ADA.srt", "ada.txt")["ada"]
    assert clips == ["ada.wav", "ADA.wav", "Ada.wav"]
    assert texts[0] == "ada.txt"


def test_versions_that_no_record_names_are_not_a_voice() -> None:
    assert listing("ada.0123456789ab.flac", "ada.0123456789ab.txt") == {}
    assert listing("ada.json") == {}


def test_warnings_name_the_files_that_are_not_offered() -> None:
    names = ["Ada.wav", "ada.wav", "bobby.wav", "boby.csv", "zzz.srt", "eve.wav", "eve.0123456789ab.mp3", "eve.json"]
    warnings = listing_warnings(group_files(MemoryFile(name, b"", 0.0) for name in names))
    assert warnings == [
        "'ada', 'Ada' are all voice 'ada'; only the first is used, rename the others",
        "transcript 'boby' has no clip; is it that of 'bobby'? Name it like its clip",
        "voice 'eve' was added; the recording 'eve' of the same name is not used",
        "transcript 'zzz' has no clip",
    ]
