"""Estimate word times without a recogniser: each word takes its letters' share of the sound, and pauses part words."""

from __future__ import annotations

import numpy as np

from f5_worker.alignment.align import Aligned, AlignedWord, place_unspoken
from f5_worker.alignment.refine import LAG_S, SOFTEST_DB, ApproximateWord, refine
from f5_worker.alignment.words import phonetic_length, word_spans
from f5_worker.audio.levels import SAMPLE_RATE, Samples, speech_regions


def estimate(samples: Samples, text: str) -> Aligned:
    """Return a span without confidence for each word of `word_spans(text)`.

    In samples without any sound the words share the silence.

    Args:
        samples: `[nw]` at 24 kHz.
    """
    lengths = [phonetic_length(text[begin:end]) for begin, end in word_spans(text)]
    spoken = [length for length in lengths if length]
    if not spoken:
        return tuple(AlignedWord(0.0, 0.0, None) for _ in lengths)
    regions = speech_regions(samples, softest_db=SOFTEST_DB) or [(0, len(samples))]
    begins_s, ends_s = np.array(regions).T / SAMPLE_RATE
    sound_s = np.cumsum(ends_s - begins_s)
    at_s = np.cumsum([0.0, *spoken]) / sum(spoken) * sound_s[-1]
    region = np.minimum(np.searchsorted(sound_s, at_s), len(regions) - 1)
    attention_s = at_s - sound_s[region] + ends_s[region] + LAG_S
    words = [ApproximateWord(*word) for word in zip(attention_s[:-1], attention_s[1:], spoken, strict=True)]
    times = iter(refine(words, regions, len(samples) / SAMPLE_RATE))
    return place_unspoken([next(times) if length else None for length in lengths], [None] * len(lengths))
