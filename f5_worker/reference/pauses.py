"""Where to cut a recording and its plain transcript together, by pauses and punctuation alone."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from f5_worker.audio.levels import SAMPLE_RATE
from f5_worker.errors import ReferenceTooLong
from f5_worker.reference.clip import MIN_CUT_S, Clip
from f5_worker.settings import variable
from f5_worker.text.letters import CJK_FULL_STOPS, CLOSING, FULL_STOPS, finish_transcript, letters

CERTAIN = 0.97  # of which pause belongs to which mark, see `_certainty`; a wrong cut is worse than a refusal
PACE_VARIANCE_S = 0.0625  # speech strays from the text's even pace by 0.25 s in 1 s, by 0.5 s in 4 s
EDGE_VARIANCE_S2 = 0.02  # a pause and the place of its mark are known to 0.14 s
STOP_PAUSED, MARK_PAUSED = 0.95, 0.6  # how often a full stop, and another mark, is heard as a pause
BREATHS_PER_S = 0.12  # pauses without a mark, in a second of speech
MAX_PAUSES, MAX_BREAKS = 24, 40  # as many as are looked at: half a minute of speech

_BREAK = re.compile(
    rf"[{re.escape(FULL_STOPS)},;:]+[{re.escape(CLOSING)}]*(?=\s)"  # not within 3.5 or 10:30
    rf"|[{CJK_FULL_STOPS}，、；：]+[{re.escape(CLOSING)}]*"
    r"|\s-+(?=\s)|[—–]+"
)

Floats: TypeAlias = NDArray[np.float64]


class _Break(NamedTuple):
    """A place in a text: characters before it, their share of all letters, and if a sentence ends there."""

    end: int
    share: float
    stop: bool


def cut_at_pause(clip: Clip, text: str, max_s: float) -> tuple[Clip, str]:
    """The longest beginning of at most `max_s` that ends at a pause whose place in the text is certain.

    Raises:
        ReferenceTooLong: there is none.
    """
    pauses, breaks = clip.pauses(), _breaks(text)
    lengths_s = np.cumsum([end - begin for begin, end in clip.regions]) / SAMPLE_RATE
    certainty = _certainty(
        np.array([lengths_s[index - 1] for index in pauses[:MAX_PAUSES]]),
        np.array([mark.share * clip.speech_s for mark in breaks[:MAX_BREAKS]]),
        np.array([STOP_PAUSED if mark.stop else MARK_PAUSED for mark in breaks[:MAX_BREAKS]]),
        clip.speech_s,
    )
    for row, column in reversed(np.argwhere(certainty >= CERTAIN)):
        part = clip.part(0, pauses[row])
        if part.finished_s <= max_s and part.speech_s >= MIN_CUT_S:
            return part, finish_transcript(text[: breaks[column].end])
    raise ReferenceTooLong(
        f"the recording has {clip.finished_s:.1f} s, at most {max_s:g} s is used "
        f"({variable('reference_max_s')}), and none of its {len(pauses)} pauses could be matched with "
        f"certainty to one of the {len(breaks)} breaks in its transcript; send a clip of 5 to 12 s with "
        "exactly its words, or a transcript with times"
    )


def _breaks(text: str) -> list[_Break]:
    """The places in the text at which a speaker may pause; marks with no letter between them are one."""
    counted = np.cumsum([letters(char) for char in text])
    found: list[_Break] = []
    for mark in _BREAK.finditer(text):
        share = float(counted[mark.end() - 1] / counted[-1])
        stop = mark.group()[0] in FULL_STOPS + CJK_FULL_STOPS
        if found and found[-1].share == share:
            stop |= found.pop().stop
        if 0.0 < share < 1.0:
            found.append(_Break(mark.end(), share, stop))
    return found


def _certainty(pause_s: Floats, break_s: Floats, paused: Floats, total_s: float) -> Floats:
    """How certainly each pause belongs to each break: `[pauses, breaks]`, probabilities.

    Both are matched in order. Between two matches speech and text take the same time but for the speaker's
    straying; breaks may be spoken without a pause, and pauses may be breaths. The certainty of a match is the
    weight of all ways that use it among all ways (forward-backward algorithm), so it is low where another
    match explains the recording about as well. Pairing by distance alone is wrong far more often.

    Args:
        pause_s: speech heard before each pause, in seconds.
        break_s: speech that an even pace puts before each break, in seconds.
        paused: probability that each break is heard as a pause.
        total_s: speech in the whole recording.
    """
    x = np.concatenate(([0.0], pause_s, [total_s]))
    y = np.concatenate(([0.0], break_s, [total_s]))
    chance = np.concatenate(([1.0], paused, [1.0]))
    before = _ways(x, y, chance)
    after = _ways(total_s - x[::-1], total_s - y[::-1], chance[::-1])[::-1, ::-1]
    return np.asarray(np.exp(before + after - np.log(chance) - before[-1, -1])[1:-1, 1:-1])


def _ways(x: Floats, y: Floats, chance: Floats) -> Floats:
    """Log weight of all ways from the first match, `(0, 0)`, to each other; the last pause matches the last."""
    unheard = np.cumsum(np.log(np.where(chance < 1.0, 1.0 - chance, 1.0)))
    weight = np.full((len(x), len(y)), -np.inf)
    weight[0, 0] = 0.0
    for i in range(1, len(x)):
        for j in range(1, len(y)):
            if (i == len(x) - 1) != (j == len(y) - 1):
                continue
            heard_s, read_s = (x[i] - x[:i])[:, None], y[j] - y[:j]
            variance = PACE_VARIANCE_S * read_s + EDGE_VARIANCE_S2
            steps = weight[:i, :j] - 0.5 * ((heard_s - read_s) ** 2 / variance + np.log(2 * np.pi * variance))
            steps += np.log(BREATHS_PER_S) * np.arange(i - 1, -1, -1)[:, None] + unheard[j - 1] - unheard[:j]
            weight[i, j] = np.logaddexp.reduce(steps, axis=None) + np.log(chance[j])
    return weight
