"""Decide from the sound of a segment whether it says its text.

The recogniser is forced to decode the text first: where each word is likely and has its share of the sound, the segment
passes without a search for a transcript, which takes ten times as long. Else what a search hears where words are in
doubt, and other texts that the sound may say, have to be likelier than its own by enough: a small recogniser mishears
what was spoken well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from f5_worker import cancellation
from f5_worker.alignment.align import align_tokens, log_likelihoods
from f5_worker.asr.loaded import MAX_PREFIX_TOKENS, to_whisper_rate
from f5_worker.asr.whisper import Recogniser
from f5_worker.audio.levels import Samples
from f5_worker.models.whisper.search import NOTHING_EXPECTED, ExpectedTokens
from f5_worker.verification.compare import Difference, WordSounds, compare
from f5_worker.verification.evidence import SoundProfile, WordEvidence, weigh
from f5_worker.verification.faults import acoustic_faults, doubtful_words, rival_faults, word_faults
from f5_worker.verification.forms import SpokenWord, sound_alike, sound_distance, spoken_words
from f5_worker.verification.numbers import join_equal_numbers
from f5_worker.verification.rivals import corrected, rival_texts
from f5_worker.verification.thresholds import VERIFICATION

# Of the sum by which takes are compared, beside the word error rate: of each kind of fault, and of words that the
# recogniser is not certain of. Silence is worse than any other text.
FAULT_BADNESS, DOUBT_BADNESS, SILENCE_BADNESS = 0.2, 0.1, 10.0
LEAST = -1e4  # natural log of a likelihood below all others


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
        heard_wer: the same as `wer`, but of the whole transcript, also where the recogniser is not certain.
        may_differ: the transcript as a whole is likelier than the text, whether or not any of its differences is
            certain. A further take may be better.
    """

    wer: float
    run: int
    faults: tuple[str, ...]
    heard: str
    badness: float
    heard_wer: float = 0.0
    may_differ: bool = False

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
        written: Sequence[SpokenWord] = spoken_words(text, self._language)
        sound = SoundProfile(samples)
        if not written:
            return SpeechVerdict(0.0, 0, (), "", 0.0)
        if not sound.sound_s:
            return SpeechVerdict(1.0, len(written), ("silence",), "", SILENCE_BADNESS)
        audio = to_whisper_rate(samples)
        with self._recogniser.loaded_model() as model:
            tokens = align_tokens(model, self._language, audio, text)
        evidence = None if tokens is None else weigh(text, tokens, sound)
        expected = NOTHING_EXPECTED
        if evidence is not None:
            doubt = doubtful_words(evidence, sound)
            if doubt is None:
                return _verdict(written, [], [], text, evidence)
            expected = _expected(evidence, *doubt)
        cancellation.check()
        with self._recogniser.loaded_model() as model:
            transcript = model.transcribe_clip(audio, self._language, expected).text
        written, heard = join_equal_numbers(written, spoken_words(transcript, self._language))
        found = compare(_texts(written), _texts(heard), self._sounds)
        heard_wer, may_differ = _errors(found) / len(written), False
        faults: list[str] = []
        if evidence is not None:
            cancellation.check()
            rivals = list(rival_texts(text, evidence, reference_transcript.split()))
            others = [corrected(transcript, heard, text, written, one) for one in found]
            texts = [transcript, *others, *(rival.text for rival in rivals)]
            likelihood, *likelihoods = self._log_likelihoods(audio, texts)
            ratios = [likelihood - other for other in likelihoods[: len(others)]]
            found = [one for one, ratio in zip(found, ratios, strict=True) if _is_certain(one, written, ratio)]
            own = evidence.tokens.log_likelihood
            may_differ = heard_wer > 0.0 and likelihood - own >= VERIFICATION.doubtful_log_ratio
            faults += rival_faults(rivals, [other - own for other in likelihoods[len(others) :]])
            faults += acoustic_faults(evidence, sound)
        reference = _texts(spoken_words(reference_transcript, self._language))
        faults += word_faults(_texts(written), _texts(heard), found, reference, self._sounds.alike)
        if self._exceeds(found, len(written)):
            faults.append("words")
        verdict = _verdict(written, found, faults, transcript, evidence)
        return replace(verdict, heard_wer=heard_wer, may_differ=may_differ)

    def _exceeds(self, found: Sequence[Difference], n_written: int) -> bool:
        return _errors(found) > self._limits.max_wer * n_written or _run(found) > self._limits.max_run

    def _log_likelihoods(self, audio: Samples, texts: Sequence[str]) -> list[float]:
        """Return the natural logs of how likely texts are; one that is too long for the sound is not at all."""
        with self._recogniser.loaded_model() as model:
            found = log_likelihoods(model, self._language, audio, texts)
        return [LEAST if value is None else value for value in found]


def _expected(evidence: WordEvidence, begin: int, end: int) -> ExpectedTokens:
    """Return the tokens of the text before the word ahead of a stretch of words in doubt, and those behind it."""
    tokens, spans = evidence.tokens, evidence.spans
    n_before = tokens.count_before(spans[max(0, begin - 1)][0])
    rest = tokens.ids[tokens.count_before(spans[end][0]) :] if end < len(spans) else ()
    return ExpectedTokens(tokens.ids[: min(n_before, MAX_PREFIX_TOKENS)], rest)


def _texts(words: Sequence[SpokenWord]) -> list[str]:
    return [word.text for word in words]


def _is_certain(difference: Difference, written: Sequence[SpokenWord], log_ratio: float) -> bool:
    """Return False if the sound may say the text as well as what a search heard instead.

    Args:
        log_ratio: natural log of how much likelier the transcript is than with the words of the text.
    """
    limits = VERIFICATION
    if not difference.n_written:
        return log_ratio >= limits.added_log_ratio
    if difference.n_heard:
        return log_ratio >= limits.misheard_log_ratio
    letters = sum(len(word.text) for word in written[difference.begin : difference.end])
    least = limits.unheard_log_ratio if letters > limits.few_letters else limits.unheard_short_log_ratio
    return log_ratio >= max(least, limits.unheard_log_ratio_per_word * difference.n_written)


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
