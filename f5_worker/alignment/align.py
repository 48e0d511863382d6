"""When the words of a known text are heard, by Whisper's attention and the signal's own pauses.

Whisper (weights: MIT) is made to say the text while it hears the sound; its cross-attention then tells which
part of the sound each token came from. CTranslate2 has the heads that were chosen for this by OpenAI, and the
dynamic time warping. `refine` makes word times of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray

from f5_worker.alignment.refine import SOFTEST_DB, Floats, Rough, refine
from f5_worker.alignment.words import phonetic_length, word_spans
from f5_worker.audio.levels import SAMPLE_RATE, Samples, speech_regions

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

WHISPER_RATE = 16_000
FRAME_SAMPLES = 160  # of Whisper's spectrogram at 16 kHz; its encoder halves the rate
MAX_FRAMES = 3_000  # 30 s: all that Whisper hears at once
STEP_S = 0.020  # of the encoder
MAX_TOKENS = 440  # of 448 that Whisper can say, less those that start it
# Mean over the words, below which the sound says something else. What is said in few words cannot be told so.
MIN_CONFIDENCE, MIN_WORDS = 0.15, 5


@dataclass(frozen=True)
class AlignedWord:
    """When a word is heard. confidence: the recogniser's probability of the word, 0..1; None if not measured."""

    start_s: float
    end_s: float
    confidence: float | None


Aligned: TypeAlias = tuple[AlignedWord, ...]


class Aligner(Protocol):
    def align(self, samples: Samples, text: str) -> Aligned | None:
        """A span for each word of `word_spans(text)`, in order and without crossings, inside the samples.

        Args:
            samples: `[nw]` at 24 kHz, of one segment.
            text: as spoken in it.

        Returns:
            None if the text cannot be aligned or is not what is heard.
        """


class ModelLender(Protocol):
    """Lends a loaded model, which may be used from several threads."""

    def __call__(self) -> AbstractContextManager[WhisperModel]: ...


class WhisperAligner:
    """An `Aligner` for one language, ISO 639-1 (`de`, `pt-BR`). Cheap to make: the model is borrowed."""

    def __init__(self, borrow: ModelLender, language: str) -> None:
        self._borrow = borrow
        self._language = re.split("[-_]", language.lower())[0]

    def align(self, samples: Samples, text: str) -> Aligned | None:
        words = [_letters(text, begin, end) for begin, end in word_spans(text)]
        regions = speech_regions(samples, softest_db=SOFTEST_DB)
        if not any(words) or not regions:
            return None
        with self._borrow() as model:
            if self._language not in model.supported_languages:
                return None
            heard = _attend(model, self._language, samples, text)
        if heard is None:
            return None
        confidences = [heard.confidence(*word) if word else None for word in words]
        known = [value for value in confidences if value is not None]
        if len(known) >= MIN_WORDS and sum(known) / len(known) < MIN_CONFIDENCE:
            return None
        rough = [
            Rough(heard.time_s(word[0]), heard.time_s(word[1]), phonetic_length(text[slice(*word)]))
            for word in words
            if word
        ]
        times = iter(refine(rough, regions, len(samples) / SAMPLE_RATE))
        return in_place([next(times) if word else None for word in words], confidences)


def _letters(text: str, begin: int, end: int) -> tuple[int, int] | None:
    """From a word's first letter to its last; None if nothing of it is spoken."""
    letters = [at for at in range(begin, end) if phonetic_length(text[at])]
    return (letters[0], letters[-1] + 1) if letters else None


def in_place(times: Sequence[tuple[float, float] | None], confidences: Sequence[float | None]) -> Aligned:
    """Words that are not spoken take no time, after the word before them."""
    found: list[AlignedWord] = []
    at_s = next(time[0] for time in times if time)
    for time, confidence in zip(times, confidences, strict=True):
        found.append(AlignedWord(*(time or (at_s, at_s)), confidence))
        at_s = found[-1].end_s
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Attended:
    """What was attended to while saying a text, `[t]` per token.

    places: `[t, 2]` where the token's characters begin and end, without the space before them.
    starts_s: `[t + 1]` when attention moves to it, and at last to the end. probabilities: of each token.
    """

    places: NDArray[np.int64]
    starts_s: Floats
    probabilities: Floats

    def time_s(self, at: int) -> float:
        """When attention moves to a place in the text."""
        # A character of several tokens begins with the first of them.
        places = np.maximum.accumulate(self.places.reshape(-1))
        times = np.stack([self.starts_s[:-1], self.starts_s[1:]], axis=1).reshape(-1)
        return float(np.interp(at, places, times))

    def confidence(self, begin: int, end: int) -> float | None:
        """Mean probability of the tokens in a part of the text, None for no tokens."""
        inside = (self.places[:, 0] < end) & (self.places[:, 1] > begin)
        return float(self.probabilities[inside].mean()) if inside.any() else None


def _attend(model: WhisperModel, language: str, samples: Samples, text: str) -> _Attended | None:
    """None if there is more sound or text than Whisper can take at once, or more text than anybody can say."""
    from faster_whisper.tokenizer import Tokenizer
    from faster_whisper.transcribe import get_ctranslate2_storage

    audio = np.asarray(soxr.resample(samples, SAMPLE_RATE, WHISPER_RATE), np.float32)
    frames = -(-len(audio) // FRAME_SAMPLES)
    spaced = " " + re.sub(r"\s", " ", text)  # as Whisper was taught: a word begins with its space
    said = model.hf_tokenizer.encode(spaced, add_special_tokens=False)
    if frames > MAX_FRAMES or len(said.ids) > min(MAX_TOKENS, frames // 2):
        return None
    # Only what there is to hear: filled up to 30 s, as Whisper was trained, it takes longer and is no better.
    mel = model.feature_extractor(audio)[:, :frames]
    encoded = model.model.encode(get_ctranslate2_storage(np.pad(mel, ((0, 0), (0, frames % 2)))[None]))
    start = Tokenizer(model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=language)
    result = model.model.align(encoded, start.sot_sequence, [said.ids], frames)[0]
    tokens, steps = np.array(result.alignments).T
    starts = [steps[tokens == token].min() for token in range(len(said.ids) + 1)]
    places = [(_skip_space(spaced, *offsets) - 1, offsets[1] - 1) for offsets in said.offsets]
    return _Attended(np.array(places), np.array(starts) * STEP_S, np.array(result.text_token_probs))


def _skip_space(text: str, begin: int, end: int) -> int:
    return end - len(text[begin:end].lstrip())
