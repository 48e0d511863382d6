"""Captions that roll: YouTube's and live television's repeat lines of the cue before; a viewer reads them once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from f5_worker.transcripts.cues import Cue

HOLD_S = 0.05  # a shorter cue shows what is there until the next one comes; YouTube's have 0.01 s
_MAX_REPEATED_LINES = 4  # more never fit on a screen
_CERTAIN_CHARS = 10  # of a line that is not repeated for its sense: `No.`
_MIN_ROLLED = 3
_STAGGERED_SHARE = 0.8
_WORD_TIME = re.compile(r"<(?:\d{1,3}:)?\d{1,3}:\d\d\.\d{3}>", flags=re.ASCII)


@dataclass(frozen=True)
class _Step:
    """What a cue shows beyond the cue before it.

    Attributes:
        repeated: the text that stays from the cue before.
        new: the lines that come.
    """

    repeated: str
    new: tuple[str, ...]
    is_hold: bool


def has_word_times(text: str) -> bool:
    """Return True for a file with the times of words in its cues, as YouTube's rolling ones have."""
    return _WORD_TIME.search(text) is not None


def unroll(cues: Sequence[Cue], *, word_times: bool = False) -> list[Cue]:
    """Return the cues with every line once, at the time when it comes; as they are where they do not roll.

    Args:
        cues: in order of their start, with their lines as they are in the file.
        word_times: as from `has_word_times`.
    """
    lines = [tuple(filter(None, (line.strip() for line in cue.text.split("\n")))) for cue in cues]
    steps = [_Step("", lines[0], False)] if cues else []
    steps += [
        _compare(one, other, cue.end_s - cue.start_s)
        for (one, other), cue in zip(pairwise(lines), cues[1:], strict=True)
    ]
    if not _are_rolling(steps, word_times):
        kept = [cue for cue, step in zip(cues, steps, strict=True) if not step.is_hold]
        return _trim(kept) if _are_staggered(kept) else kept
    kept = []
    for cue, step in zip(cues, steps, strict=True):
        if step.new:
            kept.append(replace(cue, text="\n".join(step.new)))
        elif kept and step.repeated:
            kept[-1] = replace(kept[-1], end_s=max(kept[-1].end_s, cue.end_s))
    return _trim(kept)


def _compare(before: tuple[str, ...], after: tuple[str, ...], duration_s: float) -> _Step:
    """Return what the second of two cues adds: its first lines may be the last of the first, or these grown."""
    for n_lines in range(min(len(before), len(after), _MAX_REPEATED_LINES), 0, -1):
        kept, last, grown = before[-n_lines:-1], before[-1], after[n_lines - 1]
        if kept == after[: n_lines - 1] and (grown == last or grown.startswith(f"{last} ")):
            new = tuple(filter(None, (grown[len(last) :].strip(), *after[n_lines:])))
            return _Step("\n".join(before[-n_lines:]), new, not new and duration_s <= HOLD_S)
    return _Step("", after, False)


def _are_rolling(steps: Sequence[_Step], word_times: bool) -> bool:
    rolled = [step for step in steps if step.repeated and step.new]
    if not rolled:
        return False
    if word_times or any(step.is_hold for step in steps):
        return True
    is_usual = 2 * len(rolled) >= len(steps) - 1
    return is_usual and (len(rolled) >= _MIN_ROLLED or all(len(step.repeated) >= _CERTAIN_CHARS for step in rolled))


def _are_staggered(cues: Sequence[Cue]) -> bool:
    """Return True if almost every cue stays while the next one is shown below it, as YouTube's SRT has them."""
    staggered = sum(
        one.start_s + HOLD_S < other.start_s < one.end_s - HOLD_S
        and other.end_s > one.end_s
        and one.speaker == other.speaker
        for one, other in pairwise(cues)
    )
    return staggered >= _MIN_ROLLED and staggered >= _STAGGERED_SHARE * (len(cues) - 1)


def _trim(cues: Sequence[Cue]) -> list[Cue]:
    return [_end_before(cue, later) for cue, later in zip(cues, [*cues[1:], None], strict=True)]


def _end_before(cue: Cue, later: Cue | None) -> Cue:
    """Return the cue without the time in which the next one is shown below it."""
    return cue if later is None else replace(cue, end_s=max(cue.start_s, min(cue.end_s, later.start_s)))
