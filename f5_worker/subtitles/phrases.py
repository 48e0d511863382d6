"""A timeline cut into cues: which words stand together, on which lines, and how long they stay.

Cues and lines are both found by least cost over all places where they may end, as TeX breaks paragraphs
(Knuth and Plass, 1981). No cue reaches further than `max_lines` lines, so the time is linear in the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from f5_worker.alignment.timeline import Timeline
from f5_worker.schema.captions import MAX_CHARS_PER_LINE, SubtitleStyle
from f5_worker.subtitles.breaks import ends_clause, ends_sentence, inner_cuts, may_break, printable, width

# What a cut costs, in cues: nothing where a sentence ends, else a share of one more cue.
# Words as short as "the", "of", "und" mostly belong to what follows them, in many languages.
CUT_AT_CLAUSE, CUT_ANYWHERE, CUT_AFTER_SHORT_WORD = 0.3, 1.0, 1.5
SHORT_WORD_COLUMNS = 3
TOO_SHORT = 1.0
LINE, LINE_CUT = 10.0, 0.1  # a further line is dearer than any imbalance; a comma is worth a few letters of it


@dataclass(frozen=True)
class Atom:
    """What is never cut: a word, or a character of a script without spaces, with the signs that cling to it.

    columns: how wide it is. spaced: white space follows. pause_s: silence until the next atom.
    sentence: a sentence ends with it. words: `(first, last + 1)` of the timeline's words.
    """

    text: str
    columns: int
    start_s: float
    end_s: float
    spaced: bool
    pause_s: float
    sentence: bool
    words: tuple[int, int]


@dataclass(frozen=True)
class Phrase:
    """One cue: its lines, top to bottom, and when it is seen."""

    lines: tuple[tuple[Atom, ...], ...]
    start_s: float
    end_s: float

    @property
    def text(self) -> str:
        """On one line."""
        return joined(atom for line in self.lines for atom in line)

    @property
    def words(self) -> tuple[int, int]:
        """`(first, last + 1)` of the timeline's words."""
        return self.lines[0][0].words[0], self.lines[-1][-1].words[1]


def joined(atoms: Iterable[Atom]) -> str:
    return "".join(f"{atom.text} " if atom.spaced else atom.text for atom in atoms).rstrip()


def phrases(timeline: Timeline, style: SubtitleStyle, max_columns: int = MAX_CHARS_PER_LINE) -> list[Phrase]:
    """The cues of a timeline, in order: none overlaps the next, all lie inside the audio.

    Args:
        max_columns: length of a line where `style` does not say.
    """
    columns = style.max_chars_per_line or max_columns
    if style.mode == "word":
        by_word = ([_word_piece(timeline, index)] for index in range(len(timeline.words)))
        groups = [atoms for pieces in by_word if (atoms := _atoms(timeline, _split(timeline, pieces), columns))]
    else:
        groups = _groups(_atoms(timeline, _split(timeline, _all_pieces(timeline)), columns), style, columns)
    return _timed(groups, timeline, style, columns)


class _Piece(NamedTuple):
    """`text[begin:core]` is spoken; up to `end` follow white space and signs that nobody speaks."""

    begin: int
    core: int
    end: int
    start_s: float
    end_s: float
    word: int


def _word_piece(timeline: Timeline, index: int) -> _Piece:
    word = timeline.words[index]
    return _Piece(word.begin, word.end, word.end, word.start_s, word.end_s, index)


def _all_pieces(timeline: Timeline) -> list[_Piece]:
    """The whole text: what stands between two words goes with the first of them."""
    pieces = [_word_piece(timeline, index) for index in range(len(timeline.words))]
    ends = [*(piece.begin for piece in pieces[1:]), len(timeline.text)]
    whole = [piece._replace(end=end) for piece, end in zip(pieces, ends, strict=False)]
    return [piece if index else piece._replace(begin=0) for index, piece in enumerate(whole)]


def _split(timeline: Timeline, pieces: Iterable[_Piece]) -> Iterator[_Piece]:
    """Words of scripts without spaces in their characters, each with its own time."""
    for piece in pieces:
        cuts = inner_cuts(timeline.text, piece.begin, piece.core)
        if not cuts:
            yield piece
            continue
        for begin, end in pairwise([piece.begin, *cuts, piece.core]):
            last = end == piece.core
            yield _Piece(
                begin,
                end,
                piece.end if last else end,
                piece.start_s if begin == piece.begin else timeline.characters[begin][0],
                piece.end_s if last else timeline.characters[end - 1][1],
                piece.word,
            )


def _atoms(timeline: Timeline, pieces: Iterable[_Piece], columns: int) -> list[Atom]:
    """Pieces that no line may part, as one; unless a line has no room for them together."""
    text = timeline.text
    whole: list[_Piece] = []
    first_words: list[int] = []
    for piece in pieces:
        if whole and not _parted(text, whole[-1], piece, columns):
            whole[-1] = piece._replace(begin=whole[-1].begin, start_s=whole[-1].start_s)
        else:
            whole.append(piece)
            first_words.append(piece.word)
    starts_s = [*(piece.start_s for piece in whole[1:]), timeline.duration_s]
    atoms = [
        Atom(
            text=shown,
            columns=width(shown),
            start_s=piece.start_s,
            end_s=piece.end_s,
            spaced=text[piece.end - 1].isspace(),
            pause_s=next_s - piece.end_s,
            sentence=ends_sentence(text, piece.end),
            words=(first, piece.word + 1),
        )
        for piece, first, next_s in zip(whole, first_words, starts_s, strict=False)
        if (shown := printable(text[piece.begin : piece.end]))
    ]
    return atoms


