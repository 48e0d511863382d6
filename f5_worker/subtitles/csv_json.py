"""Timelines as data for programs: csv, json, and the object that ElevenLabs calls `alignment`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from f5_worker.alignment.timeline import Timeline, Word
from f5_worker.schema.captions import SubtitleStyle
from f5_worker.subtitles.cue_times import cue_spans
from f5_worker.subtitles.cues import build_cues, join_units

TIME_DECIMALS = 3  # of seconds: milliseconds, as in srt and vtt


def write_csv(timeline: Timeline, style: SubtitleStyle) -> str:
    """Write a timeline as csv with the columns `Start (s),End (s),Segment`."""
    cues = build_cues(timeline, style)
    file = io.StringIO()
    rows = csv.writer(file)  # comma, quotes where needed, CRLF
    rows.writerow(["Start (s)", "End (s)", "Segment"])
    for cue, (begin_ms, end_ms) in zip(cues, cue_spans(cues, 1_000), strict=True):
        start_s, end_s = begin_ms / 1_000, end_ms / 1_000
        rows.writerow([f"{start_s:.{TIME_DECIMALS}f}", f"{end_s:.{TIME_DECIMALS}f}", cue.text])
    return file.getvalue()


def write_json(timeline: Timeline, style: SubtitleStyle) -> str:
    """Write a timeline as json: its words and its phrases, with their confidence."""
    cues = build_cues(timeline, style.model_copy(update={"mode": "phrase"}))
    content = {
        "source": timeline.source,
        "duration_s": round(timeline.duration_s, TIME_DECIMALS),
        "text": timeline.text,
        "words": [_word_object(word) for word in timeline.words],
        "phrases": [
            {
                "text": cue.text,
                "lines": [join_units(line) for line in cue.lines],
                "start_s": begin_ms / 1_000,
                "end_s": end_ms / 1_000,
                "confidence": _lowest_confidence(timeline.words[slice(*cue.word_range)]),
                **({"speaker": cue.speaker} if cue.speaker else {}),
            }
            for cue, (begin_ms, end_ms) in zip(cues, cue_spans(cues, 1_000), strict=True)
        ],
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def elevenlabs_alignment(timeline: Timeline) -> dict[str, list[Any]]:
    """Return times of each character of the text, as `/v1/text-to-speech/{voice}/with-timestamps` returns them."""
    return {
        "characters": list(timeline.text),
        "character_start_times_seconds": [round(start_s, TIME_DECIMALS) for start_s, _ in timeline.characters],
        "character_end_times_seconds": [round(end_s, TIME_DECIMALS) for _, end_s in timeline.characters],
    }


def _word_object(word: Word) -> dict[str, Any]:
    return {
        "text": word.text,
        "begin": word.begin,
        "end": word.end,
        "start_s": round(word.start_s, TIME_DECIMALS),
        "end_s": round(word.end_s, TIME_DECIMALS),
        "confidence": None if word.confidence is None else round(word.confidence, TIME_DECIMALS),
    }


def _lowest_confidence(words: Sequence[Word]) -> float | None:
    """Return the confidence of the least certain word; None if the time of any word was estimated."""
    known = [word.confidence for word in words if word.confidence is not None]
    return round(min(known), TIME_DECIMALS) if known and len(known) == len(words) else None
