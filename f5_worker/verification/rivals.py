"""Texts that the sound may say instead of its own: words said twice, and words of the reference before or after it.

A search for the transcript seldom writes these, as no text in Whisper's training repeats itself or ends twice. Forced
to decode them, it finds them likelier than the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from f5_worker.verification.evidence import WordEvidence
from f5_worker.verification.thresholds import VERIFICATION

MAX_WORDS = 3  # said twice or leaked
EXCESS_WEIGHT = 5.0  # 0.2 s of sound beyond a word's share is as odd as a tenth of the probability


class Rival(NamedTuple):
    """A text, and the fault that speech of it has."""

    text: str
    fault: str


def rival_texts(text: str, evidence: WordEvidence, reference: Sequence[str]) -> Iterator[Rival]:
    """Yield what the sound may say instead of a text.

    Args:
        reference: the words of the reference's transcript, as they are written.
    """
    limit_s = VERIFICATION.rival_excess_s
    n_words = len(reference)
    if evidence.excess_s[0] >= limit_s:
        for n in range(1, min(MAX_WORDS, n_words) + 1):
            yield Rival(" ".join((*reference[n_words - n :], text)), "reference")
    if evidence.tail_s >= limit_s:
        for n in range(1, min(MAX_WORDS, n_words) + 1):
            yield Rival(" ".join((text, *reference[:n])), "reference")
    for last in sorted(_ends_of_repeats(evidence)):
        for first in range(max(0, last - MAX_WORDS), last):
            begin, end = evidence.spans[first][0], evidence.spans[last - 1][1]
            yield Rival(f"{text[:end]} {text[begin:end]}{text[end:]}", "repeated")


def _ends_of_repeats(evidence: WordEvidence) -> set[int]:
    """Return the words before which others may be said twice: the next one is unlikely then, and has to share sound."""
    doubtful = int((EXCESS_WEIGHT * evidence.excess_s.clip(0.0) - evidence.log10_probabilities).argmax())
    ends = {doubtful, doubtful + 1}
    if evidence.surplus.seconds >= VERIFICATION.doubtful_surplus_s:
        ends.update(range(evidence.surplus.begin, evidence.surplus.end + 1))
    return {end for end in ends if 0 < end <= len(evidence.spans)}
