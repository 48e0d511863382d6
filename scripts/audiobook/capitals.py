"""Write headings and openings that are set in capitals as the rest of the book is: models read capitals as letters.

`IT was` and `CHAPTER THE SECOND` become `It was` and `Chapter the Second` where the book itself writes `it`, `the` and
`Second`; `NASA`, which it writes no other way, stays. A Roman numeral that is all, or the first, of a heading is a
number; the worker knows those behind a word, as in `Chapter IV`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import dropwhile, pairwise, takewhile

from scripts.audiobook.model import Block, Chapter

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_ROMAN = re.compile(r"[IVXLCDM]+")
_CHAPTER_NUMBER = re.compile(r"(?m)^(?=[IVXLC])((?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))(?=[.:)]?$|[.:)] )")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
_LEAST_CHARS = 6  # of a word that is lowered though the book does not have it in small letters: `CHAPTER`, not `NASA`
_OPENING_RUN = 3  # so many words in capitals in a row are no abbreviations


def restore_case(chapters: Iterable[Chapter]) -> list[Chapter]:
    """Return the chapters with such headings, and such first words of the text below them, in small letters."""
    chapters = list(chapters)
    words = _Words(block for chapter in chapters for block in chapter.blocks)
    return [
        replace(
            chapter,
            title=words.lower_heading(chapter.title),
            blocks=tuple(words.restored(block, before) for before, block in pairwise([_START, *chapter.blocks])),
        )
        for chapter in chapters
    ]


_START = Block("break")


class _Words:
    """The words of a book: those that it writes in small letters, and its abbreviations."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._known: set[str] = set()
        self._abbreviations: set[str] = set()
        for block in blocks:
            words = _WORD.findall(block.text)
            self._known.update(word for word in words if not _is_capital(word))
            if block.kind == "text" and not block.text.isupper():
                inside = dropwhile(str.isupper, words)
                self._abbreviations.update(word for word in inside if _is_capital(word))

    def restored(self, block: Block, before: Block) -> Block:
        """Return a heading, or the text below one or below a break, in small letters."""
        if block.kind == "heading":
            return replace(block, text=_CHAPTER_NUMBER.sub(_arabic, self.lower_heading(block.text)))
        if block.kind == "text" and before.kind != "text":
            return replace(block, text=self._lower_opening(block.text))
        return block

    def lower_heading(self, text: str) -> str:
        """Lower the words of a heading that are in capitals; all but abbreviations if all of them are."""
        least = 2 if text.isupper() and len(_WORD.findall(text)) > 1 else _LEAST_CHARS
        return _first_capital(_WORD.sub(lambda match: self._usual(match[0], least), text))

    def _lower_opening(self, text: str) -> str:
        """Lower the words in capitals that a text begins with, up to the first that is not."""
        opening = list(takewhile(lambda match: match[0].isupper(), _WORD.finditer(text)))
        if not any(_is_capital(match[0]) for match in opening):
            return text
        least = 2 if len(opening) >= _OPENING_RUN else _LEAST_CHARS
        end = opening[-1].end()
        return _first_capital(_WORD.sub(lambda match: self._usual(match[0], least), text[:end])) + text[end:]

    def _usual(self, word: str, least_chars: int) -> str:
        """Return a word as the book writes it elsewhere, or else with one capital if it has `least_chars`."""
        if not _is_capital(word) or (_ROMAN.fullmatch(word) and word.lower() not in self._known):
            return word
        for written in (word.lower(), word.capitalize()):
            if written in self._known:
                return written
        return word.capitalize() if len(word) >= least_chars and word not in self._abbreviations else word


def _arabic(match: re.Match[str]) -> str:
    values = [_ROMAN_VALUES[letter] for letter in match[1]]
    return str(sum(-value if value < following else value for value, following in pairwise([*values, 0])))


def _is_capital(word: str) -> bool:
    return word.isupper() and len(word) > 1


def _first_capital(text: str) -> str:
    """Return the text with its first letter in capitals, and that of each of its lines."""
    return re.sub(r"(?m)^([^\w\n]*)(\w)", lambda match: match[1] + match[2].upper(), text)
