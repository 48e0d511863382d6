"""Cut a timeline into cues: which words are shown together, on which lines, and for how long.

Cues and lines are both chosen by the least total cost over all places where they may end, as TeX breaks paragraphs
(Knuth and Plass, 1981). No cue extends beyond `max_lines` lines, so the time is linear in the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from f5_worker.alignment.timeline import Timeline
from f5_worker.schema.captions import MAX_CHARS_PER_LINE, SubtitleStyle
from f5_worker.subtitles.breaks import can_break, display_width, inner_breaks, single_line
from f5_worker.text.sentences import ends_with_clause_mark, sentence_ends_before

# Cost of a cue boundary, in cues: 0 where a sentence ends, else a fraction of one more cue.
# Words as short as "the", "of", "und" mostly belong to the words after them, in many languages.
CLAUSE_BREAK_COST, BREAK_COST, SHORT_WORD_BREAK_COST = 0.3, 1.0, 1.5
SHORT_WORD_COLUMNS = 3
TOO_SHORT_COST = 1.0  # of a cue that cannot stay on for min_duration_s
# A further line costs more than any imbalance; a comma makes up for a few letters of imbalance.
LINE_COST, LINE_BREAK_FACTOR = 10.0, 0.1


@dataclass(frozen=True)
class TextUnit:
    """Text that is never broken: a word, or a character of a script without spaces, with its punctuation.

    Attributes:
        text: on one line, without control characters.
        columns: display width.
        space_after: white space follows it in the text.
        pause_s: silence until the next unit.
        ends_sentence: a sentence ends with it.
        word_range: `(first, last + 1)` of the timeline's words.
        speaker: who says it; None where nothing says so.
    """

    text: str
    columns: int
    start_s: float
    end_s: float
    space_after: bool
    pause_s: float
    ends_sentence: bool
    word_range: tuple[int, int]
    speaker: str | None = None


@dataclass(frozen=True)
class SubtitleCue:
    """A cue to write: its lines from top to bottom, and the time for which it is shown."""

    lines: tuple[tuple[TextUnit, ...], ...]
    start_s: float
    end_s: float

    @property
    def text(self) -> str:
        """The whole cue on one line."""
        return join_units(unit for line in self.lines for unit in line)

    @property
    def speaker(self) -> str | None:
        """Who speaks; None where nothing says so."""
        return self.lines[0][0].speaker

    @property
    def word_range(self) -> tuple[int, int]:
        """`(first, last + 1)` of the timeline's words."""
        return self.lines[0][0].word_range[0], self.lines[-1][-1].word_range[1]


def join_units(units: Iterable[TextUnit]) -> str:
    """Return the text of units in a row, with the spaces between them."""
    return "".join(f"{unit.text} " if unit.space_after else unit.text for unit in units).rstrip()


def build_cues(timeline: Timeline, style: SubtitleStyle, max_columns: int = MAX_CHARS_PER_LINE) -> list[SubtitleCue]:
    """Return the cues of a timeline, in order: none overlaps the next, all are inside the audio.

    Args:
        max_columns: length of a line if `style` does not set it.
    """
    columns = style.max_chars_per_line or max_columns
    if style.mode == "word":
        by_word = ([_word_span(timeline, index)] for index in range(len(timeline.words)))
        groups = [units for spans in by_word if (units := _units(timeline, _split_unspaced(timeline, spans), columns))]
    else:
        spans = _split_unspaced(timeline, _all_spans(timeline))
        groups = _group_into_cues(_units(timeline, spans, columns), style, columns)
    return _with_times(groups, timeline, style, columns)


class _Span(NamedTuple):
    """`text[begin:spoken_end]` is spoken; up to `end` follow white space and symbols that are not spoken."""

    begin: int
    spoken_end: int
    end: int
    start_s: float
    end_s: float
    word: int


def _word_span(timeline: Timeline, index: int) -> _Span:
    word = timeline.words[index]
    return _Span(word.begin, word.end, word.end, word.start_s, word.end_s, index)


