"""A recording of two people, each a tone of their own pitch, and its subtitles."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from f5_worker.audio.encode import encode
from f5_worker.audio.levels import SAMPLE_RATE, Samples

PITCH_HZ = {"Ann": 220.0, "Bob": 900.0, "": 3_000.0}
LETTERS_PER_S = 14


class Line(NamedTuple):
    """What is said from `start_s` to `end_s`; `text`: words of that length where it is empty."""

    start_s: float
    end_s: float
    speaker: str
    text: str = ""


# Ann has 9 s of speech, Bob 7.5 s.
DIALOGUE = (
    Line(0.5, 3.5, "Ann"), Line(4.0, 8.0, "Bob"), Line(8.6, 11.6, "Ann"), Line(12.0, 15.5, "Bob"),
    Line(16.0, 19.0, "Ann"),
)  # fmt: skip


def words(line: Line) -> str:
    """The words of a line, which tell who says them."""
    letter = (line.speaker or "x")[0].lower()
    return line.text or f"{letter * round((line.end_s - line.start_s) * LETTERS_PER_S)}."


def sound(lines: Sequence[Line] = DIALOGUE, length_s: float = 20.0, level: float = 0.25) -> Samples:
    samples = np.random.default_rng(1).normal(0, 0.0005, round(length_s * SAMPLE_RATE)).astype(np.float32)
    for line in lines:
        begin, end = round(line.start_s * SAMPLE_RATE), round(line.end_s * SAMPLE_RATE)
        time_s = np.arange(end - begin) / SAMPLE_RATE
        samples[begin:end] += (level * np.sin(2 * np.pi * PITCH_HZ[line.speaker] * time_s)).astype(np.float32)
    return samples


def recording(lines: Sequence[Line] = DIALOGUE, length_s: float = 20.0) -> str:
    """The recording in base64."""
    return base64.b64encode(encode(sound(lines, length_s), "flac", SAMPLE_RATE)).decode()


def clock(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def vtt(lines: Sequence[Line] = DIALOGUE, *, named: bool = True, text: str | None = None) -> str:
    """The subtitles; `text` in place of all words."""
    cues = [
        f"{clock(line.start_s)} --> {clock(line.end_s)}\n"
        + (f"<v {line.speaker}>" if named and line.speaker else "")
        + f"{text or words(line)}\n"
        for line in lines
    ]
    return "WEBVTT\n\n" + "\n".join(cues)


def who(samples: Samples) -> str:
    """The speaker whose pitch a signal has."""
    spectrum = np.abs(np.fft.rfft(samples))
    peak_hz = float(np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)[int(spectrum.argmax())])
    return min(PITCH_HZ, key=lambda name: abs(PITCH_HZ[name] - peak_hz))
