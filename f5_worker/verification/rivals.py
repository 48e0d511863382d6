"""Texts that the sound may say instead of its own: what a search heard, words said twice, left out, or leaked.

The recogniser is forced to decode them, too. A search for the transcript alone cannot decide: it mishears rare words,
and seldom writes a word twice or a sentence that goes on after its end, as no text in Whisper's training does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from f5_worker.verification.compare import Difference
from f5_worker.verification.evidence import WordEvidence
from f5_worker.verification.forms import SpokenWord
from f5_worker.verification.thresholds import VERIFICATION

MAX_WORDS = 3  # said twice, left out or leaked
MAX_REPEATED, MAX_OMITTED = 2, 4  # of the words in doubt, at which others are said twice, or which are left out
EXCESS_WEIGHT = 5.0  # 0.2 s of sound beyond a word's share is as odd as a tenth of the probability


class Rival(NamedTuple):
    """A text, the fault that speech of it has, and the natural log of how much likelier than its own it has to be."""

    text: str
    fault: str
    min_log_ratio: float


def corrected(
    transcript: str, heard: Sequence[SpokenWord], text: str, written: Sequence[SpokenWord], difference: Difference
) -> str:
    """Return a transcript with the words of the text in place of those that were heard in it.

    Args:
        heard, written: the words of the transcript, and those of the text.
    """
    begin, end = _span(heard, difference.heard_begin, difference.heard_end)
    words = text[slice(*_span(written, difference.begin, difference.end))]
    return " ".join(f"{transcript[:begin]} {words} {transcript[end:]}".split())


def _span(words: Sequence[SpokenWord], begin: int, end: int) -> tuple[int, int]:
    """Return the characters of words; of none, the place where they would be."""
    if begin < end:
        return words[begin].begin, words[end - 1].end
    at = words[begin].begin if begin < len(words) else words[-1].end if words else 0
    return at, at


def rival_texts(text: str, evidence: WordEvidence, reference: Sequence[str]) -> Iterator[Rival]:
    """Yield what the sound may say instead of a text.

    Args:
        reference: the words of the reference's transcript, as they are written.
    """
    limits, n_words = VERIFICATION, len(reference)
    n_leaked = range(1, min(MAX_WORDS, n_words) + 1)
    if evidence.excess_s[0] >= limits.rival_lead_s:
        for n in n_leaked:
            yield Rival(" ".join((*reference[n_words - n :], text)), "reference", limits.lead_log_ratio)
    if evidence.tail_s >= limits.rival_tail_s:
        log_ratio = limits.tail_log_ratio - limits.log_ratio_per_tail_s * evidence.tail_s
        for n in n_leaked:
            yield Rival(" ".join((text, *reference[:n])), "reference", log_ratio)
    beyond_s = evidence.surplus.seconds + float(evidence.excess_s.max())
    log_ratio = limits.repeated_log_ratio - limits.log_ratio_per_s * beyond_s
    for last in sorted(_ends_of_repeats(evidence)) if beyond_s >= limits.rival_beyond_s else ():
        for first in range(max(0, last - MAX_WORDS), last):
            begin, end = evidence.spans[first][0], evidence.spans[last - 1][1]
            yield Rival(f"{text[:end]} {text[begin:end]}{text[end:]}", "repeated", log_ratio)
    yield from _omissions(text, evidence)


def _ends_of_repeats(evidence: WordEvidence) -> set[int]:
    """Return the words before which others may be said twice: the next one is unlikely then, and has to share sound."""
    doubts = EXCESS_WEIGHT * evidence.excess_s.clip(0.0) - evidence.log10_probabilities
    ends = {end for word in np.argsort(-doubts)[:MAX_REPEATED].tolist() for end in (word, word + 1)}
    if evidence.surplus.seconds >= VERIFICATION.doubtful_surplus_s:
        ends.update(range(evidence.surplus.begin, evidence.surplus.end + 1))
    return {end for end in ends if 0 < end <= len(evidence.spans)}


def _omissions(text: str, evidence: WordEvidence) -> Iterator[Rival]:
    """Yield texts without some of the words that are the least likely or have the least sound, and their neighbours."""
    limits, n_words = VERIFICATION, len(evidence.spans)
    doubts = 2.0 * (1.0 - evidence.covered.clip(0.0, 1.0)) - evidence.log10_probabilities
    stretches = {
        (begin, end)
        for word in np.argsort(-doubts)[:MAX_OMITTED].tolist()
        for begin in range(max(0, word - MAX_WORDS + 1), word + 1)
        for end in range(word + 1, min(n_words, begin + MAX_WORDS) + 1)
        if end - begin < n_words
    }
    for begin, end in sorted(stretches):
        log_ratio = (
            limits.omitted_log_ratio
            + limits.log_ratio_of_cover * float(evidence.covered[begin:end].min())
            + limits.log_ratio_of_probability * float(evidence.probabilities[begin:end].min())
        )
        if log_ratio > limits.greatest_log_ratio:
            continue
        at, after = evidence.spans[begin][0], evidence.spans[end - 1][1]
        fault = "first_word" if begin == 0 else "last_word" if end == n_words else "missing"
        yield Rival(f"{text[:at]}{text[after:].lstrip(' ,;:')}", fault, log_ratio)
