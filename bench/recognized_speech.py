"""Recognised speech compared with its text: word errors, missing edges, words that came from the reference."""

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
class RecognizedSpeech:
    """An utterance and what a recogniser wrote of it.

    Attributes:
        text: what was to be said.
        recognized: the recogniser's transcript.
        samples: the audio, `[nw]` at 24 kHz.
    """

    text: str
    recognized: str
    samples: Samples

    @cached_property
    def _aligned(self) -> jiwer.WordOutput:
        return jiwer.process_words(" ".join(words(self.text)), " ".join(words(self.recognized)))

    @property
    def errors(self) -> int:
        """Return the number of words that are wrong, missing or too many."""
        return self._aligned.substitutions + self._aligned.deletions + self._aligned.insertions

    @property
    def edge_missing(self) -> bool:
        """Return whether nothing was recognised in place of the first or the last word."""
        length = len(words(self.text))
        deleted = [chunk for chunk in self._aligned.alignments[0] if chunk.type == "delete"]
        return any(chunk.ref_start_idx == 0 or chunk.ref_end_idx == length for chunk in deleted)


def words(text: str) -> list[str]:
    """Return the words of a text in lower case; whole numbers are spelled out, as a recogniser may write either."""
    spelled = re.sub(r"\d+", lambda number: f" {num2words(int(number[0]))} ", text)
    return re.findall(r"[a-z']+", spelled.lower())


def word_error_rate(utterances: Sequence[RecognizedSpeech]) -> float:
    """Return the errors over the words said, of all utterances together."""
    return sum(speech.errors for speech in utterances) / sum(len(words(speech.text)) for speech in utterances)


def edge_missing_rate(utterances: Sequence[RecognizedSpeech]) -> float:
    """Return the share of utterances whose first or last word is missing."""
    return sum(speech.edge_missing for speech in utterances) / len(utterances)


def reference_word_rate(utterances: Sequence[tuple[RecognizedSpeech, str]]) -> float:
    """Return the share of recognised words that come from the reference.

    These are two or more in a row as in the reference's transcript, and not as in the text. A single word may be
    misrecognised; two in a row rarely are.

    Args:
        utterances: each with the reference's transcript.
    """
    found = total = 0
    for speech, transcript in utterances:
        recognized = words(speech.recognized)
        foreign = set(pairwise(words(transcript))) - set(pairwise(words(speech.text)))
        indices = {i for at, pair in enumerate(pairwise(recognized)) if pair in foreign for i in (at, at + 1)}
        found += len(indices)
        total += len(recognized)
    return found / total if total else 0.0
