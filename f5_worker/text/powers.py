"""Powers, `10^23` and `10**23`: the sign in words of the language, before the numbers around it are read."""

from __future__ import annotations

import re

from f5_worker.text.spans import SourceMappedText

# Between base and exponent, and before a negative exponent.
_WORDS = {
    "de": ("hoch", "minus"),
    "en": ("to the power of", "minus"),
    "es": ("elevado a", "menos"),
    "fr": ("puissance", "moins"),
    "hi": ("की घात", "ऋण"),
    "it": ("elevato alla", "meno"),
    "ja": ("の", "マイナス"),
    "pt": ("elevado a", "menos"),
    "ru": ("в степени", "минус"),
    "zh": ("的", "负"),
}
_ENGLISH_NAMES = {"2": "squared", "3": "cubed"}
_AFTER = {"ja": "乗", "zh": "次方"}
_EXPONENT = r"([+-]?)(\d{1,9}(?:[.,]\d{1,9})?|[A-Za-z])"
_POWER = re.compile(rf"(?<=[\w)\]])(?:\^|\*\*)(?:\({_EXPONENT}\)|{_EXPONENT}(?![.,]?\d|[A-Za-z]))")


def read_powers(text: SourceMappedText, language: str) -> SourceMappedText:
    """Return the text with `^` and `**` in words; a language that has none here keeps the sign."""
    words = _WORDS.get(language)
    if words is None or ("^" not in text.text and "**" not in text.text):
        return text
    between, minus = words
    space = "" if language in _AFTER else " "

    def read(match: re.Match[str]) -> str:
        sign, exponent = match[1] or match[3], match[2] or match[4]
        if language == "en" and sign != "-" and exponent in _ENGLISH_NAMES:
            return f" {_ENGLISH_NAMES[exponent]}"
        signed = f"{minus}{space}{exponent}" if sign == "-" else exponent
        return f"{space}{between}{space}{signed}{_AFTER.get(language, '')}"

    return text.sub(_POWER, read)
