"""Normalizing: what the model reads, and where each character is from."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.errors import TextUnspeakable
from f5_worker.text.normalize import ensure_speakable, normalize, normalize_transcript


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("  two\t spaces ", "two spaces"),
        ("One\r\nTwo\rThree\n\n\nfour", "One\nTwo\nThree\n\nfour"),
        ("a line\nthat was wrapped\n\nNew paragraph", "a line that was wrapped\n\nNew paragraph"),
        ("好！！！。。。", "好！。"),
        ("cafe\u0301", "café"),
        ("Hi 🙂👍🏽 there 👨‍👩‍👧!", "Hi there!"),
        ("wait… what — no", "wait... what - no"),
        ("“quoted” ‘so’", "“quoted” ‘so’"),
        ("really??!! yes!!!!", "really?! yes!"),
        ("dots ........ end", "dots... end"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("a\x00b\x07c", "abc"),
        ("5 % & 3 €, $2 + 1", "5 % & 3 €, $2 + 1"),
        ("20°", "20°"),
        ("Hello , world .", "Hello, world."),
        ("می\u200cروم", "می\u200cروم"),
        ("snake_case_name _x_ 1_000 a_1", "snake case name _x_ 1_000 a 1"),
        ("me_too@x.org https://x.org/a_b", "me_too@x.org https://x.org/a_b"),
    ],
)
def test_what_is_written_and_what_is_read(written: str, read: str) -> None:
    assert normalize(written, expand=False).text == read


@pytest.mark.parametrize(
    "text",
    [
        "The old keeper, who's 40, said: “No.” (He meant it!) Why?",
        "Über den Wolken; dort oben. Où est-il?",
        "Утренний свет медленно поднимался.",
        "你好，世界。今天天气很好！",
        "سلام دنیا۔ می\u200cروم",
        "नमस्ते दुनिया। क्\u200dष",
        "wait… what — no",
        "Wait!! «What?!»",
        "안녕하세요, 세계.",
    ],
)
def test_a_good_transcript_stays_as_it_is(text: str) -> None:
    assert normalize_transcript(text) == text


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("T\u200bh\u00ade\u2060 o\ufe0fl\u034fd", "The old"),
        ("a\u200cb\u200dc", "abc"),
        ("The old. . . . keeper , , came", "The old. keeper, came"),
        ('Who " " " " " " " "', 'Who "'),
        ("The * old _ keeper", "The  old  keeper"),
        ("cafe\u0301 🎉", "café "),
    ],
)
def test_what_has_no_sound_in_a_transcript_has_no_length(written: str, read: str) -> None:
    assert normalize_transcript(written) == read


@pytest.mark.parametrize("text", ["", " ", "...", "?!", "🙂🙂", "— « »", "\u200b", "***"])
def test_nothing_to_say_is_an_error(text: str) -> None:
    with pytest.raises(TextUnspeakable, match=f"none of its {len(text)} characters"):
        ensure_speakable(normalize(text, expand=False).text, len(text))


@pytest.mark.parametrize("text", ["a", "5", "你", "д", "ب", "🙂 ok"])
def test_one_letter_is_enough(text: str) -> None:
    ensure_speakable(normalize(text, expand=False).text, len(text))


@given(st.text(max_size=200))
def test_reading_again_changes_nothing(text: str) -> None:
    once = normalize(text, expand=False).text
    assert normalize(once, expand=False).text == once


@pytest.mark.slow
def test_hostile_text_takes_linear_time() -> None:
    for text in ("\n" * 100_000, " " * 100_000, "!" * 100_000, "." * 100_000, " \n" * 50_000, "\u0301" * 100_000):
        normalize(text, expand=False)


@given(st.text(alphabet="ab cd\u0301e\n…—🙂'\"!?.,\u200b\u1100\u1161\u11a8가é好。", max_size=120))
def test_every_character_knows_where_it_is_from(text: str) -> None:
    read = normalize(text, expand=False)
    assert len(read.origin) == len(read.text)
    begins = [begin for begin, _ in read.origin]
    assert begins == sorted(begins)
    for char, (begin, end) in zip(read.text, read.origin, strict=True):
        assert 0 <= begin <= end <= len(text)
        if char.isalnum():
            assert unicodedata.normalize("NFC", char) in unicodedata.normalize("NFC", text[begin:end])


@pytest.mark.parametrize(
    ("text", "char", "written"),
    [
        ("Hi 🙂 you", "y", "y"),
        ("wait… what", ".", "…"),
        ("cafe\u0301 bar", "é", "e\u0301"),
        ("a  — b", "-", "—"),
        ("Hello , world", ",", ","),
    ],
)
def test_changes_map_to_what_was_written(text: str, char: str, written: str) -> None:
    read = normalize(text, expand=False)
    begin, end = read.origin[read.text.index(char)]
    assert text[begin:end] == written


@pytest.mark.parametrize(
    ("language", "text", "said", "written"),
    [
        ("de", "Der 3. Mann kam.", "dritte", "3."),
        ("de", "Wir kommen am 3. Dann essen wir.", "dritten.", "3."),
        ("de", "vom 1.–5. Mai", "ersten", "1."),
        ("de", "Um 17:02 Uhr kam er.", "siebzehn Uhr zwei", "17:02 Uhr"),
        ("de", "am 3.10.2023 um", "dritten Oktober zweitausenddreiundzwanzig", "3.10.2023"),
        ("hi", "आज २३ मार्च है।", "तेईस", "२३"),
        ("hi", "वह 2री है।", "दूसरी", "2री"),
    ],
)
def test_words_map_to_the_numbers_that_they_are_read_from(language: str, text: str, said: str, written: str) -> None:
    read = normalize(text, language=language)
    at = read.text.index(said)
    spans = set(read.origin[at : at + len(said)])
    assert [text[begin:end] for begin, end in spans] == [written]
