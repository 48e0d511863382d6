"""Sentences of books whose copyright has expired: narrative, argument, archaic words, speech in quotes.

Takes plain text files with paragraphs between empty lines, as packages of such books have them, and leaves out what
shares six words in a row with a file of sentences that must not be trained on.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

VOCAB = " " + string.ascii_letters + string.digits + ",.;:!?'-\"()"
FRENCH = VOCAB + "àâäæçèéêëîïôöùûüÿœÀÂÄÆÇÈÉÊËÎÏÔÖÙÛÜŒ«»"  # appended, so that every token keeps its number
VOCABS = {"en-us": VOCAB, "fr": FRENCH}  # by espeak's name of the language
SHARED_WORDS = 6
_END = re.compile(r"(?<=[.?!])(?<!\bMr\.)(?<!\bMrs\.)(?<!\bDr\.)(?<!\bSt\.)(?<!\bMiss\.)\"?\s+(?=[\"'A-Z])")
_PLAIN_NAMES = (("Mr.", "Mister"), ("Mrs.", "Missus"), ("Dr.", "Doctor"), ("St.", "Saint"))
_BAD = re.compile(r"[A-Z]{3}|\d|[_*\[\]()@/]|\b(CHAPTER|Chapter|Etext|Gutenberg|ACT|SCENE)\b|\b[IVXL]{2,}\b|\be\.g|&")


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a book of 3 to 34 words in characters that the model has, in order and each once."""
    found: dict[str, None] = {}
    for paragraph in re.split(r"\n\s*\n", text.replace("\r", "")):
        flat = " ".join(paragraph.split()).replace("''", '"').replace("`", "'").replace("_", "")
        for short, long in _PLAIN_NAMES:
            flat = flat.replace(short, long)
        flat = re.sub(r"\s*-{2,}\s*", ", ", flat)
        for part in _END.split(flat):
            sentence = _tidy(part)
            if sentence and 3 <= len(sentence.split()) <= 34:
                found[sentence] = None
    return list(found)


def _tidy(part: str) -> str | None:
    part = re.sub(r"(?<=[.;:!?]),", "", re.sub(r",\s*(?=[,.;:!?])", "", part))
    text = " ".join(part.split()).strip(" ,;:-")
    if text.count('"') % 2:
        text = text.replace('"', "")
    if (
        not text
        or _BAD.search(text)
        or set(text) - set(VOCAB)
        or text[-1] not in '.?!"'
        or not text[0].isalpha() | (text[0] == '"')
    ):
        return None
    return text if len(text) <= 210 and not re.search(r"[.?!][\"']?\s.*[.?!][\"']?\s", text) else None


def distinct(make: Callable[[], str], count: int, accepts: Callable[[str], bool]) -> Iterator[str]:
    """Yield `count` different texts of those that `make` returns and `accepts` takes."""
    seen: set[str] = set()
    while len(seen) < count:
        text = make()
        if text not in seen and accepts(text):
            seen.add(text)
            yield text


def shingles(lines: Iterable[str]) -> set[tuple[str, ...]]:
    """Return every run of six words in some lines."""
    found = set()
    for line in lines:
        words = re.findall(r"[a-z']+", line.lower())
        found.update(tuple(words[i : i + SHARED_WORDS]) for i in range(len(words) - SHARED_WORDS + 1))
    return found


def read_books(paths: Iterable[Path], excluded: set[tuple[str, ...]]) -> list[str]:
    """Return the sentences of some books, without those that share six words in a row with `excluded`."""
    texts = [path.read_text("utf-8", "replace") for path in paths]
    return [s for text in texts for s in sentences_of(text) if not shingles([s]) & excluded]
