"""What the sound of a segment shows of each word of its text: probability, length, whether there is sound at all."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray

from f5_worker.alignment.align import MIN_PROBABILITY, AlignedTokens
from f5_worker.alignment.refine import LAG_S, SOFTEST_DB
from f5_worker.alignment.words import letter_span, phonetic_length, word_spans
from f5_worker.audio.levels import SAMPLE_RATE, Samples, speech_regions
from f5_worker.verification.thresholds import VERIFICATION

Floats: TypeAlias = NDArray[np.float64]

HOP_S = 0.010
VOICE_RATE, VOICE_WINDOW_S = 8_000, 0.040
MIN_VOICE_HZ, MAX_VOICE_HZ = 60, 400
PACE_WORDS, SURPLUS_WORDS = 4, 5
SPECTRUM_SAMPLES = 512  # at least the window and the longest lag


class SoundProfile:
    """Where a segment has sound, and where that is voiced."""

    def __init__(self, samples: Samples) -> None:
        hops = np.arange(0.0, len(samples) / SAMPLE_RATE + HOP_S, HOP_S)
        self.is_sound = np.zeros(len(hops), np.bool_)
        for begin, end in speech_regions(samples, softest_db=SOFTEST_DB):
            self.is_sound[round(begin / SAMPLE_RATE / HOP_S) : round(end / SAMPLE_RATE / HOP_S)] = True
        self.is_voiced = _voiced(samples, len(hops)) & self.is_sound
        self._sound_s = np.concatenate([[0.0], np.cumsum(self.is_sound)]) * HOP_S
        self._ends_s = np.arange(len(self._sound_s)) * HOP_S

    @property
    def sound_s(self) -> float:
        """Return how long there is sound."""
        return float(self._sound_s[-1])

    def between(self, starts_s: Floats, ends_s: Floats) -> Floats:
        """Return how much sound there is in each of several stretches."""
        begins, ends = (np.interp(times_s, self._ends_s, self._sound_s) for times_s in (starts_s, ends_s))
        return np.asarray(np.maximum(0.0, ends - begins))

    def pauses_s(self) -> list[tuple[float, float]]:
        """Return when each silence between two sounds begins and ends."""
        edges = np.flatnonzero(np.diff(self.is_sound.astype(np.int8))) + 1
        inner = edges[1:] if len(edges) and not self.is_sound[0] else edges
        return [
            (begin * HOP_S, end * HOP_S) for begin, end in zip(inner[::2].tolist(), inner[1::2].tolist(), strict=False)
        ]

    def longest_noise_s(self) -> float:
        """Return the longest stretch of sound without a voice; 0 for a whisper, which has none anywhere."""
        n_sound = int(self.is_sound.sum())
        if not n_sound or self.is_voiced.sum() < VERIFICATION.min_voiced_share * n_sound:
            return 0.0
        is_noise = np.concatenate([[False], self.is_sound & ~self.is_voiced, [False]])
        edges = np.flatnonzero(np.diff(is_noise.astype(np.int8)))
        return float((edges[1::2] - edges[::2]).max(initial=0)) * HOP_S


def _voiced(samples: Samples, n_hops: int) -> NDArray[np.bool_]:
    """Return for each hop whether the window around it repeats itself at the pitch of a voice."""
    window, hop = round(VOICE_WINDOW_S * VOICE_RATE), round(HOP_S * VOICE_RATE)
    audio = np.asarray(soxr.resample(samples, SAMPLE_RATE, VOICE_RATE), np.float32)
    padded = np.zeros(n_hops * hop + window, np.float32)
    padded[window // 2 : window // 2 + len(audio)] = audio[: len(padded) - window // 2]
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop][:n_hops]
    spectra = np.fft.rfft(frames - frames.mean(1, keepdims=True), SPECTRUM_SAMPLES, axis=1)
    correlation = np.fft.irfft(np.square(np.abs(spectra)), axis=1)
    lags = np.arange(VOICE_RATE // MAX_VOICE_HZ, VOICE_RATE // MIN_VOICE_HZ)
    power = np.maximum(correlation[:, :1], 1e-9) * (1.0 - lags / window)
    return np.asarray((correlation[:, lags] / power).max(1) >= VERIFICATION.periodic)


class UnaskedPause(NamedTuple):
    """The longest silence where the text has no punctuation, and the word that is spoken when it begins."""

    word: int
    seconds: float


class Surplus(NamedTuple):
    """The words `begin` to `end`, a few in a row, that have the most sound beyond their share of it."""

    begin: int
    end: int
    seconds: float


@dataclass(frozen=True, eq=False)
class WordEvidence:
    """What the sound shows of the `w` words of a text that have letters.

    Attributes:
        tokens: of the text.
        spans: `[w]` their characters in the text.
        lengths: `[w]` their phonetic lengths.
        probabilities: `[w]` the least of the probabilities of a word's tokens.
        covered: `[w]` the sound of a word over what its letters take at the pace of the segment.
        excess_s: `[w]` the sound from a word to the next one beyond that; of the first, from the begin.
        surplus: of a few words in a row, which attention may have shared wrongly, at the usual pace of the segment.
        pause: which may be in place of words.
        tail_s: the sound after the last word.
    """

    tokens: AlignedTokens
    spans: tuple[tuple[int, int], ...]
    lengths: Floats
    probabilities: Floats
    covered: Floats
    excess_s: Floats
    surplus: Surplus
    pause: UnaskedPause
    tail_s: float

    @property
    def log10_probabilities(self) -> Floats:
        """Return the base 10 logs of the probabilities."""
        return np.asarray(np.log10(np.maximum(self.probabilities, MIN_PROBABILITY)))


def weigh(text: str, tokens: AlignedTokens, sound: SoundProfile) -> WordEvidence | None:
    """Measure the words of a text by its forced alignment and the sound; None if it has no letters."""
    spans = tuple(span for span in word_spans(text) if letter_span(text, *span))
    letters = [span for whole in spans if (span := letter_span(text, *whole))]
    if not letters:
        return None
    starts_s, ends_s = np.maximum(0.0, np.array(tokens.times_s(letters)) - LAG_S).T
    starts_s[0] = 0.0
    lengths = np.array([phonetic_length(text[begin:end]) for begin, end in spans])
    expected_s = sound.sound_s / lengths.sum() * lengths
    sounds_s = sound.between(starts_s, np.append(starts_s[1:], ends_s[-1]))
    return WordEvidence(
        tokens,
        spans,
        lengths,
        np.array([tokens.least_probability(*span) for span in letters]),
        sound.between(starts_s, ends_s) / np.maximum(expected_s, HOP_S),
        sounds_s - expected_s,
        _surplus(lengths, sounds_s),
        _pause(text, letters, starts_s, sound),
        float(sound.between(ends_s[-1:], np.array([np.inf]))[0]),
    )


def _pause(text: str, letters: Sequence[tuple[int, int]], starts_s: Floats, sound: SoundProfile) -> UnaskedPause:
    """Return the longest pause that is not at punctuation, be the alignment wrong by a word."""
    found = [UnaskedPause(0, 0.0)]
    for begin_s, end_s in sound.pauses_s():
        word = max(0, int(np.searchsorted(starts_s, begin_s)) - 1)
        near = letters[max(0, word - 1) : word + 3]
        between = (text[end:begin] for (_, end), (begin, _) in itertools.pairwise(near))
        if not any(gap.strip() for gap in between):
            found.append(UnaskedPause(word, end_s - begin_s))
    return max(found, key=lambda pause: pause.seconds)


def _surplus(lengths: Floats, sounds_s: Floats) -> Surplus:
    """Return it, by the median pace of PACE_WORDS in a row: words that are said twice do not change it."""
    letters, sound_s = (np.append(0.0, np.cumsum(values)) for values in (lengths, sounds_s))
    n = min(PACE_WORDS, len(lengths))
    pace = float(np.median((sound_s[n:] - sound_s[:-n]) / (letters[n:] - letters[:-n])))
    beyond_s = sound_s - pace * letters
    found = []
    for size in range(1, min(SURPLUS_WORDS, len(lengths)) + 1):
        gains_s = beyond_s[size:] - beyond_s[:-size]
        begin = int(gains_s.argmax())
        found.append(Surplus(begin, begin + size, float(gains_s[begin])))
    return max(found, key=lambda surplus: surplus.seconds)
