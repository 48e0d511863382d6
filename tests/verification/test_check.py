"""Verdicts: by what a recogniser is made to say of the sound, and by a real one of Piper's speech."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from f5_worker.alignment.align import MIN_PROBABILITY
from f5_worker.alignment.refine import LAG_S
from f5_worker.asr.loaded import ClipTranscript, TokenTimes
from f5_worker.asr.whisper import Recogniser
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.models.whisper.search import ExpectedTokens
from f5_worker.settings import Settings
from f5_worker.verification.check import Limits, SpeechVerdict, SpeechVerifier
from tests.audio.signals import noise, silence
from tests.verification.test_evidence import voice

TEXT = "The captain folded the letter twice and dropped it into the fire."
REFERENCE = "Some call me nature, others call me mother nature."
WORD_S = 0.3
UNLIKELY = 1e-5  # a word that is neither in TEXT nor heard


class PretendRecogniser:
    """A recogniser that hears a given text, and finds words likely unless told otherwise; each lasts WORD_S.

    Attributes:
        probabilities: of words of whatever text is forced, where they are in TEXT or heard.
        of_words_twice: the probability of a word of TEXT that is in such a text once more.
        n_searches: how often a transcript was asked for.
        expected: of it, in words: what it begins with, and what it may end with.
    """

    supported_languages = ("en",)

    def __init__(self, heard: str, probabilities: Mapping[str, float]) -> None:
        self.heard, self.probabilities, self.n_searches = heard, probabilities, 0
        self.of_words_twice = UNLIKELY
        self.hf_tokenizer = self
        self._words: list[str] = []
        self.expected = ("", "")

    @contextlib.contextmanager
    def loaded_model(self) -> Iterator[PretendRecogniser]:
        yield self

    def understands(self, language: str) -> bool:
        return language.split("-")[0] in self.supported_languages

    def encode(self, text: str, **_: Any) -> SimpleNamespace:
        ids = range(len(self._words), len(self._words) + len(text.split()))
        self._words += text.split()
        return SimpleNamespace(ids=list(ids), offsets=[match.span() for match in re.finditer(r" \S+", text)])

    def force(self, audio: Samples, tokens: Sequence[int], language: str) -> TokenTimes:
        (probabilities,) = self.token_probabilities(audio, [tokens], language)
        return TokenTimes(probabilities, np.arange(len(tokens) + 1) * WORD_S + LAG_S)

    def token_probabilities(
        self, audio: Samples, texts: Sequence[Sequence[int]], language: str
    ) -> list[NDArray[np.float64]]:
        return [self._probabilities(tokens) for tokens in texts]

    def _probabilities(self, tokens: Sequence[int]) -> NDArray[np.float64]:
        said, heard = (Counter(_plain(text).split()) for text in (TEXT, self.heard))
        likely = said | heard
        found = []
        for word in (_plain(self._words[token]) for token in tokens):
            is_first = likely[word] > 0
            likely[word] -= is_first
            twice = self.of_words_twice if word in said else UNLIKELY
            found.append(self.probabilities.get(word, 0.95) if is_first else twice)
        n_lacking = sum((heard - Counter(_plain(self._words[token]) for token in tokens)).values())
        found[-1] = max(MIN_PROBABILITY, found[-1] * 0.01**n_lacking)  # words are heard that the text does not have
        return np.array(found)

    def transcribe_clip(self, audio: Samples, language: str, expected: ExpectedTokens) -> ClipTranscript:
        self.n_searches += 1
        self.expected = tuple(" ".join(self._words[token] for token in tokens) for tokens in expected)
        return ClipTranscript(self.heard, -0.1, 0.0)


def _plain(text: str) -> str:
    return text.replace(",", "").replace(".", "")


def check(
    heard: str,
    probabilities: Mapping[str, float],
    samples: Samples | None = None,
    limits: Limits | None = None,
    of_words_twice: float = UNLIKELY,
) -> tuple[SpeechVerdict, int]:
    recogniser = PretendRecogniser(heard, probabilities)
    recogniser.of_words_twice = of_words_twice
    verifier = SpeechVerifier(cast(Recogniser, recogniser), "en", limits or Limits())
    sound = voice(len(TEXT.split()) * WORD_S) if samples is None else samples
    return verifier.check(sound, TEXT, REFERENCE), recogniser.n_searches


def test_where_all_words_are_likely_no_transcript_is_searched() -> None:
    verdict, n_searches = check("", {})
    assert n_searches == 0
    assert verdict.passed
    assert (verdict.wer, verdict.run, verdict.faults, verdict.heard) == (0.0, 0, (), TEXT)


@pytest.mark.parametrize(
    ("doubtful", "before", "behind"),
    [
        ("twice", "The captain folded the", "and dropped it into the fire."),
        ("The", "", "captain folded the letter twice and dropped it into the fire."),
        ("captain", "", "folded the letter twice and dropped it into the fire."),
        ("fire", "The captain folded the letter twice and dropped it into", ""),
        ("folded dropped", "The", "it into the fire."),
    ],
)
def test_only_the_stretch_in_doubt_is_searched(doubtful: str, before: str, behind: str) -> None:
    recogniser = PretendRecogniser(TEXT, dict.fromkeys(doubtful.split(), 0.01))
    SpeechVerifier(cast(Recogniser, recogniser), "en", Limits()).check(voice(12 * WORD_S), TEXT, REFERENCE)
    assert recogniser.expected == (before, behind)


def test_a_doubtful_word_that_is_heard_passes() -> None:
    verdict, n_searches = check(TEXT, {"captain": 0.01})
    assert n_searches == 1
    assert verdict.passed


def test_a_word_that_the_search_alone_did_not_hear_passes() -> None:
    verdict, _ = check(TEXT.replace("letter", "ladder").replace("fire", "choir"), {"captain": 0.01})
    assert verdict.passed
    assert verdict.wer == 0.0


def test_several_differences_of_which_none_is_certain_may_differ_together() -> None:
    said = {"letter": 0.03, "fire": 0.03}
    verdict, _ = check(TEXT.replace("letter", "ladder").replace("fire", "choir"), {**said, "captain": 0.01})
    assert verdict.passed
    assert verdict.heard_wer > 0.0
    assert verdict.may_differ
    alone, _ = check(TEXT.replace("letter", "ladder"), {"captain": 0.01})
    assert alone.passed
    assert not alone.may_differ
    as_heard, _ = check(TEXT, {**said, "captain": 0.01})
    assert (as_heard.heard_wer, as_heard.may_differ) == (0.0, False)


@pytest.mark.parametrize(
    ("heard", "doubtful", "faults"),
    [
        ("He never signed any of the other pictures.", "The captain folded letter twice dropped into", {"words"}),
        ("folded the letter twice and dropped it into the fire.", "The captain", {"first_word"}),
        ("The captain folded the letter twice and dropped it", "into the fire", {"last_word", "words"}),
        ("The captain folded the letter and dropped it into the fire.", "twice", {"missing"}),
        ("The captain folded the letter twice the letter twice and dropped it into the fire.", "and", {"repeated"}),
        (f"Mother nature. {TEXT}", "The", {"reference"}),
        (f"{TEXT} Some call me", "fire", {"reference", "words"}),
        ("The captain folded the green old letter twice and dropped it into the fire.", "letter", {"added"}),
    ],
)
def test_faults_have_names(heard: str, doubtful: str, faults: set[str]) -> None:
    verdict, _ = check(heard, dict.fromkeys(doubtful.split(), 0.001))
    assert faults <= set(verdict.faults)
    assert verdict.heard == heard
    assert not verdict.passed


def test_the_limits_are_the_callers() -> None:
    heard, doubtful = TEXT.replace("captain", "sailor"), {"captain": 0.001}
    assert check(heard, doubtful)[0].passed
    assert check(heard, doubtful)[0].wer == pytest.approx(1 / 12)
    assert check(heard, doubtful, limits=Limits(max_wer=0.0, max_run=1))[0].faults == ("words",)
    assert check(heard, doubtful, limits=Limits(max_wer=1.0, max_run=0))[0].faults == ("words",)


def test_words_that_are_likelier_said_twice_are_a_fault_though_they_are_heard_once() -> None:
    assert check(TEXT, {"captain": 0.01}, of_words_twice=0.9)[0].faults == ("repeated",)


@pytest.mark.parametrize("samples", [silence(3.0), silence(0.0)])
def test_silence(samples: Samples) -> None:
    verdict, n_searches = check(TEXT, {}, samples)
    assert n_searches == 0
    assert verdict.faults == ("silence",)
    assert verdict.wer == 1.0


def test_noise_in_place_of_words_is_found_though_they_are_heard() -> None:
    verdict, _ = check(TEXT, {}, np.concatenate([voice(1.5), noise(0.6, 0.1), voice(1.5)]))
    assert verdict.faults == ("noise",)


def test_sound_after_the_text_is_found_though_it_is_not_heard() -> None:
    verdict, _ = check(TEXT, {}, voice(len(TEXT.split()) * WORD_S + 0.6))
    assert verdict.faults == ("added",)


def test_the_best_take_is_the_one_with_the_least_badness() -> None:
    right = check(TEXT, {})[0]
    doubtful = check(TEXT, {"captain": 0.01})[0]
    missing = check(TEXT.replace("twice ", ""), {"twice": 0.001})[0]
    other = check("He never signed any of the pictures.", dict.fromkeys(TEXT.strip(".").split(), 0.01))[0]
    silent = check(TEXT, {}, silence(3.0))[0]
    badness = [verdict.badness for verdict in (right, doubtful, missing, other, silent)]
    assert badness == sorted(set(badness))


def test_a_language_that_the_recogniser_does_not_know_is_not_judged() -> None:
    recogniser = cast(Recogniser, PretendRecogniser("", {}))
    assert SpeechVerifier.for_language(recogniser, "de", Limits()) is None
    assert SpeechVerifier.for_language(recogniser, "en-GB", Limits()) is not None


def test_a_text_without_words_passes() -> None:
    recogniser = PretendRecogniser("", {})
    assert SpeechVerifier(cast(Recogniser, recogniser), "en", Limits()).check(voice(1.0), "...", "").passed


@lru_cache(maxsize=1)
def verifier() -> SpeechVerifier:
    from tests.listen import whisper_directory

    return SpeechVerifier(Recogniser(whisper_directory(), Settings(cpu_threads=2)), "en", Limits())


@pytest.mark.model
def test_good_speech_passes() -> None:
    from tests.speak import speak

    for text in (TEXT, "Stephen and Anne stayed there for twenty three days."):
        assert verifier().check(speak(text).samples, text, REFERENCE).passed


def without_end(samples: Samples, *bounds: int) -> Samples:
    return samples[: bounds[0]]


def silenced(samples: Samples, begin: int, end: int) -> Samples:
    return np.concatenate([samples[:begin], silence((end - begin) / SAMPLE_RATE), samples[end:]])


def noisy(samples: Samples, begin: int, end: int) -> Samples:
    return np.concatenate([samples[:begin], noise((end - begin) / SAMPLE_RATE, 0.1), samples[end:]])


def said_twice(samples: Samples, begin: int, end: int) -> Samples:
    return np.concatenate([samples[:end], samples[begin:]])


@pytest.mark.model
@pytest.mark.parametrize(
    ("plant", "fault"),
    [(without_end, "last_word"), (silenced, "silence"), (noisy, "noise"), (said_twice, "repeated")],
)
def test_planted_faults_are_found(plant: Callable[..., Samples], fault: str) -> None:
    from tests.speak import speak

    spoken = speak(TEXT)
    begin, end = (round(time_s * SAMPLE_RATE) for time_s in (spoken.words[4].start_s, spoken.words[5].end_s))
    assert fault in verifier().check(plant(spoken.samples, begin, end), TEXT, REFERENCE).faults


@pytest.mark.model
def test_another_text_and_words_of_the_reference_are_found() -> None:
    from tests.speak import speak

    assert "words" in verifier().check(speak(REFERENCE).samples, TEXT, REFERENCE).faults
    leak = np.concatenate([speak(TEXT).samples, speak("Some call me nature.").samples])
    assert not verifier().check(leak, TEXT, REFERENCE).passed
