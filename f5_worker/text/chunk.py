"""Split a long text into chunks that the model can speak in one segment.

Cut at lines, sentences, clauses, spaces, in this order of preference; inside a word only where a single word
exceeds the whole budget. Each cut leaves the white space with the part before it, so the parts add up to the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from f5_worker.text.normalize import has_speech
from f5_worker.text.scripts import CUT_AFTER, WORD_JOINERS
from f5_worker.text.sentences import clause_ends, ends_with_full_stop, ends_with_pause_mark, sentence_ends
from f5_worker.text.spans import SourceMappedText, Span

WINDOW_S = 22.0  # reference and target together, as upstream allows (utils_infer.py, `max_chars`)
MIN_BUDGET_BYTES = 40  # a slow or long reference leaves room for less; shorter chunks sound chopped
MIN_FIRST_BYTES = 20  # of a first chunk that is short on purpose, and of what it leaves

PAUSES_S = (0.6, 0.35, 0.2, 0.05, 0.0)  # after a chunk that ends at a line, sentence, clause, space, character
_CERTAIN = 2.1  # times the budget: of a text that long, the first chunk is certain
LINE, SENTENCE, CLAUSE, SPACE, CHARACTER = 0, 1, 2, 3, 4  # ranks: indices of PAUSES_S and of _SPLITTERS

_SPACE_OR_CJK = re.compile(rf"\s+|[{CUT_AFTER}](?!\s)")


@dataclass(frozen=True)
class Chunk:
    """A part of a text that is spoken as one segment, and the pause after it.

    positions: for each of its characters the index in the normalized text; of what was added, that of the
    character before it.
    """

    text: str
    pause_s: float
    positions: tuple[int, ...]


@dataclass(frozen=True)
class _Atom:
    """A part that is not cut further, white space behind it included; `rank` says at what it ends (see PAUSES_S)."""

    text: str
    rank: int


def byte_budget(transcript_bytes: int, reference_s: float, speed: float) -> int:
    """Return how many bytes of UTF-8 fit into the model's window with the reference, at the reference's pace.

    Upstream's formula, but never below MIN_BUDGET_BYTES.
    """
    left_s = max(0.0, WINDOW_S - reference_s)
    return max(MIN_BUDGET_BYTES, int(transcript_bytes / reference_s * left_s * speed))


def chunk(
    text: str, max_bytes: int, first_bytes: int | None = None, *, one_sentence: bool = False, end_rank: int = LINE
) -> list[Chunk]:
    """Split a normalized text into chunks of at most `max_bytes`; all its words are kept, in order.

    Args:
        first_bytes: length aimed at for the first chunk, so that it can be heard early; it still ends at a
            clause or a sentence, and is as long as the others where there is none.
        one_sentence: a chunk ends with its sentence.
        end_rank: of what the text itself ends with.
    """
    groups = _groups(text, max_bytes, one_sentence)
    if first_bytes is not None and (first := _first_group(text, first_bytes, max_bytes)):
        groups = [first, *_groups(text[len(_text(first)) :], max_bytes, one_sentence)]
    chunks, at = [], 0
    for group in groups:
        spoken = _chunk_text(group)
        positions = _positions(text, spoken, at)
        at = positions[-1] + 1
        rank = max(group[-1].rank, end_rank) if group is groups[-1] else group[-1].rank
        chunks.append(Chunk(spoken, PAUSES_S[rank], positions))
    return chunks


def chunk_sentences(
    sentences: Iterable[SourceMappedText],
    max_bytes: int,
    first_bytes: int | None = None,
    *,
    one_sentence: bool = False,
    end_rank: int = LINE,
) -> Iterator[tuple[Chunk, tuple[Span, ...]]]:
    """Yield the chunks of a text, and their origins, as its sentences become known.

    They are those of `chunk`: each is yielded when what follows cannot change it.
    """
    known, n_bytes = list[SourceMappedText](), 0
    for sentence in sentences:
        known.append(sentence)
        n_bytes += len(sentence.text.encode())
        if n_bytes <= _CERTAIN * max_bytes:
            continue
        text = SourceMappedText.join(known)
        pieces = chunk(text.text, max_bytes, first_bytes, one_sentence=one_sentence)
        certain = pieces[:-2]
        yield from ((piece, origins(piece, text)) for piece in certain)
        if certain:
            first_bytes = None
            rest = text.part(certain[-1].positions[-1] + 1, len(text.text))
            known, n_bytes = [rest], len(rest.text.encode())
    text = SourceMappedText.join(known)
    for piece in chunk(text.text, max_bytes, first_bytes, one_sentence=one_sentence, end_rank=end_rank):
        yield piece, origins(piece, text)


def rank_of_end(text: str) -> int:
    """Return the rank of what a text ends with that another one follows: an index of PAUSES_S."""
    bare = text.rstrip()
    if "\n" in text[len(bare) :]:
        return LINE
    if ends_with_full_stop(bare):
        return SENTENCE
    return CLAUSE if ends_with_pause_mark(bare) else SPACE


def origins(chunk: Chunk, normalized: SourceMappedText) -> tuple[tuple[int, int], ...]:
    """Return for each character of a chunk its `(begin, end)` in the text as the caller sent it."""
    return tuple(normalized.origin[at] for at in chunk.positions)


def _groups(text: str, max_bytes: int, one_sentence: bool) -> list[list[_Atom]]:
    """Return the atoms of each chunk."""
    atoms = _merge_unspoken(_atoms(text, max_bytes, LINE), max_bytes)
    if not one_sentence:
        return _balance_last(_pack(atoms, max_bytes))
    ends = [index for index, atom in enumerate(atoms, 1) if atom.rank <= SENTENCE]
    sentences = (atoms[begin:end] for begin, end in pairwise([0, *ends]))
    return [group for sentence in sentences for group in _balance_last(_pack(sentence, max_bytes))]


def _first_group(text: str, first_bytes: int, max_bytes: int) -> list[_Atom]:
    """Return a text's beginning up to the last clause that ends within `first_bytes`, or the first that ends after."""
    taken: list[_Atom] = []
    best: list[_Atom] = []
    for atom in _atoms(text, first_bytes, LINE):
        taken = [*taken, atom]
        size = _size_bytes(_text(taken))
        if size > max_bytes or (best and size > first_bytes):
            break
        if atom.rank <= CLAUSE and size >= MIN_FIRST_BYTES and has_speech(_text(taken)):
            best = taken
            if size > first_bytes:
                break
    rest = text[len(_text(best)) :]
    return best if has_speech(rest) and _size_bytes(rest) >= MIN_FIRST_BYTES else []


