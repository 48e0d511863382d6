"""Cut a recording and its plain transcript together, by pauses and punctuation alone."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from f5_worker.audio.levels import SAMPLE_RATE
from f5_worker.errors import ReferenceTooLong
from f5_worker.reference.clip import Clip
from f5_worker.reference.thresholds import CLIP, PAUSES
from f5_worker.settings import variable
from f5_worker.text.letters import letters
from f5_worker.text.sentences import finish_transcript, pause_marks

Floats: TypeAlias = NDArray[np.float64]


class _TextBreak(NamedTuple):
    """A place in a text where a speaker may pause.

    end: offset of the characters after it. share: of all letters of the text, those before it.
    """

    end: int
    share: float
    is_full_stop: bool


def cut_at_pause(clip: Clip, text: str, max_s: float) -> tuple[Clip, str]:
    """Return the longest beginning of at most `max_s` that ends at a pause whose place in the text is certain.

    Raises:
        ReferenceTooLong: there is none.
    """
    pauses, breaks = clip.pauses(), _find_breaks(text)
    speech_until_s = np.cumsum([end - begin for begin, end in clip.regions]) / SAMPLE_RATE
    certainty = _match_certainty(
        np.array([speech_until_s[index - 1] for index in pauses[: PAUSES.max_pauses]]),
        np.array([mark.share * clip.speech_s for mark in breaks[: PAUSES.max_breaks]]),
        np.array(
            [
                PAUSES.stop_pause_probability if mark.is_full_stop else PAUSES.mark_pause_probability
                for mark in breaks[: PAUSES.max_breaks]
            ]
        ),
        clip.speech_s,
    )
    for row, column in reversed(np.argwhere(certainty >= PAUSES.min_certainty)):
        part = clip.cut(0, pauses[row])
        if part.rendered_s <= max_s and part.speech_s >= CLIP.min_cut_s:
            return part, finish_transcript(text[: breaks[column].end])
    raise ReferenceTooLong(
        f"the recording has {clip.rendered_s:.1f} s, at most {max_s:g} s is used "
        f"({variable('reference_max_s')}), and none of its {len(pauses)} pauses could be matched with "
        f"certainty to one of the {len(breaks)} breaks in its transcript; send a clip of 5 to 12 s with "
        "exactly its words, or a transcript with times"
    )


def _find_breaks(text: str) -> list[_TextBreak]:
    """Return the places in the text at which a speaker may pause; marks with no letter between them are one."""
    letters_until = np.cumsum([letters(char) for char in text])
    breaks: list[_TextBreak] = []
    for end, is_full_stop in pause_marks(text):
        share = float(letters_until[end - 1] / letters_until[-1])
        if breaks and breaks[-1].share == share:
            is_full_stop |= breaks.pop().is_full_stop
        if 0.0 < share < 1.0:
            breaks.append(_TextBreak(end, share, is_full_stop))
    return breaks


def _match_certainty(pause_s: Floats, break_s: Floats, pause_probability: Floats, total_s: float) -> Floats:
    """Return how certainly each pause belongs to each break: `[pauses, breaks]`, probabilities.

    Both are matched in order. Between two matches speech and text take the same time, apart from the variation of the
    speaker's pace; breaks may be spoken without a pause, and pauses may be breaths. The certainty of a match is the
    weight of all alignments that use it among all alignments (forward-backward algorithm), so it is low where another
    match explains the recording almost equally well. Pairing by distance alone is wrong far more often.

    Args:
        pause_s: speech before each pause, in seconds.
        break_s: speech that an even pace puts before each break, in seconds.
        pause_probability: of each break, that it is spoken as a pause.
        total_s: speech in the whole recording.
    """
    x = np.concatenate(([0.0], pause_s, [total_s]))
    y = np.concatenate(([0.0], break_s, [total_s]))
    probability = np.concatenate(([1.0], pause_probability, [1.0]))
    forward = _log_alignment_weights(x, y, probability)
    backward = _log_alignment_weights(total_s - x[::-1], total_s - y[::-1], probability[::-1])[::-1, ::-1]
    return np.asarray(np.exp(forward + backward - np.log(probability) - forward[-1, -1])[1:-1, 1:-1])


def _log_alignment_weights(x: Floats, y: Floats, probability: Floats) -> Floats:
    """Return the log weight of all alignments from the first match, `(0, 0)`, to each other match.

    The last pause matches the last break only.
    """
    log_unpaused = np.cumsum(np.log(np.where(probability < 1.0, 1.0 - probability, 1.0)))
    weight = np.full((len(x), len(y)), -np.inf)
    weight[0, 0] = 0.0
    for i in range(1, len(x)):
        for j in range(1, len(y)):
            if (i == len(x) - 1) != (j == len(y) - 1):
                continue
            spoken_s, read_s = (x[i] - x[:i])[:, None], y[j] - y[:j]
            variance = PAUSES.pace_variance_s * read_s + PAUSES.edge_variance_s2
            steps = weight[:i, :j] - 0.5 * ((spoken_s - read_s) ** 2 / variance + np.log(2 * np.pi * variance))
            steps += (
                np.log(PAUSES.breaths_per_s) * np.arange(i - 1, -1, -1)[:, None]
                + log_unpaused[j - 1]
                - log_unpaused[:j]
            )
            weight[i, j] = np.logaddexp.reduce(steps, axis=None) + np.log(probability[j])
    return weight
