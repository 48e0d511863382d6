"""Check subtitles against a recording: their lines have to begin and end where its speech does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from f5_worker.errors import TranscriptMismatch
from f5_worker.reference.clip import Clip
from f5_worker.reference.match import TextPiece
from f5_worker.reference.thresholds import CUES

Floats: TypeAlias = NDArray[np.float64]


def check_times(clip: Clip, pieces: Sequence[TextPiece]) -> str | None:
    """Raise if the times of subtitles show that they are of another recording; return a warning if they may be.

    Raises:
        TranscriptMismatch: lines are beyond its end, or meet its pauses no more often than by chance.
    """
    times_s = np.array([(piece.start_s, piece.end_s) for piece in pieces if piece.start_s is not None], np.float64)
    length_s = clip.audio.duration_s
    if len(times_s) and (times_s[:, 0].max() > length_s or times_s[:, 1].max() > length_s + CUES.beyond_s):
        raise TranscriptMismatch(
            f"the transcript's times reach to {times_s.max():.1f} s and the recording has {length_s:.1f} s; "
            "send the recording and the transcript that belong together"
        )
    bounds_s = np.unique(np.round(times_s.ravel(), 2))
    n_met, chance_share = _count_met(clip, bounds_s, length_s)
    # An end and a begin meet at each pause.
    possible_share = min(1.0, (2 * len(clip.pauses()) + 2) / max(len(bounds_s), 1))
    log_ratio = _log_chance_over_truth(n_met, len(bounds_s), chance_share, CUES.true_share * possible_share)
    measured = (
        f"{n_met} of the {len(bounds_s)} times at which the transcript's lines begin and end are at a pause of the "
        f"recording, and by chance it would be {chance_share * len(bounds_s):.0f}"
    )
    if log_ratio > CUES.refused_log_ratio:
        raise TranscriptMismatch(
            f"the transcript's times do not fit the recording: {measured}; "
            "send the recording and the transcript that belong together"
        )
    if log_ratio > CUES.doubtful_log_ratio:
        return f"{measured}; check that the transcript is of this recording"
    return None


def _log_chance_over_truth(n_met: int, total: int, chance_share: float, true_share: float) -> float:
    """Return the log of the ratio of two binomial likelihoods; the truth meets `true_share` of what chance leaves."""
    expected = chance_share + true_share * (1.0 - chance_share)
    return float(
        n_met * np.log(chance_share / expected) + (total - n_met) * np.log((1.0 - chance_share) / (1.0 - expected))
    )


def _count_met(clip: Clip, bounds_s: Floats, length_s: float) -> tuple[int, float]:
    """Return how many bounds are at a pause, and the share of them that would be by chance."""
    edges_s = np.array([clip.pause_span_s(index) for index in (0, *clip.pauses(), len(clip.regions))])

    def are_near(at_s: Floats) -> NDArray[np.bool_]:
        pause = np.searchsorted(edges_s[:, 0], at_s + CUES.near_s, side="right") - 1  # the last that begins before
        return np.asarray(edges_s[pause, 1] >= at_s - CUES.near_s)

    shifts_s = np.linspace(0.0, length_s, CUES.n_shifts, endpoint=False)
    shifted = are_near((bounds_s + shifts_s[:, None]) % length_s)
    chance_share = float(np.mean(shifted)) if shifted.size else 0.5
    return int(np.sum(are_near(bounds_s))), min(max(chance_share, CUES.min_chance_share), CUES.max_chance_share)
