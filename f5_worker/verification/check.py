"""Decide from the sound of a segment whether it says its text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from f5_worker.asr.whisper import Recogniser
from f5_worker.audio.levels import Samples, speech_regions
from f5_worker.verification.compare import Comparison, compare
from f5_worker.verification.forms import sounds_alike, spoken_words


@dataclass(frozen=True)
class Limits:
    """How much may differ in speech that passes.

    Attributes:
        max_wer: wrong, missing and added words over the words of the text.
        max_run: how many of them may follow one another.
    """

    max_wer: float = 0.1
    max_run: int = 2


@dataclass(frozen=True)
class SpeechVerdict:
    """What was heard in a segment, and whether it is its text.

    Attributes:
        wer: wrong, missing and added words over the words of the text.
        run: the longest run of them.
        faults: why it does not pass, in the words of FAULTS; empty if it does.
        heard: what the recogniser wrote, for the log of a test; the text itself where no search was needed.
        badness: lower is better; by this the best of several takes is chosen.
    """

    wer: float
    run: int
    faults: tuple[str, ...]
    heard: str
    badness: float

    @property
    def passed(self) -> bool:
        """Return True if nothing is wrong."""
        return not self.faults


class SpeechVerifier:
    """Compares speech in one language with its text. Cheap to create; the model is loaded when first needed."""

    def __init__(self, recogniser: Recogniser, language: str, limits: Limits) -> None:
        self._recogniser = recogniser
        self._language = re.split("[-_]", language.lower())[0]
        self._limits = limits

    @classmethod
    def for_language(cls, recogniser: Recogniser, language: str, limits: Limits) -> SpeechVerifier | None:
        """Return a verifier; None if the recogniser does not know the language, so that nothing can be said."""
        return cls(recogniser, language, limits) if recogniser.understands(language) else None

    def check(self, samples: Samples, text: str, reference_transcript: str) -> SpeechVerdict:
        """Compare a segment with its text.

        Args:
            samples: `[nw]` at 24 kHz of one segment, at most 30 s of it.
            text: as spoken in it.
            reference_transcript: what is said in the clip that is cloned; its words may leak into the segment.
        """
        written = spoken_words(text, self._language)
        if not speech_regions(samples):
            return SpeechVerdict(1.0, len(written), ("silence",), "", 2.0)
        heard = self._recogniser.transcribe_clip(samples, self._language).text
        comparison = compare(written, spoken_words(heard, self._language), sounds_alike)
        faults = tuple(self._faults(comparison, spoken_words(reference_transcript, self._language)))
        return SpeechVerdict(comparison.wer, comparison.run, faults, heard, comparison.wer + 0.1 * len(faults))

    def _faults(self, found: Comparison, reference: Sequence[str]) -> list[str]:
        faults = []
        if found.wer > self._limits.max_wer or found.run > self._limits.max_run:
            faults.append("words")
        for difference in found.differences:
            begin, end, heard_begin, heard_end = difference
            if heard_begin == heard_end and begin == 0:
                faults.append("first_word")
            if heard_begin == heard_end and end == len(found.written):
                faults.append("last_word")
            added = found.heard[heard_begin:heard_end]
            n = len(added) - (end - begin)
            if n > 0 and _is_repeated(found.heard, heard_begin, heard_end):
                faults.append("repeated")
            elif n > 0 and _contains(reference, added):
                faults.append("reference")
        return list(dict.fromkeys(faults))


def _is_repeated(heard: Sequence[str], begin: int, end: int) -> bool:
    n = end - begin
    added = heard[begin:end]
    return added in (heard[begin - n : begin] if begin >= n else None, heard[end : end + n])


def _contains(words: Sequence[str], part: Sequence[str]) -> bool:
    return any(list(words[at : at + len(part)]) == list(part) for at in range(len(words) - len(part) + 1))
