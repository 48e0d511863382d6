"""Find the times at which the words of a known text are spoken, by Whisper's attention and the pauses in the signal.

Whisper (weights: MIT) is forced to decode the text while it reads the sound; its cross-attention then shows which part
of the sound each token came from: the heads that OpenAI chose for this, and dynamic time warping. `refine` makes word
times from the result.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from f5_worker.alignment.refine import SOFTEST_DB, ApproximateWord, Floats, refine
from f5_worker.alignment.words import letter_span, phonetic_length, word_spans
from f5_worker.asr.loaded import FRAME_SAMPLES, MAX_FRAMES, MAX_TEXT_TOKENS, LoadedModel, TokenTimes, to_whisper_rate
from f5_worker.audio.levels import SAMPLE_RATE, Samples, speech_regions

# Mean over the words, below which the sound says something else; fewer words than MIN_WORDS are too few to tell.
MIN_CONFIDENCE, MIN_WORDS = 0.15, 5
MIN_PROBABILITY = 1e-6  # half precision knows less of smaller ones


@dataclass(frozen=True)
class AlignedWord:
    """When a word is spoken. confidence: the recogniser's probability of the word, 0..1; None if not measured."""

    start_s: float
    end_s: float
    confidence: float | None


Aligned: TypeAlias = tuple[AlignedWord, ...]


class Aligner(Protocol):
    """Finds the times of the words of one segment."""

    def align(self, samples: Samples, text: str) -> Aligned | None:
        """Return a span for each word of `word_spans(text)`, in order and without overlap, inside the samples.

        Args:
            samples: `[nw]` at 24 kHz, of one segment.
            text: as spoken in it.

        Returns:
            None if the text cannot be aligned or is not what is spoken.
        """


class ModelContext(Protocol):
    """Keeps a model loaded inside a `with` block; several threads may use it at once."""

    def __call__(self) -> AbstractContextManager[LoadedModel]:
        """Return a context manager that yields the loaded model."""


class WhisperAligner:
    """An `Aligner` for one language, ISO 639-1 (`de`, `pt-BR`). Cheap to create: the model is loaded elsewhere."""

    def __init__(self, loaded_model: ModelContext, language: str) -> None:
        self._loaded_model = loaded_model
        self._language = re.split("[-_]", language.lower())[0]

    def align(self, samples: Samples, text: str) -> Aligned | None:
        """Return a span for each word of the text; see `Aligner.align`."""
        words = [letter_span(text, begin, end) for begin, end in word_spans(text)]
        regions = speech_regions(samples, softest_db=SOFTEST_DB)
        if not any(words) or not regions:
            return None
        with self._loaded_model() as model:
            if self._language not in model.supported_languages:
                return None
            tokens = align_tokens(model, self._language, to_whisper_rate(samples), text)
        if tokens is None:
            return None
        confidences = [tokens.confidence(*word) if word else None for word in words]
        known = [value for value in confidences if value is not None]
        if len(known) >= MIN_WORDS and sum(known) / len(known) < MIN_CONFIDENCE:
            return None
        spoken = [word for word in words if word]
        approximate = [
            ApproximateWord(start_s, end_s, phonetic_length(text[slice(*word)]))
            for word, (start_s, end_s) in zip(spoken, tokens.times_s(spoken), strict=True)
        ]
        times = iter(refine(approximate, regions, len(samples) / SAMPLE_RATE))
        return place_unspoken([next(times) if word else None for word in words], confidences)


def place_unspoken(times: Sequence[tuple[float, float] | None], confidences: Sequence[float | None]) -> Aligned:
    """Return all words, those without a time with zero length at the end of the word before them.

    Args:
        times: `(start_s, end_s)` of each word, at least one of them; None for words that are not spoken.
        confidences: of each word.
    """
    words: list[AlignedWord] = []
    at_s = next(time[0] for time in times if time)
    for time, confidence in zip(times, confidences, strict=True):
        words.append(AlignedWord(*(time or (at_s, at_s)), confidence))
        at_s = words[-1].end_s
    return tuple(words)


