"""A long text in pieces that the model can speak in one go.

Cut at lines, sentences, clauses, spaces, in this order of preference; inside a word only where a single word
exceeds the whole budget. Each cut leaves the white space with the piece before it, so pieces add up to the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from f5_worker.text.normalize import Normalized, has_speech

WINDOW_S = 22.0  # reference and target together, as upstream allows (utils_infer.py, `max_chars`)
MIN_BUDGET_BYTES = 40  # a slow or long reference leaves room for less; shorter pieces sound chopped
MIN_FIRST_BYTES = 20  # of a first piece that is short on purpose, and of what it leaves

PAUSES_S = (0.6, 0.35, 0.2, 0.05, 0.0)  # after a piece that ends at a line, sentence, clause, space, character
LINE, SENTENCE, CLAUSE, CHARACTER = 0, 1, 2, 4

_CLOSERS = r"""["'”’»)\]}」』）】》]*"""
# A run of marks is looked at once, from its beginning: from each of its marks it would take quadratic time.
_SENTENCE = re.compile(rf"(?<![.!?…])[.!?…]+{_CLOSERS}\s+|[。！？।॥؟۔]+{_CLOSERS}\s*")
_CLAUSE = re.compile(rf"(?<![,;:،؛])[,;:،؛]+{_CLOSERS}\s+|[，；：、]+{_CLOSERS}\s*|\s-\s+")
_SPACE = re.compile(r"\s+")
_CJK = "[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]"
_SPACE_OR_CJK = re.compile(rf"\s+|{_CJK}(?!\s)")

# Full stops that do not end a sentence: titles, abbreviations, initials.
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st sr jr vs etc e.g i.e no vol fig al inc ltd co corp dept approx est gen col sgt capt "
    "lt rev hon z.b d.h bzw usw ca nr str u.a ggf p.s a.m p.m".split()
)
_INITIALS = re.compile(r"([^\W\d_]\.)*[A-ZÀ-ÞА-Я]")  # J, U.S
_ABBREVIATED = re.compile(r"""([^\s("'“‘\[]+)\.\s+$""")


@dataclass(frozen=True)
class Chunk:
    """One piece of text and the pause that belongs after it.

    positions: for each of its characters the index in the normalised text; of what was added, that of the
    character before it.
    """

    text: str
    pause_s: float
    positions: tuple[int, ...]


@dataclass(frozen=True)
class _Atom:
    """What is not cut further, white space behind it included; `rank` tells at what it ends (see PAUSES_S)."""

    text: str
    rank: int


def byte_budget(transcript_bytes: int, reference_s: float, speed: float) -> int:
    """Bytes of UTF-8 that fit into the model's window beside the reference, at the reference's pace.

    Upstream's formula, but never below MIN_BUDGET_BYTES.
    """
    room_s = max(0.0, WINDOW_S - reference_s)
    return max(MIN_BUDGET_BYTES, int(transcript_bytes / reference_s * room_s * speed))


def chunk(text: str, max_bytes: int, first_bytes: int | None = None) -> list[Chunk]:
    """Cut a normalised text into pieces of at most `max_bytes`; all its words are kept, in order.

    Args:
        first_bytes: length aimed at for the first piece, so that it can be heard early; it still ends at a
            clause or a sentence, and is as long as the others where there is none.
    """
    atoms = _spoken(_atoms(text, max_bytes, 0), max_bytes)
    groups = _balanced(_packed(atoms, max_bytes))
    if first_bytes is not None and (first := _early(text, first_bytes, max_bytes)):
        rest = _spoken(_atoms(text[len(_text(first)) :], max_bytes, 0), max_bytes)
        groups = [first, *_balanced(_packed(rest, max_bytes))]
    pieces, at = [], 0
    for group in groups:
        spoken = _as_spoken(group)
        positions = _positions(text, spoken, at)
        at = positions[-1] + 1
        pieces.append(Chunk(spoken, PAUSES_S[group[-1].rank], positions))
    return pieces


def origins(piece: Chunk, normalized: Normalized) -> tuple[tuple[int, int], ...]:
    """For each character of a piece its `(begin, end)` in the text as the caller sent it."""
    return tuple(normalized.origin[at] for at in piece.positions)


def _early(text: str, first_bytes: int, max_bytes: int) -> list[_Atom]:
    """The beginning of a text up to the last clause that ends within `first_bytes`, or the first that ends after."""
    taken: list[_Atom] = []
    best: list[_Atom] = []
    for atom in _atoms(text, first_bytes, 0):
        taken = [*taken, atom]
        size = _size(_text(taken))
        if size > max_bytes or (best and size > first_bytes):
            break
        if atom.rank <= CLAUSE and size >= MIN_FIRST_BYTES and has_speech(_text(taken)):
            best = taken
            if size > first_bytes:
                break
    rest = text[len(_text(best)) :]
    return best if has_speech(rest) and _size(rest) >= MIN_FIRST_BYTES else []


def _positions(text: str, spoken: str, at: int) -> tuple[int, ...]:
    """Where each character of a piece is in the text, from `at` on: in order, past white space and lone signs."""
    found: list[int] = []
    for char in spoken:
        if char.isspace():
            found.append(max(at - 1, 0))
            continue
        there = at
        while there < len(text) and text[there] != char and not text[there].isalnum():
            there += 1
        if there < len(text) and text[there] == char:
            at = there + 1
        found.append(max(at - 1, 0))
    return tuple(found)


