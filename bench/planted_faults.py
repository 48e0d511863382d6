"""Faults as a speech model makes them, planted in good speech whose words have known times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from f5_worker.audio.levels import SAMPLE_RATE, Samples, rms
from tests.speak import SpokenWord, Utterance

MAX_WORDS = 3  # that a fault concerns, besides one of the whole segment
MIN_FAULT_S = 0.25  # of speech that it concerns: more than an article
FADE_S = 0.005
PAUSE_S = 0.05  # between speech and what leaks into it


@dataclass(frozen=True, eq=False)
class Speech:
    """Good speech of a text, and what speaks the voice's reference and another text."""

    spoken: Utterance
    reference: Callable[[], Utterance]
    other: Callable[[], Utterance]


def replaced(speech: Speech, rng: np.random.Generator) -> Samples:
    """Return speech of another text."""
    return speech.other().samples


def cut(speech: Speech, rng: np.random.Generator) -> Samples:
    """Return speech without its first or its last words."""
    samples = speech.spoken.samples
    begin, end, is_first = _edge(speech.spoken.words, rng)
    return _faded(samples[end:] if is_first else samples[:begin])


def repeated(speech: Speech, rng: np.random.Generator) -> Samples:
    """Return speech in which words are said twice."""
    samples = speech.spoken.samples
    begin, end = _stretch(speech.spoken.words, rng)
    return np.concatenate([_faded(samples[:end]), _faded(samples[begin:])])


def silenced(speech: Speech, rng: np.random.Generator) -> Samples:
    """Return speech with silence in place of words."""
    samples = speech.spoken.samples
    begin, end = _stretch(speech.spoken.words, rng)
    return np.concatenate([_faded(samples[:begin]), np.zeros(end - begin, np.float32), _faded(samples[end:])])


def noise(speech: Speech, rng: np.random.Generator) -> Samples:
    """Return speech with noise of the same loudness in place of words."""
    samples = speech.spoken.samples.copy()
    begin, end = _stretch(speech.spoken.words, rng)
    samples[begin:end] = rng.normal(0.0, rms(samples[begin:end]), end - begin)
    return samples


def leaked(speech: Speech, rng: np.random.Generator) -> Samples:
    """Return speech with the reference's last words before it, or its first ones behind it."""
    reference = speech.reference()
    begin, end, is_first = _edge(reference.words, rng)
    leak = _faded(reference.samples[begin:end])
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), np.float32)
    own = speech.spoken.samples
    return np.concatenate([own, pause, leak] if is_first else [leak, pause, own])


KINDS: dict[str, Callable[[Speech, np.random.Generator], Samples]] = {
    plant.__name__: plant for plant in (replaced, cut, repeated, silenced, noise, leaked)
}


def _stretch(words: Sequence[SpokenWord], rng: np.random.Generator) -> tuple[int, int]:
    """Return the samples of one to MAX_WORDS words."""
    begin, end = _pick(_stretches(words), rng)
    return _at(words[begin].start_s), _at(words[end - 1].end_s)


def _edge(words: Sequence[SpokenWord], rng: np.random.Generator) -> tuple[int, int, bool]:
    """Return the samples of the first or of the last words, and whether it is the first."""
    edges = [(begin, end) for begin, end in _stretches(words) if begin == 0 or end == len(words)]
    begin, end = _pick(edges, rng)
    return _at(words[begin].start_s), _at(words[end - 1].end_s), begin == 0


def _stretches(words: Sequence[SpokenWord]) -> list[tuple[int, int]]:
    return [
        (begin, end)
        for begin in range(len(words))
        for end in range(begin + 1, min(begin + MAX_WORDS, len(words)) + 1)
        if words[end - 1].end_s - words[begin].start_s >= MIN_FAULT_S and end - begin < len(words)
    ]


def _pick(stretches: Sequence[tuple[int, int]], rng: np.random.Generator) -> tuple[int, int]:
    return stretches[int(rng.integers(len(stretches)))]


def _at(time_s: float) -> int:
    return round(time_s * SAMPLE_RATE)


def _faded(samples: Samples) -> Samples:
    ramp = np.linspace(0.0, 1.0, round(FADE_S * SAMPLE_RATE), dtype=np.float32)
    faded = samples.copy()
    faded[: len(ramp)] *= ramp
    faded[len(faded) - len(ramp) :] *= ramp[::-1]
    return faded
