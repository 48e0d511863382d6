"""The language of a text and of each of its sentences."""

from __future__ import annotations

import pytest

from f5_worker.text.language import language_by_script, sentence_language
from f5_worker.text.normalize import normalize


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Our office in 北京 opened in 2021.", None),
        ("我用iPhone 15拍照。", "zh"),
        ("私はiPhone 15が好きです。", "ja"),
        ("나는 iPhone 15를 좋아한다.", "ko"),
        ("中文 한국", "ko"),
        ("Grüße, привет", None),
        ("123 !?", None),
    ],
)
def test_most_words_tell_the_language(text: str, language: str | None) -> None:
    assert language_by_script(text) == language


@pytest.mark.parametrize(
    ("sentence", "of_the_text", "language"),
    [
        ("今日は5時です。", "en", "ja"),
        ("東京都2丁目。", "ja", "ja"),  # without kana, in a Japanese text
        ("共有5个。", "en", "zh"),
        ("It was 5.", "zh", "en"),
        ("Es war 5.", "de", "de"),
        ("5!", "zh", "zh"),
    ],
)
def test_a_sentence_has_its_own(sentence: str, of_the_text: str, language: str) -> None:
    assert sentence_language(sentence, of_the_text) == language


def test_numbers_follow_the_language_of_their_sentence() -> None:
    text = "Our office in 北京 opened on 3/4/2021. 共有5个。It cost $5."
    said = normalize(text, language="en", by_script=True).text
    assert said == "Our office in 北京 opened on march fourth twenty twenty one. 共有五个。It cost five dollars."
    assert "five个" in normalize("共有5个。", language="en").text.replace(" ", "")  # what the job states, holds
