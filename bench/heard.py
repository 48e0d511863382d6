"""What was heard against what was said: errors, missing edges, words that came from the reference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import jiwer
from num2words import num2words

from f5_worker.audio.levels import Samples


@dataclass(frozen=True, eq=False)
class Transcription:
    """`text` was to be said; `heard` is what a recogniser wrote of `sound`, `[nw]` at 24 kHz."""

    text: str
    heard: str
    sound: Samples

    @cached_property
    def _aligned(self) -> jiwer.WordOutput:
        return jiwer.process_words(" ".join(words(self.text)), " ".join(words(self.heard)))

    @property
    def errors(self) -> int:
        """Words wrong, missing or too many."""
        return self._aligned.substitutions + self._aligned.deletions + self._aligned.insertions

    @property
    def edge_missing(self) -> bool:
        """Whether nothing was heard where the first or the last word should be."""
        length = len(words(self.text))
        dropped = [chunk for chunk in self._aligned.alignments[0] if chunk.type == "delete"]
        return any(chunk.ref_start_idx == 0 or chunk.ref_end_idx == length for chunk in dropped)


def words(text: str) -> list[str]:
    """In small letters; whole numbers in words, as a recogniser may write either."""
    spelled = re.sub(r"\d+", lambda number: f" {num2words(int(number[0]))} ", text)
    return re.findall(r"[a-z']+", spelled.lower())


def word_error_rate(utterances: Sequence[Transcription]) -> float:
    """Errors over words said, all utterances together."""
    return sum(heard.errors for heard in utterances) / sum(len(words(heard.text)) for heard in utterances)


def first_or_last_missing(utterances: Sequence[Transcription]) -> float:
    """Share of utterances."""
    return sum(heard.edge_missing for heard in utterances) / len(utterances)


def leaked(utterances: Sequence[tuple[Transcription, str]]) -> float:
    """Share of the words heard that are of the reference: two or more in a row as in its transcript, not in the text.

    A single word may be a misheard one; two in a row hardly are.

    Args:
        utterances: each with the reference's transcript.
    """
    found = total = 0
    for heard, transcript in utterances:
        ours = words(heard.heard)
        foreign = set(pairwise(words(transcript))) - set(pairwise(words(heard.text)))
        places = {place for at, pair in enumerate(pairwise(ours)) if pair in foreign for place in (at, at + 1)}
        found += len(places)
        total += len(ours)
    return found / total if total else 0.0
