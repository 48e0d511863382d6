"""Find the parts of a text that may be read otherwise than they are written: numbers, signs, abbreviations.

A grammar takes some milliseconds for them, and nothing else of a text is given to it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from f5_worker.text.scripts import CJK_OPENING_BRACKETS, UNSPACED
from f5_worker.text.sentences import CJK_CLAUSE_MARKS, CJK_STOPS, LATIN_STOPS

# Digits of all scripts, fractions, superscripts and the like; signs; a point or a slash within a word.
_NUMERIC = r"\d²³¹¼-¾⁰-₉⅐-ↈ"
_SIGN = re.compile(rf"[{_NUMERIC}$¢£¥€₩₹₺₽₿%‰&@#+=<>~^×÷±√°§©®™№µʰ-˿ᴬ-ᵪΑ-Ωα-ω]|\w[./:](?=\w)")
_WORD = re.compile(rf"[^\s{CJK_STOPS}{CJK_CLAUSE_MARKS}{CJK_OPENING_BRACKETS}」』）】》〉〕｝］]+")
_CLOSING = re.compile(r"[,;:!?)\]\"'’”»]+$|(?<=\d)\.$")
_BRACKETED = re.compile(r"\(\d+\)")
_OPENING = re.compile(r"[(\[\"'‘“„«]*")
_UNSPACED = re.compile(f"[{UNSPACED}]")
_LONG = re.compile(r"\d{19}")
_AROUND = "\"'“”‘’«»()[]{},;:!?"
WORDS_BEFORE, WORDS_AFTER = 4, 5
MAX_WORD_CHARS = 80  # of what a grammar is given: its time grows with the square of a word's length, or faster
MAX_ISLAND_CHARS = 120


def has_sign(text: str) -> bool:
    """Return True if a text has a digit, a sign that is read, or a point within a word."""
    return _SIGN.search(text) is not None


def islands(text: str, abbreviations: Collection[str], *, across_commas: bool) -> Iterator[tuple[int, int]]:
    """Yield `(begin, end)` for each part of a sentence that has something to read, with a few words around it.

    Args:
        abbreviations: words with a full stop that the language's grammar reads.
        across_commas: the grammar knows punctuation: Santa Clara, CA 95051. Otherwise no part has any around its words.
    """
    if not has_sign(text) and "." not in text:
        return
    words = [match.span() if across_commas else _bare(text, match) for match in _WORD.finditer(text)]
    wanted = set[int]()
    for index, (begin, end) in enumerate(words):
        if _is_read(text[begin:end], abbreviations, is_last=index == len(words) - 1):
            first, last = (_reach(text, words, index, n_words) for n_words in (-WORDS_BEFORE, WORDS_AFTER))
            wanted.update(range(first, last + 1))
    island: list[tuple[int, int]] = []
    for index, span in enumerate(words):
        is_apart = not across_commas and island and span[0] > island[-1][1] + 1
        if island and (index not in wanted or is_apart or span[1] - island[0][0] > MAX_ISLAND_CHARS):
            yield island[0][0], island[-1][1]
            island = []
        if index in wanted:
            island.append(span)
    if island:
        yield island[0][0], island[-1][1]


def _bare(text: str, match: re.Match[str]) -> tuple[int, int]:
    """Return where a word is without the punctuation around it."""
    begin, end = match.span()
    if _BRACKETED.fullmatch(match[0]):  # an area code
        return begin, end
    opening, closing = _OPENING.match(text, begin, end), _CLOSING.search(text, begin, end)
    first, last = opening.end() if opening else begin, closing.start() if closing else end
    return (first, last) if first < last else (begin, end)


def _is_read(word: str, abbreviations: Collection[str], *, is_last: bool) -> bool:
    if len(word) > MAX_WORD_CHARS or _LONG.search(word):
        return False
    if has_sign(word):
        return True
    bare = word.strip(_AROUND)
    return bare.endswith(".") and (bare in abbreviations or (not is_last and bare[:1].isalpha() and len(bare) <= 5))


def _reach(text: str, words: list[tuple[int, int]], index: int, n_words: int) -> int:
    """Return the index of the word up to which an island reaches from a word: as far as its sentence, and not far."""
    step = 1 if n_words > 0 else -1
    for _ in range(abs(n_words)):
        beyond = index + step
        if not 0 <= beyond < len(words):
            break
        ending = text[slice(*words[min(index, beyond)])]
        if ending[-1] in LATIN_STOPS + CJK_STOPS and len(ending) > 5 and not has_sign(ending):
            break
        begin, end = words[beyond]
        if begin > end or end - begin > MAX_WORD_CHARS or _UNSPACED.search(text[begin:end]):
            break
        index = beyond
    return index
