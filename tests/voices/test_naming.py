from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.voices.listing import group_files, listing_warnings
from f5_worker.voices.naming import (
    Spellings,
    clip_name,
    is_name,
    listed_names,
    nearest_names,
    plain_name,
    stem_of,
    upload_names,
)
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


# -- names in one's own script ----------------------------------------------------------------------------------------

DECOMPOSED = unicodedata.normalize("NFD", "José")  # as macOS writes names


def spellings(*stems: str) -> Spellings:
    return Spellings(listed_names(stems))


@pytest.mark.parametrize(
    ("stem", "asked"),
    [
        ("Иван", "Иван иван ИВАН Иван\u200f"),
        ("小明", "小明"),
        ("سارة", "سارة"),
        ("แม่", "แม่"),
        ("हिन्दी", "हिन्दी"),
        ("می\u200cخواهم", "می\u200cخواهم میخواهم"),
        (DECOMPOSED, "José JOSÉ jose JOSE " + DECOMPOSED),
        ("İpek", "İpek i̇pek ipek IPEK"),
        ("Işık", "Işık ışık IŞIK"),
        ("Straße", "Straße STRASSE strasse"),
        ("👩\u200d🎤", "👩\u200d🎤"),
        ("❤\ufe0f", "❤\ufe0f ❤"),
        ("Dr.Müller.v2", "Dr.Müller.v2 dr.müller.V2"),
        ("ж" * 200, "ж" * 200),
        ("Ann", "Ann ann ANN"),
    ],
)
def test_a_voice_is_found_by_its_own_name_in_every_spelling_and_by_its_plain_one(stem: str, asked: str) -> None:
    known = spellings(stem, "other")
    listed = known.find(stem)
    assert {known.find(name) for name in (*asked.split(), listed or "", plain_name(stem))} == {listed}
    assert known.find("another") is None


def test_it_is_listed_under_its_own_name_unless_that_is_plain() -> None:
    names = {"Иван": "Иван", "My Voice": "my_voice", DECOMPOSED: "José", " 小明 ": "小明", "b\udcc8": "b-"}
    assert listed_names(names) == names
    assert listed_names(["声\nX"]) == {"声\nX": "x"}  # no log line or list can carry a line end


@pytest.mark.parametrize(
    "stems",
    [
        ("Ann", "ann", "ANN"),
        ("José", DECOMPOSED, "jose", "JOSE"),
        ("My Voice", "my_voice", "My_Voice", "my voice"),
        ("аnn", "nn", "-nn"),
        ("ä", "a", "_a", "A"),
        ("Иван", "иван", "ИВАН"),
        ("Straße", "strasse"),
        ("x" * 70, "x" * 80),
        ("b\udcc8", "b\udcc9"),
        ("❤", "❤\ufe0f"),
        ("İpek", "ipek", "IPEK", "ıpek"),
    ],
)
def test_names_that_differ_never_become_one(stems: tuple[str, ...]) -> None:
    listed = listed_names(stems)
    assert len(set(listed.values())) == len(stems)
    known = Spellings(listed)
    for stem in stems:
        assert known.find(stem) == known.find(listed[stem]) == listed[stem]
    assert len({upload_names(clip_name(stem))[-1] for stem in stems if stem.isprintable()}) == len(
        {clip_name(stem) for stem in stems if stem.isprintable()}
    )


@given(st.lists(st.text(max_size=80), unique=True, max_size=8))
def test_any_files_are_listed_under_different_names_and_found_by_their_own(stems: list[str]) -> None:
    listed = listed_names(stems)
    assert len(set(listed.values())) == len(stems)
    known = Spellings(listed)
    for stem in stems:
        assert known.find(listed[stem]) == listed[stem]
        json.dumps(listed[stem]).encode()


@given(st.text(min_size=1, max_size=255))
def test_an_upload_is_stored_under_a_valid_name(original: str) -> None:
    assert all(is_name(name) for name in upload_names(original))


@pytest.mark.parametrize(
    ("original", "names"),
    [
        ("ann", ("ann",)),
        ("Ann", ("ann",)),
        ("My Voice", ("my_voice",)),
        ("аnn", ()),
        ("ä", ()),
        ("_a", ()),
        ("José", ()),
    ],
)
def test_a_plain_name_serves_only_where_it_keeps_all_letters(original: str, names: tuple[str, ...]) -> None:
    *plain, own = upload_names(original)
    assert tuple(plain) == names
    assert re.fullmatch(plain_name(original) + "-[0-9a-f]{8}", own)


def test_the_nearest_names_are_five_at_most_and_without_regard_to_case() -> None:
    assert nearest_names("ИВОН", ["Иван", "小明", "joe"]) == ["Иван"]
    assert nearest_names("иван", ["Иван Петров"]) == ["Иван Петров"]
    assert nearest_names("voice", [f"voice{index}" for index in range(9)])[5:] == []
    assert nearest_names("zzz", ["Иван", "joe"]) == []


def test_transcripts_find_their_clips_in_every_spelling() -> None:
    names = [
        "Иван.wav",
        "иван.txt",
        "José.wav",
        f"{DECOMPOSED}.srt",
        "nn.wav",
        "аnn.txt",
        "my_voice.wav",
        "My Voice.csv",
    ]
    assert listing(*names) == {
        "Иван": (["Иван.wav"], ["иван.txt"]),
        "José": (["José.wav"], [f"{DECOMPOSED}.srt"]),
        "nn": (["nn.wav"], []),
        "my_voice": (["my_voice.wav"], ["My Voice.csv"]),
    }
