"""The cues of subtitles that are spoken: in order, without sounds and music, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from f5_worker.errors import SubtitlesUnreadable, TextTooLong, TextUnspeakable, list_some
from f5_worker.settings import Settings

if TYPE_CHECKING:
    from f5_worker.transcripts.cues import Cue

MAX_LINES = 2_000
MAX_NUMBERS = 10  # of cues in a warning


def read_cues(
    subtitles: str, settings: Settings, track_s: float | None = None, *, field: str = "subtitles"
) -> list[Cue]:
    """Return the lines in order of their start.

    Args:
        track_s: the length of the track that is asked for.
        field: the name of the request's field, for messages.

    Raises:
        SubtitlesUnreadable: text without times, or too many lines. TextTooLong: more text or time than allowed.
    """
    from f5_worker.transcripts.parse import parse_transcript  # compiles 20 ms of patterns

    if track_s is not None and track_s > settings.max_audio_s:
        raise TextTooLong(f"track_s={track_s:g} is more than {settings.max_audio_s:.0f} s (F5_MAX_AUDIO_S); lower it")
    transcript = parse_transcript(subtitles)
    if not transcript.cues:
        raise SubtitlesUnreadable(f"{field} holds no times; send SRT or VTT, or use synthesize for plain text")
    if len(transcript.cues) > MAX_LINES:
        raise SubtitlesUnreadable(f"{field} has {len(transcript.cues)} lines, at most {MAX_LINES}; send it in parts")
    cues = sorted(transcript.cues, key=lambda cue: cue.start_s)
    until_s, max_s = max(cue.end_s for cue in cues), settings.max_audio_s
    if until_s > max_s:
        raise TextTooLong(
            f"the last line of {field} ends at {until_s:.0f} s, at most {max_s:.0f} s (F5_MAX_AUDIO_S); "
            "send it in parts, with times from 0"
        )
    return cues


def select_spoken(cues: Sequence[Cue], non_speech: Literal["skip", "speak"]) -> tuple[list[Cue], list[str]]:
    """Return the cues that have words, without sounds and music unless these are to be spoken, and warnings.

    The others are silence; the warnings name them.

    Raises:
        TextUnspeakable: no cue has words.
    """
    from f5_worker.transcripts.non_speech import is_speakable, spoken_words

    spoken: list[Cue] = []
    sounds, wordless = list[int](), list[int]()
    for cue in cues:
        words = spoken_words(cue.text) if non_speech == "skip" else cue.text
        if is_speakable(words):
            spoken.append(replace(cue, text=words))
        else:
            (sounds if is_speakable(cue.text) else wordless).append(cue.number)
    hint = 'send non_speech: "speak" to have them spoken'
    if not spoken:
        only = f"only sounds and music; {hint}" if sounds else "only signs; send words"
        raise TextUnspeakable(f"none of the {len(cues)} cues has words that are spoken, they have {only}")
    warnings = [f"{_name_cues(wordless)} no letter and no digit: silent"] if wordless else []
    return spoken, [*warnings, f"{_name_cues(sounds)} sounds or music only: silent; {hint}"] if sounds else warnings


def _name_cues(numbers: Sequence[int]) -> str:
    shown = list_some(numbers, MAX_NUMBERS)
    return f"cue {shown} has" if len(numbers) == 1 else f"cues {shown} have"


def with_speakers(cues: Sequence[Cue], source: Sequence[Cue]) -> list[Cue]:
    """Return translated cues, those without a speaker with that of the source's cue that is shown with them longest.

    Where none is shown at the same time, it is the nearest one. Sounds and music do not count.

    Args:
        source: in order of their start; empty where there is none.
    """
    from f5_worker.transcripts.non_speech import spoken_words

    spoken = [cue for cue in source if spoken_words(cue.text)] or source
    if not spoken:
        return list(cues)
    starts_s, ends_s = np.array([(cue.start_s, cue.end_s) for cue in spoken]).T

    def speaker_of(cue: Cue) -> str | None:
        shared_s = np.minimum(ends_s, cue.end_s) - np.maximum(starts_s, cue.start_s)  # negative: the time between
        return cue.speaker or spoken[int(shared_s.argmax())].speaker

    return [replace(cue, speaker=speaker_of(cue)) for cue in cues]
