"""Times of cues in whole steps of a format's clock."""

from __future__ import annotations

from collections.abc import Sequence

from f5_worker.subtitles.phrases import Atom, Phrase

ESTIMATED_NOTE = "The times are estimated from the text; they were not measured in the audio."


def ticks(cues: Sequence[Phrase], per_s: int) -> list[tuple[int, int]]:
    """`(begin, end)` of each cue in steps of `1 / per_s`: in order, apart, and at least one step long."""
    spans: list[tuple[int, int]] = []
    earliest = 0
    for cue in cues:
        begin = max(round(cue.start_s * per_s), earliest)
        earliest = max(round(cue.end_s * per_s), begin + 1)
        spans.append((begin, earliest))
    return spans


def syllables(cue: Phrase, span: tuple[int, int], per_s: int) -> list[list[tuple[Atom, int, int]]]:
    """The atoms of each line with `(begin, end)` in steps; each lasts until the next, together they fill the cue.

    Rounded as times, not as lengths, so that the errors do not add up.
    """
    atoms = [atom for line in cue.lines for atom in line]
    begins = [span[0], *(min(max(round(atom.start_s * per_s), span[0]), span[1]) for atom in atoms[1:])]
    timed = iter(zip(atoms, begins, [*begins[1:], span[1]], strict=True))
    return [[next(timed) for _ in line] for line in cue.lines]
