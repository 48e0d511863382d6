"""Sounds, music and signs in captions are not spoken; everything else is."""

from __future__ import annotations

import pytest

from f5_worker.transcripts.non_speech import is_speakable, spoken_words


@pytest.mark.parametrize(
    "text",
    [
        *("♪ ♪", "...", "-", "🎉", "?!", "[door slams]", "(sighs)", "[Music]", "♪ la la ♪", "♪ la la", "la la ♪"),
        *("# la la #", "(applause and cheering)", "（拍手）", "【笑】", "- [laughs]", "[laughs] ♪ la ♪", ""),
    ],
)
def test_nothing_is_spoken(text: str) -> None:
    assert spoken_words(text) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sighs] I know.", "I know."),
        ("I know. [sighs]", "I know."),
        ("(sighs) I know.", "I know."),
        ("I know. ♪ la la ♪", "I know."),
        ("- [door slams] - Come in.", "- Come in."),
        ("Ah! (door slams)", "Ah!"),
        ("-[laughs] -Yes.", "-Yes."),
        (">> Hello. >>> News now.", "Hello. News now."),
    ],
)
def test_sounds_beside_words(text: str, words: str) -> None:
    assert spoken_words(text) == words


@pytest.mark.parametrize(
    "text",
    [
        *(
            "I live in Paris (France) now.",
            "He came home. (He always does.)",
            "Buy #1 now",
            "- Hi. - Bye.",
            "5 - 3 = 2",
        ),
        *("It is 10:30.", "№ 5", "你好。", "1", "(2010) was good", "5 - 3 = 2", "a >b", "-- what?"),
    ],
)
def test_words_stay_as_they_are(text: str) -> None:
    assert spoken_words(text) == text


def test_signs_are_not_speakable() -> None:
    assert [is_speakable(text) for text in ("...", "☀️", "\u200b", "²", "a")] == [False, False, False, True, True]