@dataclass(frozen=True, eq=False)
class AlignedTokens:
    """Times of the `t` tokens of a text, from attention.

    ids: `[t]` of the tokens.
    char_spans: `[t, 2]` the token's `(begin, end)` in the text, without the space before it.
    times: when attention moves to the tokens, and their probabilities.
    """

    ids: tuple[int, ...]
    char_spans: NDArray[np.int64]
    times: TokenTimes

    @property
    def probabilities(self) -> Floats:
        """Return the probabilities `[t]` of the tokens."""
        return self.times.probabilities

    def times_s(self, spans: Sequence[tuple[int, int]]) -> list[tuple[float, float]]:
        """Return the times at which attention moves to the begin and to the end of spans of the text."""
        # A character of several tokens begins with the first of them.
        positions = np.maximum.accumulate(self.char_spans.reshape(-1))
        starts_s = self.times.starts_s
        times_s = np.stack([starts_s[:-1], starts_s[1:]], axis=1).reshape(-1)
        return [(begin_s, end_s) for begin_s, end_s in np.interp(spans, positions, times_s).tolist()]

    def count_before(self, at: int) -> int:
        """Return how many tokens end before a character of the text."""
        return int(np.append(self.char_spans[:, 1] <= at, False).argmin())

    def confidence(self, begin: int, end: int) -> float | None:
        """Return the mean probability of the tokens in a part of the text; None if it has none."""
        probabilities = self._probabilities(begin, end)
        return float(probabilities.mean()) if len(probabilities) else None

    def least_probability(self, begin: int, end: int) -> float:
        """Return the least probability of the tokens in a part of the text; 1 if it has none."""
        return float(self._probabilities(begin, end).min(initial=1.0))

    @property
    def log_likelihood(self) -> float:
        """Return the sum of the natural logs of the probabilities."""
        return _log_likelihood(self.probabilities)

    def _probabilities(self, begin: int, end: int) -> Floats:
        return self.probabilities[(self.char_spans[:, 0] < end) & (self.char_spans[:, 1] > begin)]


def align_tokens(model: LoadedModel, language: str, audio: Samples, text: str) -> AlignedTokens | None:
    """Return the token times of a text in its sound.

    Args:
        language: ISO 639-1, one that the model knows.
        audio: `[nw]` at 16 kHz.
        text: what is spoken in it, or may be.

    Returns:
        None if the text is too long for the sound, or one of them for Whisper's window.
    """
    spaced = _spaced(text)
    encoding = _encode(model, spaced)
    if len(encoding.ids) > _max_tokens(audio):
        return None
    times = model.force(audio, encoding.ids, language)
    return AlignedTokens(tuple(encoding.ids), _char_spans(spaced, encoding.offsets), times)


def log_likelihoods(model: LoadedModel, language: str, audio: Samples, texts: Sequence[str]) -> list[float | None]:
    """Return for each of several texts what `align_tokens` has as `log_likelihood`, without its times."""
    ids = {text: _encode(model, _spaced(text)).ids for text in texts}
    fitting = [text for text in ids if len(ids[text]) <= _max_tokens(audio)]
    found: dict[str, float] = {}
    if fitting:
        probabilities = model.token_probabilities(audio, [ids[text] for text in fitting], language)
        found = dict(zip(fitting, map(_log_likelihood, probabilities), strict=True))
    return [found.get(text) for text in texts]


def _encode(model: LoadedModel, spaced: str) -> Any:
    return model.hf_tokenizer.encode(spaced, add_special_tokens=False)


def _spaced(text: str) -> str:
    """Return the text as in Whisper's training: a word's token begins with its space."""
    return " " + re.sub(r"\s", " ", text)


def _max_tokens(audio: Samples) -> int:
    """Return how many tokens a text may have to be decoded against the sound; -1 if that is too long for any."""
    frames = -(-len(audio) // FRAME_SAMPLES)
    return min(MAX_TEXT_TOKENS, frames // 2) if frames <= MAX_FRAMES else -1


def _log_likelihood(probabilities: Floats) -> float:
    return float(np.log(np.maximum(probabilities, MIN_PROBABILITY)).sum())


def _char_spans(spaced: str, offsets: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Return the characters `[t, 2]` of tokens in the text without its first space, and without those of words."""
    return np.array([(end - len(spaced[begin:end].lstrip()) - 1, end - 1) for begin, end in offsets])
