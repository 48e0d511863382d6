"""Whether subtitles belong to a recording, by whether their lines begin and end where its speech does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from f5_worker.errors import TranscriptMismatch
from f5_worker.reference.clip import Clip
from f5_worker.reference.match import TextPiece

BEYOND_S = 1.0  # a last line may be shown a little longer than the recording is
NEAR_S = 0.15  # how far the bound of a line may be from its pause
# Of what chance leaves over, subtitles that belong to a recording meet this share at least: they are off by
# some 0.1 s, and many a line ends within a sentence.
TRUE_SHARE = 0.35
SHIFTS = 200  # times at which the same lines are tried to see what chance does
# Log of how much likelier chance is than a transcript of this recording. SegmentAudio sentences with exact, inexact,
# gapless, overlong and cut lines never came above -3; of transcripts of other recordings nine in ten are above
# DOUBTFUL.
REFUTED, DOUBTFUL = 1.5, -1.0

Floats: TypeAlias = NDArray[np.float64]


def check_times(clip: Clip, pieces: Sequence[TextPiece]) -> str | None:
    """Return unless the times of subtitles show that they are of another recording; say so if they may be.

    Raises:
        TranscriptMismatch: lines lie beyond its end, or meet its pauses no more often than by chance.
    """
    times_s = np.array([(piece.start_s, piece.end_s) for piece in pieces if piece.start_s is not None], np.float64)
    length_s = clip.audio.duration_s
    if len(times_s) and (times_s[:, 0].max() > length_s or times_s[:, 1].max() > length_s + BEYOND_S):
        raise TranscriptMismatch(
            f"the transcript's times reach to {times_s.max():.1f} s and the recording has {length_s:.1f} s; "
            "send the recording and the transcript that belong together"
        )
    bounds_s = np.unique(np.round(times_s.ravel(), 2))
    met, by_chance = _met(clip, bounds_s, length_s)
    possible = min(1.0, (2 * len(clip.pauses()) + 2) / max(len(bounds_s), 1))  # an end and a begin meet at a pause
    likelihood = _chance_over_truth(met, len(bounds_s), by_chance, TRUE_SHARE * possible)
    measured = (
        f"{met} of the {len(bounds_s)} times at which the transcript's lines begin and end are at a pause of the "
        f"recording, and by chance it would be {by_chance * len(bounds_s):.0f}"
    )
    if likelihood > REFUTED:
        raise TranscriptMismatch(
            f"the transcript's times do not fit the recording: {measured}; "
            "send the recording and the transcript that belong together"
        )
    return f"{measured}; check that the transcript is of this recording" if likelihood > DOUBTFUL else None


def _chance_over_truth(met: int, total: int, by_chance: float, share: float) -> float:
    """Log of the ratio of two binomial likelihoods; the truth meets by `share` more of what chance leaves over."""
    true = by_chance + share * (1.0 - by_chance)
    return float(met * np.log(by_chance / true) + (total - met) * np.log((1.0 - by_chance) / (1.0 - true)))


def _met(clip: Clip, bounds_s: Floats, length_s: float) -> tuple[int, float]:
    """How many bounds are at a pause, and the share of them that would be by chance."""
    edges_s = np.array([clip.pause(index) for index in (0, *clip.pauses(), len(clip.regions))])

    def are_near(at_s: Floats) -> NDArray[np.bool_]:
        pause = np.searchsorted(edges_s[:, 0], at_s + NEAR_S, side="right") - 1  # the last that begins before
        return np.asarray(edges_s[pause, 1] >= at_s - NEAR_S)

    shifts_s = np.linspace(0.0, length_s, SHIFTS, endpoint=False)
    shifted = are_near((bounds_s + shifts_s[:, None]) % length_s)
    by_chance = float(np.mean(shifted)) if shifted.size else 0.5
    return int(np.sum(are_near(bounds_s))), min(max(by_chance, 0.02), 0.98)