def _parted(text: str, left: _Piece, right: _Piece, columns: int) -> bool:
    if may_break(text[left.begin : left.core], text[left.core : right.begin], text[right.begin : right.core]):
        return True
    return width(printable(text[left.begin : right.core])) > columns


def _groups(atoms: Sequence[Atom], style: SubtitleStyle, columns: int) -> list[list[Atom]]:
    """The atoms of each cue: few cues, evenly filled, cut where the text or the voice pauses."""
    must_end = _must_end(atoms, style)
    cut_costs = [_cut_cost(atom, style) for atom in atoms]
    room = style.max_lines * columns

    def cues(first: int) -> Iterator[tuple[int, float]]:
        lines, column, total, start_s = 1, 0, 0, atoms[first].start_s
        for index in range(first, len(atoms)):
            atom = atoms[index]
            space = int(index > first and atoms[index - 1].spaced)
            fits = not column or column + space + atom.columns <= columns
            lines, column = (lines, column + space + atom.columns) if fits else (lines + 1, atom.columns)
            total += space + atom.columns
            if index > first and (lines > style.max_lines or atom.end_s - start_s > style.max_duration_s):
                return
            if must_end[index]:
                yield index + 1, 1 + (1 - total / room) ** 2
                return
            hurried = TOO_SHORT * (atom.end_s + atom.pause_s - start_s < style.min_duration_s)
            yield index + 1, 1 + (1 - total / room) ** 2 + cut_costs[index] + hurried

    return [list(atoms[begin:end]) for begin, end in _cheapest(len(atoms), cues)]


def _must_end(atoms: Sequence[Atom], style: SubtitleStyle) -> list[bool]:
    """After which atoms a cue ends in any case: at a long pause, and with a sentence that leaves time to be read."""
    ends = []
    start_s: float | None = None
    for atom in atoms:
        start_s = atom.start_s if start_s is None else start_s
        readable = atom.end_s + atom.pause_s - start_s >= style.min_duration_s + style.min_gap_s
        ends.append(atom.pause_s >= style.new_cue_pause_s or (atom.sentence and readable))
        start_s = None if ends[-1] else start_s
    return [*ends[:-1], True]


def _cut_cost(atom: Atom, style: SubtitleStyle) -> float:
    """Less where the voice pauses."""
    return _textual_cost(atom) * (1 - min(1.0, max(0.0, atom.pause_s) / style.new_cue_pause_s))


def _textual_cost(atom: Atom) -> float:
    if atom.sentence:
        return 0.0
    if ends_clause(atom.text):
        return CUT_AT_CLAUSE
    return CUT_AFTER_SHORT_WORD if atom.spaced and atom.columns <= SHORT_WORD_COLUMNS else CUT_ANYWHERE


def _lines(atoms: Sequence[Atom], columns: int) -> tuple[tuple[Atom, ...], ...]:
    """As few lines as hold the atoms, about equally long, rather cut at a comma."""
    cut_costs = [*(LINE_CUT * _textual_cost(atom) for atom in atoms[:-1]), 0.0]

    def lines(first: int) -> Iterator[tuple[int, float]]:
        total = 0
        for index in range(first, len(atoms)):
            total += atoms[index].columns + int(index > first and atoms[index - 1].spaced)
            if index > first and total > columns:
                return
            yield index + 1, LINE + (1 - total / columns) ** 2 + cut_costs[index]

    return tuple(tuple(atoms[begin:end]) for begin, end in _cheapest(len(atoms), lines))


def _cheapest(n: int, pieces: Callable[[int], Iterator[tuple[int, float]]]) -> list[tuple[int, int]]:
    """The cheapest way to cut `range(n)`; `pieces(begin)` gives `(end, cost)` of each piece that may begin there."""
    cost = [0.0] * (n + 1)
    end_of = [0] * n
    for begin in range(n - 1, -1, -1):
        cost[begin], end_of[begin] = min((price + cost[end], end) for end, price in pieces(begin))
    cuts = []
    begin = 0
    while begin < n:
        cuts.append((begin, end_of[begin]))
        begin = end_of[begin]
    return cuts


def _timed(groups: Sequence[Sequence[Atom]], timeline: Timeline, style: SubtitleStyle, columns: int) -> list[Phrase]:
    """Each group from its first sound on: as long as it is heard, longer where it could not be read in that time."""
    found = []
    for index, group in enumerate(groups):
        start_s, heard_s = group[0].start_s, group[-1].end_s
        if index + 1 == len(groups):
            latest_s = max(timeline.duration_s, start_s)
        else:
            # Where words follow too fast for the gap, it takes at most half of the last one.
            next_s = groups[index + 1][0].start_s
            gap_s = style.min_gap_s if style.mode == "phrase" else 0.0
            latest_s = max(next_s - gap_s, (group[-1].start_s + next_s) / 2)
        end_s = heard_s
        if style.mode == "phrase":
            read_s = (sum(atom.columns + atom.spaced for atom in group) - group[-1].spaced) / style.max_chars_per_s
            end_s = max(heard_s, start_s + min(max(read_s, style.min_duration_s), style.max_duration_s))
        if latest_s - end_s <= style.fill_gaps_s:
            end_s = latest_s
        if style.mode == "phrase":
            end_s = min(end_s, start_s + style.max_duration_s)
        found.append(Phrase(_lines(group, columns), start_s, end_s))
    return found