def _all_spans(timeline: Timeline) -> list[_Span]:
    """Cover the whole text: what is between two words belongs to the first of them."""
    spans = [_word_span(timeline, index) for index in range(len(timeline.words))]
    ends = [*(span.begin for span in spans[1:]), len(timeline.text)]
    covering = [span._replace(end=end) for span, end in zip(spans, ends, strict=False)]
    return [span if index else span._replace(begin=0) for index, span in enumerate(covering)]


def _split_unspaced(timeline: Timeline, spans: Iterable[_Span]) -> Iterator[_Span]:
    """Split words of scripts without spaces into characters, each with its own time."""
    for span in spans:
        breaks = inner_breaks(timeline.text, span.begin, span.spoken_end)
        if not breaks:
            yield span
            continue
        for begin, end in pairwise([span.begin, *breaks, span.spoken_end]):
            is_last = end == span.spoken_end
            yield _Span(
                begin,
                end,
                span.end if is_last else end,
                span.start_s if begin == span.begin else timeline.characters[begin][0],
                span.end_s if is_last else timeline.characters[end - 1][1],
                span.word,
            )


def _units(timeline: Timeline, spans: Iterable[_Span], columns: int) -> list[TextUnit]:
    """Join spans that no line may separate, unless together they are too long for a line."""
    text = timeline.text
    merged: list[_Span] = []
    first_words: list[int] = []
    speakers: list[str | None] = []
    for span in spans:
        speaker = timeline.speaker_at(span.begin)
        if merged and speaker == speakers[-1] and not _is_separable(text, merged[-1], span, columns):
            merged[-1] = span._replace(begin=merged[-1].begin, start_s=merged[-1].start_s)
        else:
            merged.append(span)
            first_words.append(span.word)
            speakers.append(speaker)
    next_starts_s = [*(span.start_s for span in merged[1:]), timeline.duration_s]
    return [
        TextUnit(
            text=unit_text,
            columns=display_width(unit_text),
            start_s=span.start_s,
            end_s=span.end_s,
            space_after=text[span.end - 1].isspace(),
            pause_s=next_s - span.end_s,
            ends_sentence=sentence_ends_before(text, span.end),
            word_range=(first_word, span.word + 1),
            speaker=speaker,
        )
        for span, first_word, speaker, next_s in zip(merged, first_words, speakers, next_starts_s, strict=False)
        if (unit_text := single_line(text[span.begin : span.end]))
    ]


def _is_separable(text: str, left: _Span, right: _Span, columns: int) -> bool:
    between = text[left.spoken_end : right.begin]
    if can_break(text[left.begin : left.spoken_end], between, text[right.begin : right.spoken_end]):
        return True
    return display_width(single_line(text[left.begin : right.spoken_end])) > columns


def _group_into_cues(units: Sequence[TextUnit], style: SubtitleStyle, columns: int) -> list[list[TextUnit]]:
    """Return the units of each cue: few cues, evenly filled, that end where the text or the voice pauses."""
    must_end = _must_end(units, style)
    break_costs = [_cue_break_cost(unit, style) for unit in units]
    cue_columns = style.max_lines * columns

    def possible_cues(first: int) -> Iterator[tuple[int, float]]:
        lines, column, total, start_s = 1, 0, 0, units[first].start_s
        for index in range(first, len(units)):
            unit = units[index]
            space = int(index > first and units[index - 1].space_after)
            fits = not column or column + space + unit.columns <= columns
            lines, column = (lines, column + space + unit.columns) if fits else (lines + 1, unit.columns)
            total += space + unit.columns
            if index > first and (lines > style.max_lines or unit.end_s - start_s > style.max_duration_s):
                return
            if must_end[index]:
                yield index + 1, 1 + (1 - total / cue_columns) ** 2
                return
            too_short = TOO_SHORT_COST * (unit.end_s + unit.pause_s - start_s < style.min_duration_s)
            yield index + 1, 1 + (1 - total / cue_columns) ** 2 + break_costs[index] + too_short

    return [list(units[begin:end]) for begin, end in _cheapest_partition(len(units), possible_cues)]


