from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.voices.listing import group_files, listing_warnings
from f5_worker.voices.naming import is_name, plain_name, stem_of
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
    assert plain_name(stem_of(file)) == name


@given(st.text(max_size=100))
def test_any_files_name_makes_a_valid_one(file: str) -> None:
    assert is_name(plain_name(file))
    assert is_name(plain_name(stem_of(f"{file}.wav")))


def test_names_of_other_scripts_stay_apart() -> None:
    assert plain_name("声") != plain_name("音")


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


def test_files_whose_names_differ_are_different_voices_each_with_its_own_transcript() -> None:
    assert listing("Ada.wav", "ADA.wav", "ada.wav", "ADA.srt", "ada.txt") == {
        "ada": (["ada.wav"], ["ada.txt"]),
        "ADA": (["ADA.wav"], ["ADA.srt"]),
        "Ada": (["Ada.wav"], []),
    }


def test_versions_that_no_record_names_are_not_a_voice() -> None:
    assert listing("ada.0123456789ab.flac", "ada.0123456789ab.txt") == {}
    assert listing("ada.json") == {}


def test_warnings_name_the_files_that_are_not_offered() -> None:
    names = ["Ada.wav", "ada.wav", "bobby.wav", "boby.csv", "zzz.srt", "eve.wav", "eve.json"]
    names += ["eve.0123456789ab.mp3", "eve.0123456789ab.npy"]
    warnings = listing_warnings(group_files(MemoryFile(name, b"", 0.0) for name in names))
    assert warnings == [
        "the recording 'Ada' is found only by exactly this name: 'ada' is that of another",
        "transcript 'boby' has no clip; is it that of 'bobby'? Name it like its clip",
        "voice 'eve' was added; the recording 'eve' of the same name is not used",
        "transcript 'zzz' has no clip",
    ]