def _positions(text: str, spoken: str, at: int) -> tuple[int, ...]:
    """Return where each character of a chunk is in the text, from `at` on: in order, skipping spaces and lone signs."""
    found: list[int] = []
    for char in spoken:
        if char.isspace():
            found.append(max(at - 1, 0))
            continue
        index = at
        while index < len(text) and text[index] != char and not text[index].isalnum():
            index += 1
        if index < len(text) and text[index] == char:
            at = index + 1
        found.append(max(at - 1, 0))
    return tuple(found)


def _chunk_text(group: list[_Atom]) -> str:
    """Return a chunk's text on one line; a title or a list's item inside it gets the full stop it is read with."""
    *inner, last = group
    texts = [_with_full_stop(atom.text) if atom.rank == LINE else atom.text for atom in inner]
    return " ".join("".join([*texts, last.text]).split())


def _with_full_stop(line: str) -> str:
    bare = line.rstrip()
    return f"{bare}. " if bare[-1:].isalnum() else line


def _atoms(text: str, max_bytes: int, rank: int) -> Iterator[_Atom]:
    """Yield sentences, and the parts of those that exceed the budget."""
    parts = list(_SPLITTERS[rank](text))
    for part in parts:
        # The last part of a text ends where the text itself ends, which ranks higher than a cut inside it.
        end_rank = rank if rank == LINE or part is not parts[-1] else rank - 1
        if rank >= SENTENCE and (_size_bytes(part) <= max_bytes or rank == CHARACTER):
            yield _Atom(part, end_rank)
            continue
        inner = list(_atoms(part, max_bytes, rank + 1))
        yield from inner[:-1]
        yield _Atom(inner[-1].text, end_rank)


