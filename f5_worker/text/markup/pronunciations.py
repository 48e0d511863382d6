"""Words that are said otherwise than they are written: names that a voice reads wrongly."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from f5_worker.text.scripts import is_unspaced
from f5_worker.text.spans import SourceMappedText


@dataclass(frozen=True)
class Pronunciation:
    """How a word, or several in a row, is said.

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
    pattern, ordered = _compiled(entries)
    for match in pattern.finditer(text):
        yield match.start(), match.end(), ordered[int(match.lastgroup[1:])].spoken if match.lastgroup else match[0]


@functools.lru_cache(64)
def _compiled(entries: tuple[Pronunciation, ...]) -> tuple[re.Pattern[str], tuple[Pronunciation, ...]]:
    """Return a pattern whose groups are the entries, and these in the order of the groups."""
    ordered = tuple(sorted(entries, key=lambda entry: len(entry.written), reverse=True))  # stable: the first counts
    return re.compile("|".join(_alternative(index, entry) for index, entry in enumerate(ordered))), ordered


def _alternative(index: int, entry: Pronunciation) -> str:
    words = r"\s+".join(map(re.escape, entry.written.split()))
    flags = "" if entry.case_sensitive else "i:"
    before = r"(?<![^\W_])" if _has_edges(entry.written.strip()[0]) else ""
    after = r"(?![^\W_])" if _has_edges(entry.written.strip()[-1]) else ""
    return f"{before}(?P<e{index}>{f'(?{flags}{words})' if flags else words}){after}"


def _has_edges(char: str) -> bool:
    """Return True for a character before and after which a word may end only where there is no letter."""
    return char.isalnum() and not is_unspaced(char)