def _as_spoken(group: list[_Atom]) -> str:
    """The text of a piece on one line; a title or a list's item inside it gets the full stop it is read with."""
    *inner, last = group
    texts = [_with_full_stop(atom.text) if atom.rank == LINE else atom.text for atom in inner]
    return " ".join("".join([*texts, last.text]).split())


def _with_full_stop(line: str) -> str:
    bare = line.rstrip()
    return f"{bare}. " if bare[-1:].isalnum() else line


def _atoms(text: str, max_bytes: int, rank: int) -> Iterator[_Atom]:
    """Sentences, and the parts of those that exceed the budget."""
    pieces = list(_SPLITTERS[rank](text))
    for piece in pieces:
        # The last piece of a text ends where the text itself ends, which ranks higher than a cut inside it.
        end = rank if rank == 0 or piece is not pieces[-1] else rank - 1
        if rank >= SENTENCE and (_size(piece) <= max_bytes or rank == CHARACTER):
            yield _Atom(piece, end)
            continue
        inner = list(_atoms(piece, max_bytes, rank + 1))
        yield from inner[:-1]
        yield _Atom(inner[-1].text, end)


def _cut(text: str, ends: Iterator[int]) -> Iterator[str]:
    begin = 0
    for end in ends:
        yield text[begin:end]
        begin = end
    if begin < len(text):
        yield text[begin:]


def _lines(text: str) -> Iterator[str]:
    return iter(text.splitlines(keepends=True))


def _sentences(text: str) -> Iterator[str]:
    """Abbreviations, initials and decimals do not end a sentence."""
    ends = (match.end() for match in _SENTENCE.finditer(text))
    return _cut(text, (end for end in ends if not is_abbreviated(text[max(0, end - 40) : end])))


def is_abbreviated(text: str) -> bool:
    match = _ABBREVIATED.search(text)
    if match is None:
        return False
    word = match[1]
    return word.lower() in _ABBREVIATIONS or _INITIALS.fullmatch(word) is not None


def _clauses(text: str) -> Iterator[str]:
    return _cut(text, (match.end() for match in _CLAUSE.finditer(text)))


def _words(text: str) -> Iterator[str]:
    return _cut(text, (match.end() for match in _SPACE_OR_CJK.finditer(text)))


def _characters(text: str) -> Iterator[str]:
    """Letters with the marks that combine with them."""
    return _cut(text, (end for end, after in enumerate(text[1:], 1) if not _combines(after)))


def _combines(character: str) -> bool:
    # By category: the combining class of many Indic and Thai vowel signs is 0.
    return unicodedata.category(character).startswith("M") or character in "\u200c\u200d" or character.isspace()


_SPLITTERS: tuple[Callable[[str], Iterator[str]], ...] = (_lines, _sentences, _clauses, _words, _characters)


def _spoken(atoms: Iterator[_Atom], max_bytes: int) -> list[_Atom]:
    """Signs without a letter beside them join a neighbour; the model would make up a sound for lone ones.

    They are kept, since "&", "%" and "5 €" are read aloud, unless no neighbour has room for them.
    """
    kept: list[_Atom] = []
    signs = ""
    for atom in atoms:
        if has_speech(atom.text):
            both = signs + atom.text
            kept.append(_Atom(both if _size(both) <= max_bytes else atom.text, atom.rank))
            signs = ""
        elif kept and not signs and _size(kept[-1].text + atom.text) <= max_bytes:
            kept[-1] = _Atom(kept[-1].text + atom.text, min(kept[-1].rank, atom.rank))
        else:
            if kept:
                kept[-1] = _Atom(kept[-1].text, min(kept[-1].rank, atom.rank))
            if _size(signs + atom.text) <= max_bytes:  # bounded, so that a long run of signs takes linear time
                signs += atom.text
    return kept


def _packed(atoms: list[_Atom], max_bytes: int) -> list[list[_Atom]]:
    """As many atoms together as fit, but rather a sentence less than the beginning of one more."""
    groups: list[list[_Atom]] = []
    group: list[_Atom] = []
    for atom in atoms:
        while group and _size(_text(group) + atom.text) > max_bytes:
            cut = _best_cut(group, max_bytes)
            groups.append(group[:cut])
            group = group[cut:]
        group.append(atom)
    return [*groups, group]


def _best_cut(group: list[_Atom], max_bytes: int) -> int:
    """After which atom to end a full group: the best kind of place that leaves it at least half full."""
    sizes = [_size(_text(group[:cut])) for cut in range(1, len(group) + 1)]
    cuts = [cut for cut, size in enumerate(sizes, 1) if 2 * size >= max_bytes] or [len(group)]
    return min(cuts, key=lambda cut: (group[cut - 1].rank, -cut))


def _balanced(groups: list[list[_Atom]]) -> list[list[_Atom]]:
    """The last two groups cut anew when the last is small: a short piece alone sounds hurried (F5-TTS #876)."""
    if len(groups) < 2 or _size(_text(groups[-1])) * 3 > _size(_text(groups[-2])):
        return groups
    atoms = groups[-2] + groups[-1]
    longest = _size(_text(groups[-2]))

    def unevenness(cut: int) -> tuple[int, int]:
        left, right = _size(_text(atoms[:cut])), _size(_text(atoms[cut:]))
        return (atoms[cut - 1].rank, abs(left - right))

    cuts = [cut for cut in range(1, len(atoms)) if _size(_text(atoms[cut:])) <= longest]
    best = min(cuts, key=unevenness, default=len(groups[-2]))
    return [*groups[:-2], atoms[:best], atoms[best:]]


def _text(atoms: list[_Atom]) -> str:
    return "".join(atom.text for atom in atoms)


def _size(text: str) -> int:
    return len(text.strip().encode())