def _cut(text: str, ends: Iterable[int]) -> Iterator[str]:
    begin = 0
    for end in ends:
        yield text[begin:end]
        begin = end
    if begin < len(text):
        yield text[begin:]


def _lines(text: str) -> Iterator[str]:
    return iter(text.splitlines(keepends=True))


def _sentences(text: str) -> Iterator[str]:
    return _cut(text, sentence_ends(text))


def _clauses(text: str) -> Iterator[str]:
    return _cut(text, clause_ends(text))


def _words(text: str) -> Iterator[str]:
    return _cut(text, (match.end() for match in _SPACE_OR_CJK.finditer(text)))


def _characters(text: str) -> Iterator[str]:
    """Yield letters with the marks that combine with them."""
    return _cut(text, (end for end, after in enumerate(text[1:], 1) if not _combines(after)))


def _combines(char: str) -> bool:
    # By category: the combining class of many Indic and Thai vowel signs is 0.
    return unicodedata.category(char).startswith("M") or char in WORD_JOINERS or char.isspace()


_SPLITTERS: Sequence[Callable[[str], Iterator[str]]] = (_lines, _sentences, _clauses, _words, _characters)


def _merge_unspoken(atoms: Iterable[_Atom], max_bytes: int) -> list[_Atom]:
    """Join signs without a letter to a neighbour; the model would make up a sound for lone ones.

    They are kept, since "&", "%" and "5 €" are read aloud, unless they fit into neither neighbour's budget.
    """
    kept: list[_Atom] = []
    signs = ""
    for atom in atoms:
        if has_speech(atom.text):
            both = signs + atom.text
            kept.append(_Atom(both if _size_bytes(both) <= max_bytes else atom.text, atom.rank))
            signs = ""
        elif kept and not signs and _size_bytes(kept[-1].text + atom.text) <= max_bytes:
            kept[-1] = _Atom(kept[-1].text + atom.text, min(kept[-1].rank, atom.rank))
        else:
            if kept:
                kept[-1] = _Atom(kept[-1].text, min(kept[-1].rank, atom.rank))
            if _size_bytes(signs + atom.text) <= max_bytes:  # bounded, so that a long run of signs takes linear time
                signs += atom.text
    return kept


def _pack(atoms: list[_Atom], max_bytes: int) -> list[list[_Atom]]:
    """Put as many atoms together as fit, but prefer one sentence less to the beginning of one more."""
    groups: list[list[_Atom]] = []
    group: list[_Atom] = []
    for atom in atoms:
        while group and _size_bytes(_text(group) + atom.text) > max_bytes:
            cut = _best_cut(group, max_bytes)
            groups.append(group[:cut])
            group = group[cut:]
        group.append(atom)
    return [*groups, group]


def _best_cut(group: list[_Atom], max_bytes: int) -> int:
    """Return after how many atoms to end a full group: the highest rank that leaves it at least half full."""
    sizes = [_size_bytes(_text(group[:cut])) for cut in range(1, len(group) + 1)]
    cuts = [cut for cut, size in enumerate(sizes, 1) if 2 * size >= max_bytes] or [len(group)]
    return min(cuts, key=lambda cut: (group[cut - 1].rank, -cut))


def _balance_last(groups: list[list[_Atom]]) -> list[list[_Atom]]:
    """Divide the last two groups again when the last is small: a short chunk alone sounds hurried (F5-TTS #876)."""
    if len(groups) < 2 or _size_bytes(_text(groups[-1])) * 3 > _size_bytes(_text(groups[-2])):
        return groups
    atoms = groups[-2] + groups[-1]
    longest = _size_bytes(_text(groups[-2]))

    def unevenness(cut: int) -> tuple[int, int]:
        left, right = _size_bytes(_text(atoms[:cut])), _size_bytes(_text(atoms[cut:]))
        return (atoms[cut - 1].rank, abs(left - right))

    cuts = [cut for cut in range(1, len(atoms)) if _size_bytes(_text(atoms[cut:])) <= longest]
    best = min(cuts, key=unevenness, default=len(groups[-2]))
    return [*groups[:-2], atoms[:best], atoms[best:]]


def _text(atoms: list[_Atom]) -> str:
    return "".join(atom.text for atom in atoms)


def _size_bytes(text: str) -> int:
    return len(text.strip().encode())
