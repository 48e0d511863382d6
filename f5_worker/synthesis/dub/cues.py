"""The cues of subtitles that are spoken: in order, and without sounds and music."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from f5_worker.errors import SubtitlesUnreadable, TextTooLong, TextUnspeakable
from f5_worker.settings import Settings

if TYPE_CHECKING:
    from f5_worker.transcripts.cues import Cue

MAX_LINES = 2_000
MAX_NUMBERS = 10  # of cues in a warning


def read_cues(subtitles: str, settings: Settings, track_s: float | None = None) -> list[Cue]:
    """Return the lines in order of their start.

    Args:
        track_s: the length of the track that is asked for.

    Raises:
        SubtitlesUnreadable: text without times, or too many lines. TextTooLong: more text or time than allowed.
    """
    from f5_worker.transcripts.parse import parse_transcript  # compiles 20 ms of patterns

    if track_s is not None and track_s > settings.max_audio_s:
        raise TextTooLong(f"track_s={track_s:g} is more than {settings.max_audio_s:.0f} s (F5_MAX_AUDIO_S); lower it")
    transcript = parse_transcript(subtitles)
    if not transcript.cues:
        raise SubtitlesUnreadable("subtitles holds no times; send SRT or VTT, or use synthesize for plain text")
    if len(transcript.cues) > MAX_LINES:
        raise SubtitlesUnreadable(f"subtitles has {len(transcript.cues)} lines, at most {MAX_LINES}; send it in parts")
    cues = sorted(transcript.cues, key=lambda cue: cue.start_s)
    if cues[-1].end_s > settings.max_audio_s:
        raise TextTooLong(
            f"the last line ends at {cues[-1].end_s:.0f} s, at most {settings.max_audio_s:.0f} s (F5_MAX_AUDIO_S); "
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
    shown = ", ".join(map(str, numbers[:MAX_NUMBERS]))
    more = f" and {len(numbers) - MAX_NUMBERS} more" if len(numbers) > MAX_NUMBERS else ""
    return f"cue {shown} has" if len(numbers) == 1 else f"cues {shown}{more} have"
