from __future__ import annotations

import pytest

from f5_worker.errors import ConsentMissing
from f5_worker.voices.consent import MAX_CHARS, check_consent


@pytest.mark.parametrize(
    "consent",
    [
        "Ada agreed, 3 May.",
        "  Ada agreed.  ",
        "小明同意将他的声音用于本视频",
        "राम ने सहमति दी है",
        "ให้ความยินยอมแล้ว",
        "أوافق على استخدام صوتي",
        "Ада согласна",
        "x" * MAX_CHARS,
    ],
)
def test_a_statement_in_any_script(consent: str) -> None:
    check_consent(consent, required=True)


INVISIBLE = {
    "nothing": "",
    "spaces": " " * 30,
    "wide and hard spaces": "\u3000\u00a0\u2003" * 10,
    "zero width": "\u200b\u200c\u200d\u2060\ufeff" * 10,
    "controls": "\x00\x01\x7f\t\n" * 10,
    "directions": "\u202a\u202e\u2066\u2069" * 10,
    "tags": "\U000e0041\U000e0042" * 20,
    "Hangul fillers": "\u115f\u1160\u3164\uffa0" * 10,
    "empty Braille": "\u2800" * 30,
    "marks without letters": "\u0301\u0308" * 20,
    "one letter with many marks": "a" + "\u0301" * 40,
    "variation selectors": "\ufe0f\U000e0100" * 20,
    "private use": "\ue000" * 30,
    "soft hyphens between few letters": "y\u00ade\u00ads\u00ad" * 3,
    "digits and signs": "1234567890 !?",
    "too short": "agreed",
    "too long": "x" * (MAX_CHARS + 1),
}


@pytest.mark.parametrize("kind", INVISIBLE)
def test_a_statement_that_says_nothing_is_refused(kind: str) -> None:
    for required in (True, False):
        with pytest.raises(ConsentMissing):
            check_consent(INVISIBLE[kind], required=required)


def test_none_is_refused_where_one_is_required() -> None:
    check_consent(None, required=False)
    with pytest.raises(ConsentMissing, match="10 to 2,000 characters"):
        check_consent(None, required=True)


def test_the_error_names_what_was_counted() -> None:
    with pytest.raises(ConsentMissing, match="9 visible characters of 18, it takes at least 10"):
        check_consent("y\u00ade\u00ads\u00ad" * 3, required=True)
