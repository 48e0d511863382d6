"""Words that are said otherwise than they are written: names that a voice reads wrongly."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from f5_worker.text.normalize import plain_text
from f5_worker.text.scripts import UNSPACED, is_unspaced
from f5_worker.text.spans import SourceMappedText

# A letter of a script without spaces, a word, or one sign.
_WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+|[^\w\s]|_")


@dataclass(frozen=True)
class Pronunciation:
    """The pronunciation of a word, or of several in a row.

    Attributes:
        language: ISO 639-1; None for all.
        voice: name of the only voice that says so; None for all.
        case_sensitive: `US` and not `us`.
    """

    written: str
    spoken: str
    language: str | None = None
    voice: str | None = None
    case_sensitive: bool = False


def of_voice(entries: Iterable[Pronunciation], voice: str) -> tuple[Pronunciation, ...]:
    """Return the entries that apply to a voice, in their order."""
    return tuple(entry for entry in entries if entry.voice is None or entry.voice == voice)


def apply_pronunciations(text: SourceMappedText, entries: Sequence[Pronunciation], language: str) -> SourceMappedText:
    """Replace the words of those entries that are for a language: whole words only, the longest first.

    Of entries for the same words the first counts.
    """
    chosen = tuple(entry for entry in entries if entry.language in (None, language))
    return text.replace(_changes(text.text, chosen)) if chosen else text


def _changes(text: str, entries: tuple[Pronunciation, ...]) -> Iterator[tuple[int, int, str]]:
    table, line, last = _by_first_word(entries), text.replace("\n", " "), 0
    for word in _WORD.finditer(text):
        begin = word.start()
        if begin < last:
            continue
        for written, entry in table.get(word[0].casefold(), ()):
            end = begin + len(written)
            found = line[begin:end]
            is_same = found == written if entry.case_sensitive else found.casefold() == written.casefold()
            if is_same and not (_is_inside_word(text[end - 1]) and _is_inside_word(text[end : end + 1])):
                yield begin, end, entry.spoken
                last = end
                break


@functools.lru_cache(64)
def _by_first_word(entries: tuple[Pronunciation, ...]) -> dict[str, list[tuple[str, Pronunciation]]]:
    """Return what is written and its entry by the first word, in small letters; the longest first."""
    table: dict[str, list[tuple[str, Pronunciation]]] = {}
    for entry in entries:
        written = " ".join(plain_text(SourceMappedText.of(entry.written)).text.split())
        if first := _WORD.match(written):
            table.setdefault(first[0].casefold(), []).append((written, entry))
    for found in table.values():
        found.sort(key=lambda item: len(item[0]), reverse=True)  # stable: of the same words the first counts
    return table


def _is_inside_word(char: str) -> bool:
    """Return True for a character between two of which no word ends."""
    return char.isalnum() and not is_unspaced(char)
