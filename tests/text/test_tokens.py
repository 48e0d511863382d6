"""Words as they are compared: without case, accents and punctuation."""

from __future__ import annotations

import pytest

from f5_worker.text.tokens import tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's   Café-time!", ["its", "cafe", "time"]),
        ("Don’t - ever", ["dont", "ever"]),
        ("ﬁne Straße", ["fine", "strasse"]),
        ("你好，世界", ["你", "好", "世", "界"]),
        ("ガラスを", ["ガ", "ラ", "ス", "を"]),
        ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया"]),
        ("한국어 말", ["한국어", "말"]),
        ("... — 🙂", []),
    ],
)
def test_the_words_of_a_text(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected
