"""Decide from the sound of a segment whether it says its text.

The recogniser is forced to decode the text first: where each word is likely and has its share of the sound, the segment
passes without a search for a transcript, which takes ten times as long. The same pass finds the times of the words.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from f5_worker.alignment.align import AlignedTokens, align_tokens
from f5_worker.asr.whisper import Recogniser
from f5_worker.audio.levels import Samples
from f5_worker.verification.compare import Difference, WordSounds, compare
from f5_worker.verification.evidence import SoundProfile, WordEvidence, weigh
from f5_worker.verification.forms import SpokenWord, sound_alike, sound_distance, spoken_words
from f5_worker.verification.rivals import rival_texts
from f5_worker.verification.thresholds import VERIFICATION

# Of the sum by which takes are compared, beside the word error rate.
FAULT_BADNESS, DOUBT_BADNESS = 0.2, 0.1


@dataclass(frozen=True)
class Limits:
    """How many words may differ in speech that passes; words missing, added or said twice never do.

    Attributes:
        max_wer: wrong, missing and added words over the words of the text.
        max_run: how many of them may follow one another.
    """

    max_wer: float = 0.1
    max_run: int = 2


@dataclass(frozen=True)
class SpeechVerdict:
    """What is heard in a segment, and whether that is its text.

    Attributes:
        wer: wrong, missing and added words over the words of the text; a word that sounds similar counts as half the
            share of its sounds that differ.
        run: the longest run of wrong, missing and added words.
        faults: why it does not pass; none if it does. `words`: more of them differ than the limits allow.
            `first_word`, `last_word`, `missing`: words are not spoken. `repeated`: words are said twice. `reference`:
            words of the reference are heard. `added`: other words are. `silence`, `noise`: instead of speech.
        heard: what the recogniser wrote; the text itself where it was certain of that.
        badness: lower is better: the least of several takes is the best.
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
    """Compares speech in one language with its text. Cheap to create: the model is loaded when it is needed.

    Args:
        language: one that the recogniser understands; see `for_language`.
    """

    def __init__(self, recogniser: Recogniser, language: str, limits: Limits) -> None:
        self._recogniser = recogniser
        self._language = re.split("[-_]", language.lower())[0]
        self._limits = limits
        self._sounds = WordSounds(
            partial(sound_alike, language=self._language), partial(sound_distance, language=self._language)
        )

    @classmethod
    def for_language(cls, recogniser: Recogniser, language: str, limits: Limits) -> SpeechVerifier | None:
        """Return a verifier; None if the recogniser does not know the language, so that nothing can be said of it."""
        return cls(recogniser, language, limits) if recogniser.understands(language) else None

    def check(self, samples: Samples, text: str, reference_transcript: str) -> SpeechVerdict:
        """Compare a segment with its text.

        Args:
            samples: `[nw]` at 24 kHz of one segment, at most 30 s of it.
            text: as spoken in it.
            reference_transcript: what is said in the clip that is cloned.
        """
        written = spoken_words(text, self._language)
        sound = SoundProfile(samples)
        if not written or not sound.sound_s:
            return _verdict(written, [], ("silence",) if written else (), "", None)
        evidence = self._force(samples, text, sound)
        if evidence is not None and not _is_doubtful(evidence.words, sound):
            return _verdict(written, [], (), text, evidence.words)
        heard = self._recogniser.transcribe_clip(samples, self._language).text
        words = [word.text for word in spoken_words(heard, self._language)]
        found = compare([word.text for word in written], words, self._sounds)
        if evidence is not None:
            found = [difference for difference in found if evidence.confirms(written, difference)]
        reference = [word.text for word in spoken_words(reference_transcript, self._language)]
        faults = [*self._count(written, found), *self._name(len(written), words, found, reference)]
        if evidence is not None:
            faults += _acoustic_faults(evidence.words, sound)
            if not faults:
                faults += self._find_rival(samples, text, evidence, reference_transcript)
        return _verdict(written, found, tuple(dict.fromkeys(faults)), heard, evidence.words if evidence else None)

    def _force(self, samples: Samples, text: str, sound: SoundProfile) -> _Evidence | None:
        tokens = self._align(samples, text)
        return None if tokens is None else _Evidence(tokens, weigh(text, tokens, sound))

    def _align(self, samples: Samples, text: str) -> AlignedTokens | None:
        with self._recogniser.loaded_model() as model:
            return align_tokens(model, self._language, samples, text)

    def _count(self, written: Sequence[SpokenWord], found: Sequence[Difference]) -> Iterator[str]:
        errors, run = _errors(found), _run(found)
        if errors > self._limits.max_wer * len(written) or run > self._limits.max_run:
            yield "words"

    def _name(
        self, n_written: int, heard: Sequence[str], found: Sequence[Difference], reference: Sequence[str]
    ) -> Iterator[str]:
        """Yield what is wrong with words, whatever their number."""
        for difference in found:
            begin, end, heard_begin, heard_end, distance = difference
            if difference.n_written > difference.n_heard and distance > VERIFICATION.max_sound_distance:
                yield "first_word" if begin == 0 else "last_word" if end == n_written else "missing"
            if difference.n_heard <= difference.n_written:
                continue
            if self._is_repeated(heard, heard_begin, heard_end):
                yield "repeated"
            elif difference.n_written:
                continue
            elif self._contains(reference, heard[heard_begin:heard_end]):
                yield "reference"
            elif difference.n_heard > 1:
                yield "added"

    def _is_repeated(self, words: Sequence[str], begin: int, end: int) -> bool:
        """Return True if words that were added, or as many that begin a few words before or after, are said twice."""
        n = end - begin
        starts = range(max(0, begin - n), min(begin, len(words) - 2 * n) + 1)
        return any(self._are_equal(words[at : at + n], words[at + n : at + 2 * n]) for at in starts)

    def _contains(self, words: Sequence[str], part: Sequence[str]) -> bool:
        return any(self._are_equal(words[at : at + len(part)], part) for at in range(len(words) - len(part) + 1))

    def _are_equal(self, one: Sequence[str], other: Sequence[str]) -> bool:
        return all(itertools.starmap(self._sounds.alike, zip(one, other, strict=True)))

    def _find_rival(self, samples: Samples, text: str, evidence: _Evidence, reference: str) -> list[str]:
        """Return the fault of another text that the sound says as likely as its own."""
        for rival in rival_texts(text, evidence.words, reference.split()):
            tokens = self._align(samples, rival.text)
            if (
                tokens is not None
                and tokens.log_likelihood - evidence.tokens.log_likelihood >= VERIFICATION.min_rival_log_ratio
            ):
                return [rival.fault]
        return []


