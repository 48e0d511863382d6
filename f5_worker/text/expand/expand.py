"""Write out numbers, signs and abbreviations as they are read aloud: the model garbles digits.

Per sentence: own rules for what the libraries get wrong, then the language's grammar, then num2words for the numbers
that are left, which are all in a language without a grammar. A sentence without any of them is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from f5_worker.text.expand.german import joined_numbers
from f5_worker.text.expand.grammar import Expansion
from f5_worker.text.expand.islands import has_sign, islands
from f5_worker.text.expand.library import abbreviations, grammar
from f5_worker.text.expand.numbers import UNSPACED, numbers
from f5_worker.text.expand.rules import rules
from f5_worker.text.scripts import UNSPACED as UNSPACED_LETTERS
from f5_worker.text.sentences import stop_ends_sentence
from f5_worker.text.spans import SourceMappedText

_SEPARATORS = ",;:"  # "1,2,3" is read "one, two, three": without spaces the tokenizer makes one word of it
_ACROSS_COMMAS = ("en", "hi")  # their grammars know punctuation between words
# Of a sentence: rules are tried on no more at a time, and a grammar, which takes some 0.1 ms a letter and more a digit,
# reads no more. What is longer is a list of numbers.
MAX_PIECE_CHARS, MAX_GRAMMAR_CHARS, MAX_GRAMMAR_DIGITS = 500, 1_000, 100
_LETTERS = re.compile(r"[^\W\d_]+")
_BESIDE_UNSPACED = re.compile(rf"(?<=[{UNSPACED_LETTERS}])(?=\d)|(?<=\d)(?=[{UNSPACED_LETTERS}])")
_INITIALS = re.compile(r"(?:[A-Z]\. )+[A-Z]\.")  # J. R. R. Tolkien
_SPACE_BEFORE = re.compile(r" +(?=[,.;:!?])")


def expand(sentence: SourceMappedText, language: str) -> SourceMappedText:
    """Return a sentence with its numbers written out; each word keeps the place of what it is read from.

    Args:
        sentence: in NFC.
        language: ISO 639-1.
    """
    if len(sentence.text) <= MAX_PIECE_CHARS:
        return _expand(sentence, language, by_grammar=True).disjoint()
    return SourceMappedText.join(
        _expand(sentence.part(begin, end), language, by_grammar=begin < MAX_GRAMMAR_CHARS)
        for begin, end in _pieces(sentence.text)
    ).disjoint()


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Yield where to cut what is too long for a sentence: at white space, or where there is none for long, anywhere."""
    begin = 0
    while begin < len(text):
        end = begin + MAX_PIECE_CHARS
        if end < len(text):
            end = max(text.rfind(" ", begin, end), text.rfind("\n", begin, end)) + 1 or end
        yield begin, min(end, len(text))
        begin = end


def _expand(sentence: SourceMappedText, language: str, *, by_grammar: bool) -> SourceMappedText:
    if language not in UNSPACED:
        sentence = sentence.sub(_BESIDE_UNSPACED, " ")
    for pattern, replacement in rules(language):
        if pattern.search(sentence.text):
            sentence = sentence.sub(pattern, replacement)
    if not has_sign(sentence.text) and "." not in sentence.text:
        return sentence
    for readings in (_by_grammar, numbers) if by_grammar else (numbers,):
        sentence = sentence.replace(_separated(sentence.text, readings(sentence.text, language), language))
    return sentence


def _by_grammar(text: str, language: str) -> Iterator[Expansion]:
    own = grammar(language)
    if own is None:
        return
    across_commas, n_digits = language in _ACROSS_COMMAS, 0
    for begin, end in islands(text, abbreviations(language), across_commas=across_commas):
        n_digits += sum(map(str.isdecimal, text[begin:end]))
        if n_digits > MAX_GRAMMAR_DIGITS:
            return
        for reading in own.read(text[begin:end]):
            first, last = begin + reading.begin, begin + reading.end
            if not _is_wanted(text[first:last], reading.said):
                continue
            said = _finished(text[first:last], reading.said, language)
            if text[last - 1] == "." and across_commas and stop_ends_sentence(text, last):
                said += "."
            yield Expansion(first, last, said)


def _finished(written: str, said: str, language: str) -> str:
    """Return what a grammar says in the caller's capitals, without its space before punctuation."""
    own = {word.casefold(): word for word in _LETTERS.findall(written)}
    said = _LETTERS.sub(lambda match: own.get(match[0].casefold(), match[0]), _SPACE_BEFORE.sub("", said)).rstrip(".")
    return joined_numbers(said) if language == "de" else said


def _is_wanted(written: str, said: str) -> bool:
    """Return False for words that have no sign: a grammar takes some names for abbreviations."""
    return (
        bool(said)
        and not _INITIALS.fullmatch(written)
        and (has_sign(written) or "." in written or not any(map(str.isalpha, written)))
    )


def _separated(text: str, readings: Iterable[Expansion], language: str) -> Iterator[Expansion]:
    """Add a space where a reading would otherwise touch the letters, or the reading, next to it."""
    last = -1
    found = list(readings)
    begins = {reading.begin for reading in found}
    for begin, end, said in found:
        before, after = text[begin - 1 : begin], text[end : end + 1]
        left = begin > 0 and (begin == last or before.isalnum() or before in _SEPARATORS)
        right = after.isalnum() and end not in begins
        yield Expansion(begin, end, said if language in UNSPACED else f"{' ' * left}{said}{' ' * right}")
        last = end
