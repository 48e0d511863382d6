"""Synthetic signals and files, made in memory. All signals are float32 `[nw]`; rates in Hz, levels linear."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import soundfile

from f5_worker.audio.levels import SAMPLE_RATE, SILENCE_DB, Samples, rms


def tone(seconds: float, level: float = 0.5, hertz: float = 220.0, rate: int = SAMPLE_RATE) -> Samples:
    time_s = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * time_s)).astype(np.float32)


def silence(seconds: float, rate: int = SAMPLE_RATE) -> Samples:
    return np.zeros(round(seconds * rate), np.float32)


def noise(seconds: float, level: float = 0.1, seed: int = 0, rate: int = SAMPLE_RATE) -> Samples:
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)


def speech(sentences_s: Sequence[float], pauses_s: Sequence[float], level: float = 0.1) -> Samples:
    """Return noise bursts of the given lengths, separated by the given pauses."""
    parts: list[Samples] = []
    for index, length_s in enumerate(sentences_s):
        parts.append(noise(length_s, level, seed=index))
        if index < len(pauses_s):
            parts.append(silence(pauses_s[index]))
    return np.concatenate(parts)


def words(letters: int) -> str:
    """Return a text of that many letters, in words of five."""
    return " ".join("abcde"[: min(5, letters - done)] for done in range(0, letters, 5))


def file(samples: np.ndarray, rate: int = SAMPLE_RATE, format: str = "WAV", subtype: str | None = None) -> bytes:
    """Write a file with libsndfile; samples `[nw]` or `[nw, c]`."""
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=format, subtype=subtype)
    return out.getvalue()


def muxed(samples: Samples, container: str, codec: str, rate: int = 48_000, layout: str = "mono") -> bytes:
    """Write a file with FFmpeg, where libsndfile cannot; samples `[nw]`, the same in all channels, or `[c, nw]`."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as target:
        stream = target.add_stream(codec, rate=rate, layout=layout)
        planes = np.broadcast_to(samples, (stream.codec_context.channels, samples.shape[-1])).copy()
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate = rate
        frame.pts, frame.time_base = 0, Fraction(1, rate)
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return out.getvalue()


def tracks(container: str, *codecs: str, samples: Samples, rate: int = 48_000) -> bytes:
    """Write a file with several audio tracks of the same sound."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as target:
        streams = [target.add_stream(codec, rate=rate, layout="mono") for codec in codecs]
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = rate
            frame.pts, frame.time_base = 0, Fraction(1, rate)
            target.mux(stream.encode(frame))
            target.mux(stream.encode(None))
    return out.getvalue()


def amr_wb(seconds: float) -> bytes:
    """Return an AMR-WB file of speech frames of random bits, 12.65 kbit/s, since no encoder is at hand."""
    bits = np.random.default_rng(0).bytes(32)
    return b"#!AMR-WB\n" + round(seconds * 50) * (b"\x14" + bits)


def rms_db(samples: Samples) -> float:
    """Return `rms` in dB of full scale, never below SILENCE_DB."""
    return max(SILENCE_DB, 20.0 * float(np.log10(max(rms(samples), 1e-12))))


def same(left: Samples, right: Samples) -> float:
    """Return the correlation of two signals over their common length; 1 for equal shapes."""
    n = min(len(left), len(right))
    return float(np.corrcoef(left[:n], right[:n])[0, 1])