def _must_end(units: Sequence[TextUnit], style: SubtitleStyle) -> list[bool]:
    """Return whether a cue has to end after each unit.

    It does at a long pause, where another speaker follows, and with a sentence that leaves time to be read.
    """
    ends = []
    start_s: float | None = None
    for index, unit in enumerate(units):
        start_s = unit.start_s if start_s is None else start_s
        is_readable = unit.end_s + unit.pause_s - start_s >= style.min_duration_s + style.min_gap_s
        ends_turn = any(after.speaker != unit.speaker for after in units[index + 1 : index + 2])
        ends.append(ends_turn or unit.pause_s >= style.new_cue_pause_s or (unit.ends_sentence and is_readable))
        start_s = None if ends[-1] else start_s
    return [*ends[:-1], True]


def _cue_break_cost(unit: TextUnit, style: SubtitleStyle) -> float:
    """Return the cost of ending a cue after a unit: lower where the voice pauses."""
    return _text_break_cost(unit) * (1 - min(1.0, max(0.0, unit.pause_s) / style.new_cue_pause_s))


def _text_break_cost(unit: TextUnit) -> float:
    if unit.ends_sentence:
        return 0.0
    if ends_with_clause_mark(unit.text):
        return CLAUSE_BREAK_COST
    return SHORT_WORD_BREAK_COST if unit.space_after and unit.columns <= SHORT_WORD_COLUMNS else BREAK_COST


def _break_lines(units: Sequence[TextUnit], columns: int) -> tuple[tuple[TextUnit, ...], ...]:
    """Break a cue into as few lines as hold it, about equally long, preferably at a comma."""
    break_costs = [*(LINE_BREAK_FACTOR * _text_break_cost(unit) for unit in units[:-1]), 0.0]

    def possible_lines(first: int) -> Iterator[tuple[int, float]]:
        total = 0
        for index in range(first, len(units)):
            total += units[index].columns + int(index > first and units[index - 1].space_after)
            if index > first and total > columns:
                return
            yield index + 1, LINE_COST + (1 - total / columns) ** 2 + break_costs[index]

    return tuple(tuple(units[begin:end]) for begin, end in _cheapest_partition(len(units), possible_lines))


def _cheapest_partition(n: int, parts: Callable[[int], Iterator[tuple[int, float]]]) -> list[tuple[int, int]]:
    """Return the cheapest partition of `range(n)` into `(begin, end)`.

    Args:
        parts: `parts(begin)` yields `(end, cost)` of each part that may begin there.
    """
    cost = [0.0] * (n + 1)
    end_of = [0] * n
    for begin in range(n - 1, -1, -1):
        cost[begin], end_of[begin] = min((part_cost + cost[end], end) for end, part_cost in parts(begin))
    partition = []
    begin = 0
    while begin < n:
        partition.append((begin, end_of[begin]))
        begin = end_of[begin]
    return partition


def _with_times(
    groups: Sequence[Sequence[TextUnit]], timeline: Timeline, style: SubtitleStyle, columns: int
) -> list[SubtitleCue]:
    """Show each group from its first sound until its last, or longer if it could not be read in that time."""
    cues = []
    for index, group in enumerate(groups):
        start_s, speech_end_s = group[0].start_s, group[-1].end_s
        if index + 1 == len(groups):
            latest_end_s = max(timeline.duration_s, start_s)
        else:
            # Where words follow too fast for the gap, it takes at most half of the last one.
            next_s = groups[index + 1][0].start_s
            gap_s = style.min_gap_s if style.mode == "phrase" else 0.0
            latest_end_s = max(next_s - gap_s, (group[-1].start_s + next_s) / 2)
        end_s = speech_end_s
        if style.mode == "phrase":
            read_columns = sum(unit.columns + unit.space_after for unit in group) - group[-1].space_after
            read_s = read_columns / style.max_chars_per_s
            end_s = max(speech_end_s, start_s + min(max(read_s, style.min_duration_s), style.max_duration_s))
        if latest_end_s - end_s <= style.fill_gaps_s:
            end_s = latest_end_s
        if style.mode == "phrase":
            end_s = min(end_s, start_s + style.max_duration_s)
        cues.append(SubtitleCue(_break_lines(group, columns), start_s, end_s))
    return cues
