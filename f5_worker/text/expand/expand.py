"""Write out numbers, signs and abbreviations as they are read aloud: the model garbles digits.

Per sentence: own rules for what the libraries get wrong, then the language's grammar, then num2words for the numbers
that are left, which are all in a language without a grammar. A sentence without any of them is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from f5_worker.text.expand.german import joined_numbers
from f5_worker.text.expand.grammar import Reading
from f5_worker.text.expand.islands import has_sign, islands
from f5_worker.text.expand.library import abbreviations, grammar
from f5_worker.text.expand.numbers import UNSPACED, numbers
from f5_worker.text.expand.rules import rules
from f5_worker.text.sentences import stop_ends_sentence
from f5_worker.text.spans import SourceMappedText

_SEPARATORS = ",;:"  # "1,2,3" is read "one, two, three": without spaces the tokenizer makes one word of it
_ACROSS_COMMAS = ("en", "hi")  # their grammars know punctuation between words
_CACHED_ISLANDS = 4096
_LETTERS = re.compile(r"[^\W\d_]+")
_SPACE_BEFORE = re.compile(r" +(?=[,.;:!?])")


def expand(sentence: SourceMappedText, language: str) -> SourceMappedText:
    """Return a sentence with its numbers written out; each word keeps the place of what it is read from.

    Args:
        sentence: in NFC.
        language: ISO 639-1.
    """
    for pattern, replacement in rules(language):
        if pattern.search(sentence.text):
            sentence = sentence.sub(pattern, replacement)
    if not has_sign(sentence.text) and "." not in sentence.text:
        return sentence
    for readings in (_read, numbers):
        sentence = sentence.replace(_separated(sentence.text, readings(sentence.text, language), language))
    return sentence


def _read(text: str, language: str) -> Iterator[Reading]:
    for begin, end in islands(text, abbreviations(language), across_commas=language in _ACROSS_COMMAS):
        for reading in _grammar_readings(text[begin:end], language):
            first, last = begin + reading.begin, begin + reading.end
            said = _finished(text[first:last], reading.said, language)
            if text[last - 1] == "." and language in _ACROSS_COMMAS and stop_ends_sentence(text, last):
                said += "."
            yield Reading(first, last, said)


@lru_cache(_CACHED_ISLANDS)
def _grammar_readings(island: str, language: str) -> list[Reading]:
    """Return what a grammar reads, without words that have no sign: it takes some names for abbreviations."""
    own = grammar(language)
    readings = own.read(island) if own else []
    return [reading for reading in readings if _is_wanted(island[reading.begin : reading.end], reading.said)]


def _finished(written: str, said: str, language: str) -> str:
    """Return what a grammar says in the caller's capitals, without its space before punctuation."""
    own = {word.casefold(): word for word in _LETTERS.findall(written)}
    said = _LETTERS.sub(lambda match: own.get(match[0].casefold(), match[0]), _SPACE_BEFORE.sub("", said)).rstrip(".")
    return joined_numbers(said) if language == "de" else said


def _is_wanted(written: str, said: str) -> bool:
    return bool(said) and (has_sign(written) or "." in written or not any(map(str.isalpha, written)))


def _separated(text: str, readings: Iterable[Reading], language: str) -> Iterator[Reading]:
    """Add a space where a reading would otherwise touch the letters, or the reading, next to it."""
    is_spaced, last = language not in UNSPACED, -1
    for begin, end, said in readings:
        before, after = text[begin - 1 : begin], text[end : end + 1]
        touches = begin > 0 and (begin == last or before.isalnum() or before in _SEPARATORS)
        left, right = is_spaced and touches, is_spaced and after.isalnum()
        yield Reading(begin, end, f"{' ' * left}{said}{' ' * right}")
        last = end
