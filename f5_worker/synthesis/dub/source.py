"""The original recording of a dubbed track: who says what in it, and the voice of each of its speakers."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from f5_worker import cancellation
from f5_worker.audio.decode import Audio, to_model_rate
from f5_worker.audio.isolated import decode_spans
from f5_worker.audio.levels import Samples
from f5_worker.audio.loudness import lufs
from f5_worker.errors import InvalidInput, ReferenceProblem, ReferenceTooShort, TranscriptMismatch
from f5_worker.reference.prepare import Reference, prepare_turns
from f5_worker.reference.thresholds import CUES, TURNS
from f5_worker.reference.turns import JoinedTurns, choose_turns, cut_turn, find_turns, join_turns, merge_spans
from f5_worker.schema.dub import MAX_SPEAKERS, SourceInput
from f5_worker.schema.sources import read_audio_source
from f5_worker.settings import Settings
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.dub.cues import read_cues
from f5_worker.text.normalize import normalize_transcript

if TYPE_CHECKING:
    from f5_worker.transcripts.cues import Cue

_DIALOGUE = re.compile(r"(?:^|\s)[-–—]\s?\w.*[.!?…]\s+[-–—]\s?\w")  # two people in one cue, each after a dash


@dataclass(frozen=True, eq=False)
class SourceVoice:
    """What the source has of a speaker.

    Attributes:
        reference: or why there is none.
        speech: what was looked at of the speaker's own lines, `[nw]` at 24 kHz.
    """

    reference: Reference | ReferenceProblem
    speech: Samples


def read_source_cues(source: SourceInput, settings: Settings) -> list[Cue]:
    """Return what is said in the source, in order, with its speakers.

    Raises:
        SubtitlesUnreadable, TextTooLong: as `read_cues`.
        InvalidInput: `speakers` has a cue that does not exist.
    """
    cues = read_cues(source.subtitles, settings, field="source.subtitles")
    ranges, last = source.cue_ranges, max(cue.number for cue in cues)
    if ranges and ranges[-1].last > last:
        raise InvalidInput(f"source.speakers has cue {ranges[-1].last}, and source.subtitles ends with cue {last}")
    firsts = [cue_range.first for cue_range in ranges]
    named = []
    for cue in cues:
        index = bisect_right(firsts, cue.number) - 1
        is_given = index >= 0 and cue.number <= ranges[index].last
        named.append(replace(cue, speaker=ranges[index].speaker) if is_given else cue)
    return named


def cut_voices(
    source: SourceInput, cues: Sequence[Cue], speakers: Collection[str | None], worker: Worker
) -> dict[str | None, SourceVoice]:
    """Return what the source has of each of `speakers`; nothing else of it is decoded.

    Args:
        cues: as from `read_source_cues`.

    Raises:
        InvalidInput, FetchError, ReferenceUnreadable, ReferenceTooLarge: the recording cannot be read.
        TranscriptMismatch: it ends long before its subtitles.
    """
    if len(speakers) > MAX_SPEAKERS:
        raise InvalidInput(f"the lines have {len(speakers)} speakers, at most {MAX_SPEAKERS}; send them in parts")
    settings = worker.settings
    spoken = [replace(cue, text=normalize_transcript(cue.text) if _is_all_speech(cue.text) else "") for cue in cues]
    max_s = min(TURNS.max_speaker_s, settings.reference_decode_max_s / max(len(speakers), 1))
    turns = find_turns(spoken, min(TURNS.max_turn_s, max_s))
    chosen = {name: choose_turns((turn for turn in turns if turn.speaker == name), max_s) for name in speakers}
    spans_s = merge_spans(turn for own in chosen.values() for turn in own)
    parts = _decode(source, spans_s, settings)
    _check_end(parts, spans_s, max(cue.end_s for cue in cues))
    voices = {}
    for name, own in chosen.items():
        cancellation.check()
        cut = [turn for turn in (cut_turn(turn, spoken, spans_s, parts) for turn in own) if turn is not None]
        if cut:
            voices[name] = _cut_voice(join_turns(cut), source, worker)
        else:
            voices[name] = SourceVoice(_no_line(name, cues, len(own)), np.zeros(0, np.float32))
    return voices


def source_lufs(voices: Mapping[str | None, SourceVoice]) -> dict[str | None, float]:
    """Return the loudness of each speaker; that of all together for one of whom there is nothing."""
    of_all = lufs(np.concatenate([voice.speech for voice in voices.values()]))
    measured = {name: lufs(voice.speech) if len(voice.speech) else of_all for name, voice in voices.items()}
    return {name: value for name, value in measured.items() if math.isfinite(value)}


def _is_all_speech(text: str) -> bool:
    """Return True for a cue that is words of one person, without sounds, music or someone who answers."""
    from f5_worker.transcripts.non_speech import is_speakable, spoken_words

    return is_speakable(text) and spoken_words(text) == text and _DIALOGUE.search(text) is None


def _decode(source: SourceInput, spans_s: Sequence[tuple[float, float]], settings: Settings) -> list[Audio]:
    if not spans_s:
        return []
    data = read_audio_source(source.audio, settings)
    return decode_spans(data, spans_s, max_bytes=settings.reference_max_bytes, max_s=settings.reference_decode_max_s)


def _check_end(parts: Sequence[Audio], spans_s: Sequence[tuple[float, float]], last_s: float) -> None:
    for part, (begin_s, end_s) in zip(parts, spans_s, strict=True):
        if begin_s + part.duration_s < end_s - TURNS.margin_s - CUES.beyond_s:
            end = f"at {begin_s + part.duration_s:.1f} s" if part.duration_s else f"before {begin_s:.1f} s"
            raise TranscriptMismatch(
                f"source.subtitles reach to {last_s:.1f} s and source.audio ends {end}; "
                "send the recording and the subtitles that belong together"
            )


def _cut_voice(turns: JoinedTurns, source: SourceInput, worker: Worker) -> SourceVoice:
    speech = to_model_rate(turns.audio)
    try:
        reference = prepare_turns(turns, worker.settings, worker.recogniser, source.language)
    except ReferenceProblem as problem:
        return SourceVoice(problem, speech)
    return SourceVoice(reference, speech)


def _no_line(name: str | None, cues: Sequence[Cue], n_turns: int) -> ReferenceTooShort:
    n_own = sum(cue.speaker == name for cue in cues)
    if n_turns:
        return ReferenceTooShort(f"of the {n_own} lines in source.subtitles none begins and ends at a pause")
    if n_own:
        return ReferenceTooShort(
            f"of the {n_own} lines in source.subtitles none is speech of this speaker alone: they have sounds, "
            f"are shown together with others, or are longer than {TURNS.max_turn_s:g} s"
        )
    known = ", ".join(sorted({cue.speaker for cue in cues if cue.speaker})) or "no speakers"
    return ReferenceTooShort(f"source.subtitles has no line of this speaker; it has {known[:400]}")
