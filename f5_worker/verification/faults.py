"""What is wrong with speech, in short stable words: by the transcript of a search, and by the sound itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from f5_worker.verification.compare import Alike, Difference
from f5_worker.verification.evidence import SoundProfile, WordEvidence
from f5_worker.verification.rivals import Rival
from f5_worker.verification.thresholds import VERIFICATION

MAX_REPEATED = 8  # words that are looked for twice in a row


def word_faults(
    written: Sequence[str], heard: Sequence[str], found: Sequence[Difference], reference: Sequence[str], alike: Alike
) -> Iterator[str]:
    """Yield `first_word`, `last_word`, `missing`, `repeated`, `reference` and `added`.

    Args:
        written, heard: the words of the text, and those that a recogniser wrote.
        found: where they differ.
        reference: the words of the reference's transcript.
    """
    for difference in found:
        if difference.n_written > difference.n_heard and difference.run:
            if difference.begin == 0:
                yield "first_word"
            else:
                yield "last_word" if difference.end == len(written) else "missing"
        elif difference.n_heard > difference.n_written:
            if _count_repeats(heard, alike) > _count_repeats(written, alike):
                yield "repeated"
            elif not difference.n_written and _is_in(
                heard[difference.heard_begin : difference.heard_end], reference, alike
            ):
                yield "reference"
            elif not difference.n_written and difference.n_heard > 1:  # a single one may be misrecognised
                yield "added"


def _count_repeats(words: Sequence[str], alike: Alike) -> int:
    """Return how often words are followed by the same ones."""
    return sum(
        _are_equal(words[at : at + n], words[at + n : at + 2 * n], alike)
        for n in range(1, MAX_REPEATED + 1)
        for at in range(len(words) - 2 * n + 1)
    )


def _is_in(part: Sequence[str], words: Sequence[str], alike: Alike) -> bool:
    """Return True if words follow one another in others, too."""
    n = len(part)
    return any(_are_equal(part, words[at : at + n], alike) for at in range(len(words) - n + 1))


def _are_equal(one: Sequence[str], other: Sequence[str], alike: Alike) -> bool:
    return all(map(alike, one, other))


def doubtful_words(words: WordEvidence, sound: SoundProfile) -> tuple[int, int] | None:
    """Return the first word in doubt, and which follows the last one: the sound may say something else there.

    The number of words stands for what follows the last one; None if nothing is in doubt.
    """
    limits, n_words = VERIFICATION, len(words.spans)
    unlikely: list[int] = np.flatnonzero(
        (words.probabilities < limits.doubtful_probability) | _uncovered(words)
    ).tolist()
    long: list[int] = np.flatnonzero(words.excess_s >= limits.doubtful_excess_s).tolist()
    # Beside a long word, others may be spoken before the next one.
    stretches = [*((word, word + 1) for word in unlikely), *((word, word + 2) for word in long)]
    if words.surplus.seconds >= limits.doubtful_surplus_s:
        stretches.append((words.surplus.begin, words.surplus.end))
    if words.tail_s >= limits.doubtful_excess_s:
        stretches.append((n_words, n_words + 1))
    if sound.longest_noise_s() >= limits.noise_s:  # wherever it is
        stretches.append((0, n_words + 1))
    if not stretches:
        return None
    begins, ends = zip(*stretches, strict=True)
    return min(begins), max(ends)


def acoustic_faults(words: WordEvidence, sound: SoundProfile) -> Iterator[str]:
    """Yield `added`, `last_word`, `silence` and `noise`: what the sound shows, whatever a recogniser wrote."""
    limits = VERIFICATION
    if (
        words.excess_s[0] >= limits.added_lead_s
        or words.tail_s >= limits.added_tail_s
        or words.surplus.seconds >= limits.added_surplus_s
    ):
        yield "added"
    if words.probabilities[-1] < limits.cut_probability and words.covered[-1] < limits.cut_share:
        yield "last_word"
    if words.pause.seconds >= limits.silent_s:
        near = words.probabilities[max(0, words.pause.word - 1) : words.pause.word + 2]
        if near.min() < limits.silent_probability:
            yield "silence"
    if sound.longest_noise_s() >= limits.noise_s:
        yield "noise"


def rival_faults(rivals: Sequence[Rival], log_ratios: Sequence[float]) -> list[str]:
    """Return the fault of the text that exceeds by most what it has to be likelier than the segment's own; if any.

    Args:
        log_ratios: natural logs of how much likelier they are.
    """
    margins = [(ratio - rival.min_log_ratio, rival.fault) for rival, ratio in zip(rivals, log_ratios, strict=True)]
    return [fault for margin, fault in sorted(margins)[-1:] if margin >= 0.0]


def _uncovered(words: WordEvidence) -> NDArray[np.bool_]:
    """Return which words have next to no sound."""
    limits = VERIFICATION
    return np.asarray((words.lengths >= limits.min_letters) & (words.covered < limits.min_covered_share))
