"""What is wrong with speech, in short stable words: by the transcript of a search, and by the sound itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from f5_worker.verification.compare import Difference, WordSounds
from f5_worker.verification.evidence import SoundProfile, WordEvidence
from f5_worker.verification.thresholds import VERIFICATION


def word_faults(
    n_written: int, heard: Sequence[str], found: Sequence[Difference], reference: Sequence[str], sounds: WordSounds
) -> Iterator[str]:
    """Yield `first_word`, `last_word`, `missing`, `repeated`, `reference` and `added`.

    Args:
        n_written: words of the text.
        heard: the words that a recogniser wrote.
        found: where these differ from the text.
        reference: the words of the reference's transcript.
    """
    words = _Words(heard, sounds)
    for difference in found:
        if difference.n_written > difference.n_heard and difference.run:
            if difference.begin == 0:
                yield "first_word"
            else:
                yield "last_word" if difference.end == n_written else "missing"
        elif difference.n_heard > difference.n_written:
            begin, end = difference.heard_begin, difference.heard_end
            if words.are_repeated(begin, end):
                yield "repeated"
            elif not difference.n_written and words.are_in(begin, end, reference):
                yield "reference"
            elif not difference.n_written and difference.n_heard > 1:  # a single one may be misrecognised
                yield "added"


class _Words:
    """The words that a recogniser wrote."""

    def __init__(self, heard: Sequence[str], sounds: WordSounds) -> None:
        self._heard, self._sounds = heard, sounds

    def are_repeated(self, begin: int, end: int) -> bool:
        """Return True if added words are said twice, or as many that begin a few words before: "stairs. The"."""
        n = end - begin
        starts = range(max(0, begin - n), min(begin, len(self._heard) - 2 * n) + 1)
        return any(self._are_equal(self._heard[at : at + n], self._heard[at + n : at + 2 * n]) for at in starts)

    def are_in(self, begin: int, end: int, words: Sequence[str]) -> bool:
        """Return True if words follow one another in others, too."""
        n = end - begin
        return any(self._are_equal(self._heard[begin:end], words[at : at + n]) for at in range(len(words) - n + 1))

    def _are_equal(self, one: Sequence[str], other: Sequence[str]) -> bool:
        return all(itertools.starmap(self._sounds.alike, zip(one, other, strict=True)))


def is_doubtful(words: WordEvidence, sound: SoundProfile) -> bool:
    """Return True if the sound may say something else than the text."""
    limits = VERIFICATION
    return bool(
        (words.probabilities < limits.doubtful_probability).any()
        or (words.excess_s >= limits.doubtful_excess_s).any()
        or words.tail_s >= limits.doubtful_excess_s
        or _uncovered(words).any()
        or sound.longest_noise_s() >= limits.noise_s
    )


def acoustic_faults(words: WordEvidence, sound: SoundProfile, differing: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Yield `added`, `silence` and `noise`: what the sound shows, whatever a recogniser wrote.

    Args:
        differing: the characters of words that a search did not find.
    """
    limits = VERIFICATION
    if (
        words.excess_s[0] >= limits.added_lead_s
        or words.tail_s >= limits.added_tail_s
        or (words.excess_s >= limits.added_s).any()
    ):
        yield "added"
    is_heard = ~np.array([any(begin < b and a < end for a, b in differing) for begin, end in words.spans])
    # Attention may be at the word before while this one is spoken; where the search found it, it is.
    neighbours_s = np.maximum(np.append(words.excess_s[1:], 0.0), np.append(0.0, words.excess_s[:-1]))
    is_with_neighbour = is_heard & (neighbours_s >= limits.neighbour_excess_s)
    if (_uncovered(words) & (words.probabilities < limits.silent_probability) & ~is_with_neighbour).any():
        yield "silence"
    is_in_doubt = bool((words.probabilities < limits.doubtful_probability).any())
    if sound.longest_noise_s() >= (limits.doubtful_noise_s if is_in_doubt else limits.noise_s):
        yield "noise"


def _uncovered(words: WordEvidence) -> NDArray[np.bool_]:
    """Return which words have next to no sound."""
    limits = VERIFICATION
    return np.asarray((words.lengths >= limits.min_letters) & (words.covered < limits.min_covered_share))