@dataclass(frozen=True, eq=False)
class _Evidence:
    tokens: AlignedTokens
    words: WordEvidence

    def confirms(self, written: Sequence[SpokenWord], difference: Difference) -> bool:
        """Return False if the words that a search did not find are likely when the sound is asked for them."""
        differing = written[difference.begin : difference.end]
        if not differing:
            return True
        least = self.tokens.least_probability(differing[0].begin, differing[-1].end)
        return least < VERIFICATION.doubtful_probability


def _is_doubtful(words: WordEvidence, sound: SoundProfile) -> bool:
    """Return True if the sound may be other than the text."""
    limits = VERIFICATION
    is_long = words.lengths >= limits.min_letters
    return bool(
        (words.probabilities < limits.doubtful_probability).any()
        or (words.excess_s >= limits.doubtful_excess_s).any()
        or words.tail_s >= limits.doubtful_excess_s
        or (words.covered[is_long] < limits.min_covered_share).any()
        or sound.longest_noise_s() >= limits.noise_s
    )


def _acoustic_faults(words: WordEvidence, sound: SoundProfile) -> Iterator[str]:
    """Yield what the sound of words shows, whatever the recogniser wrote."""
    limits = VERIFICATION
    if (
        words.excess_s[0] >= limits.added_lead_s
        or words.tail_s >= limits.added_tail_s
        or (words.excess_s >= limits.added_s).any()
    ):
        yield "added"
    if _silent_words(words).any():
        yield "silence"
    is_doubtful = bool((words.probabilities < limits.doubtful_probability).any())
    if sound.longest_noise_s() >= (limits.doubtful_noise_s if is_doubtful else limits.noise_s):
        yield "noise"


def _silent_words(words: WordEvidence) -> NDArray[np.bool_]:
    """Return which words are unlikely and have no sound, nor a neighbour that may have got theirs."""
    limits = VERIFICATION
    neighbours = np.maximum(np.append(words.excess_s[1:], 0.0), np.append(0.0, words.excess_s[:-1]))
    return np.asarray(
        (words.probabilities < limits.silent_probability)
        & (words.covered < limits.min_covered_share)
        & (words.lengths >= limits.min_letters)
        & (neighbours < limits.neighbour_excess_s)
    )


def _verdict(
    written: Sequence[SpokenWord],
    found: Sequence[Difference],
    faults: tuple[str, ...],
    heard: str,
    evidence: WordEvidence | None,
) -> SpeechVerdict:
    if faults == ("silence",) and not heard:
        return SpeechVerdict(1.0, len(written), faults, heard, 2.0)
    wer = _errors(found) / max(1, len(written))
    doubt = 1.0 if evidence is None else 1.0 - float(evidence.probabilities.mean())
    return SpeechVerdict(wer, _run(found), faults, heard, wer + FAULT_BADNESS * len(faults) + DOUBT_BADNESS * doubt)


def _errors(found: Sequence[Difference]) -> float:
    return sum(difference.errors for difference in found)


def _run(found: Sequence[Difference]) -> int:
    return max((difference.run for difference in found), default=0)
