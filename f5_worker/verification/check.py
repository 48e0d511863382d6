"""Decide from the sound of a segment whether it says its text.

The recogniser is forced to decode the text first: where each word is likely and has its share of the sound, the segment
passes without a search for a transcript, which takes ten times as long. The same pass finds the times of the words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from f5_worker import cancellation
from f5_worker.alignment.align import AlignedTokens, align_tokens
from f5_worker.asr.loaded import to_whisper_rate
from f5_worker.asr.whisper import Recogniser
from f5_worker.audio.levels import Samples
from f5_worker.verification.compare import Difference, WordSounds, compare
from f5_worker.verification.evidence import SoundProfile, WordEvidence, weigh
from f5_worker.verification.faults import acoustic_faults, is_doubtful, word_faults
from f5_worker.verification.forms import SpokenWord, sound_alike, sound_distance, spoken_words
from f5_worker.verification.rivals import Rival, rival_texts
from f5_worker.verification.thresholds import VERIFICATION

# Of the sum by which takes are compared, beside the word error rate: of each kind of fault, and of words that the
# recogniser is not certain of. Silence is worse than any other text.
FAULT_BADNESS, DOUBT_BADNESS, SILENCE_BADNESS = 0.2, 0.1, 10.0


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
        if not written:
            return SpeechVerdict(0.0, 0, (), "", 0.0)
        if not sound.sound_s:
            return SpeechVerdict(1.0, len(written), ("silence",), "", SILENCE_BADNESS)
        audio = to_whisper_rate(samples)
        (tokens,) = self._align(audio, [text])
        evidence = None if tokens is None else weigh(text, tokens, sound)
        if evidence is not None and not is_doubtful(evidence, sound):
            return _verdict(written, [], [], text, evidence)
        cancellation.check()
        heard = self._recogniser.transcribe_clip(samples, self._language).text
        words = _texts(spoken_words(heard, self._language))
        found = compare(_texts(written), words, self._sounds)
        if evidence is not None:
            found = [difference for difference in found if _is_confirmed(difference, written, evidence)]
        reference = _texts(spoken_words(reference_transcript, self._language))
        faults = ["words"] if self._exceeds(found, len(written)) else []
        faults += word_faults(_texts(written), words, found, reference, self._sounds.alike)
        if evidence is not None:
            faults += acoustic_faults(evidence, sound, [_span(one, written) for one in found if one.n_written])
            if not faults:
                rivals = list(rival_texts(text, evidence, reference_transcript.split()))
                faults += self._rival_faults(audio, rivals, evidence.tokens.log_likelihood)
        return _verdict(written, found, faults, heard, evidence)

    def _align(self, audio: Samples, texts: Sequence[str]) -> list[AlignedTokens | None]:
        with self._recogniser.loaded_model() as model:
            return align_tokens(model, self._language, audio, texts)

    def _exceeds(self, found: Sequence[Difference], n_written: int) -> bool:
        return _errors(found) > self._limits.max_wer * n_written or _run(found) > self._limits.max_run

    def _rival_faults(self, audio: Samples, rivals: Sequence[Rival], log_likelihood: float) -> list[str]:
        """Return the fault of the other text that the sound says about as likely as its own, if there is one."""
        cancellation.check()
        aligned = self._align(audio, [rival.text for rival in rivals])
        margins = [
            (tokens.log_likelihood - log_likelihood - rival.min_log_ratio, rival.fault)
            for rival, tokens in zip(rivals, aligned, strict=True)
            if tokens is not None  # else it has more words than the sound has room for
        ]
        return [fault for margin, fault in sorted(margins)[-1:] if margin >= 0.0]


def _texts(words: Sequence[SpokenWord]) -> list[str]:
    return [word.text for word in words]


def _span(difference: Difference, written: Sequence[SpokenWord]) -> tuple[int, int]:
    """Return the characters of the words of the text that differ."""
    return written[difference.begin].begin, written[difference.end - 1].end


def _is_confirmed(difference: Difference, written: Sequence[SpokenWord], evidence: WordEvidence) -> bool:
    """Return False if the words that a search did not find are likely when the sound is asked for them."""
    if not difference.n_written:
        return True
    limit = VERIFICATION.doubtful_probability if difference.n_heard else VERIFICATION.silent_probability
    return evidence.tokens.least_probability(*_span(difference, written)) < limit


def _errors(found: Sequence[Difference]) -> float:
    return sum(difference.errors for difference in found)


def _run(found: Sequence[Difference]) -> int:
    return max((difference.run for difference in found), default=0)


def _verdict(
    written: Sequence[SpokenWord],
    found: Sequence[Difference],
    faults: Sequence[str],
    heard: str,
    evidence: WordEvidence | None,
) -> SpeechVerdict:
    wer = _errors(found) / len(written)
    names = tuple(dict.fromkeys(faults))
    doubt = 1.0 if evidence is None else 1.0 - float(evidence.probabilities.mean())
    return SpeechVerdict(wer, _run(found), names, heard, wer + FAULT_BADNESS * len(names) + DOUBT_BADNESS * doubt)
