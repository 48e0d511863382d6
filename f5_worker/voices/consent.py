"""The statement of consent that comes with a voice: it has to say something that a person can read."""

from __future__ import annotations

import unicodedata

from f5_worker.errors import ConsentMissing

MIN_VISIBLE_CHARS, MAX_CHARS = 10, 2_000
# Letters and symbols by their category that show nothing: the fillers of Hangul, an empty Braille cell, a null note.
BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800\U0001d159")


def check_consent(consent: str | None, *, required: bool) -> None:
    """Raise if a statement of consent is missing or says nothing.

    Raises:
        ConsentMissing: with the number of characters that can be seen.
    """
    if consent is None:
        if required:
            raise ConsentMissing(
                "a voice is stored only with consent: who agreed to its use, when and for what, in "
                f"{MIN_VISIBLE_CHARS} to {MAX_CHARS:,} characters"
            )
        return
    visible = visible_chars(consent)
    if len(visible) < MIN_VISIBLE_CHARS or len(consent) > MAX_CHARS:
        raise ConsentMissing(
            f"consent has {len(visible)} visible characters of {len(consent)}, it takes at least {MIN_VISIBLE_CHARS} "
            f"of at most {MAX_CHARS:,} to say who agreed to the use of this voice, when and for what"
        )
    if not any(char.isalpha() for char in visible):
        raise ConsentMissing("consent has no letter; say who agreed to the use of this voice, when and for what")


def visible_chars(text: str) -> str:
    """Return the characters of a text that are seen by themselves: no spaces, marks, controls, formats or fillers."""
    return "".join(char for char in text if char not in BLANKS and _is_visible(unicodedata.category(char)))


def _is_visible(category: str) -> bool:
    return category[0] in "LNPS" or category == "Mc"  # the vowel signs of Indic scripts are spacing marks
