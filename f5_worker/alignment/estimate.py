"""When words are heard if nothing can say so: each takes its letters' share of the sound, and pauses part words."""

from __future__ import annotations

import numpy as np

from f5_worker.alignment.align import Aligned, AlignedWord, in_place
from f5_worker.alignment.refine import LAG_S, SOFTEST_DB, Rough, refine
from f5_worker.alignment.words import phonetic_length, word_spans
from f5_worker.audio.levels import SAMPLE_RATE, Samples, speech_regions


def estimate(samples: Samples, text: str) -> Aligned:
    """A span without confidence for each word of `word_spans(text)`; samples `[nw]` at 24 kHz.

    Without any sound the words share the silence.
    """
    words = [phonetic_length(text[begin:end]) for begin, end in word_spans(text)]
    voiced = [letters for letters in words if letters]
    if not voiced:
        return tuple(AlignedWord(0.0, 0.0, None) for _ in words)
    regions = speech_regions(samples, softest_db=SOFTEST_DB) or [(0, len(samples))]
    begins, ends = np.array(regions).T / SAMPLE_RATE
    heard_s = np.cumsum(ends - begins)
    at_s = np.cumsum([0.0, *voiced]) / sum(voiced) * heard_s[-1]
    region = np.minimum(np.searchsorted(heard_s, at_s), len(regions) - 1)
    rough_s = at_s - heard_s[region] + ends[region] + LAG_S
    rough = [Rough(*word) for word in zip(rough_s[:-1], rough_s[1:], voiced, strict=True)]
    times = iter(refine(rough, regions, len(samples) / SAMPLE_RATE))
    return in_place([next(times) if letters else None for letters in words], [None] * len(words))
