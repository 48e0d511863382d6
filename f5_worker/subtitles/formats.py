"""One timeline as `srt, vtt, ass, csv, json`, and in the shape of ElevenLabs' `alignment`.

What a text can do to the file that carries it, and what is done about it:

- All: white space of any kind is one space and control characters go, so that no text ends a line or a cue.
- srt has no escapes: `-->` becomes an arrow, anything else stays as it is.
- vtt: `&`, `<` and `>` as entities, as its specification says.
- ass: braces and backslashes, which begin commands, become their full-width twins (ass.py).
- csv: quoted after RFC 4180. A field that begins with `=`, `+`, `-` or `@` is not disarmed against spreadsheets:
  the file is read by programs that would show the guard as part of the line, and the text is the caller's own.

Estimated times say so in vtt (NOTE), ass (comment) and json; srt and csv have no place for it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from f5_worker.alignment.timeline import Timeline, Word
from f5_worker.schema.captions import SubtitleStyle
from f5_worker.subtitles import ass
from f5_worker.subtitles.phrases import Phrase, joined, phrases
from f5_worker.subtitles.ticks import ESTIMATED_NOTE, syllables, ticks

DECIMALS = 3  # of seconds, in json and csv: milliseconds, as in srt and vtt

# Format: its media type, and the end of a file's name.
FORMATS: Mapping[str, tuple[str, str]] = {
    "srt": ("application/x-subrip", "srt"),
    "vtt": ("text/vtt", "vtt"),
    "ass": ("text/x-ssa", "ass"),
    "csv": ("text/csv", "csv"),
    "json": ("application/json", "json"),
}


def write(timeline: Timeline, format: str, style: SubtitleStyle | None = None) -> str:
    """The timeline as a file of that format.

    In each of them cues are in order, none overlaps another, and none is shorter than the format's resolution:
    1 ms, in ass 10 ms. json holds the words as well as phrases, whatever the mode.

    Args:
        format: one of FORMATS.
        style: absent: the defaults of SubtitleStyle.
    """
    return _WRITERS[format](timeline, style or SubtitleStyle())


def elevenlabs_alignment(timeline: Timeline) -> dict[str, list[Any]]:
    """Times of each character of the text, as `/v1/text-to-speech/{voice}/with-timestamps` returns them."""
    return {
        "characters": list(timeline.text),
        "character_start_times_seconds": [round(start_s, DECIMALS) for start_s, _ in timeline.characters],
        "character_end_times_seconds": [round(end_s, DECIMALS) for _, end_s in timeline.characters],
    }


def _srt(timeline: Timeline, style: SubtitleStyle) -> str:
    cues = phrases(timeline, style)
    return "".join(
        f"{number}\n{_clock(begin, ',')} --> {_clock(end, ',')}\n{_arrowless(_lines(cue))}\n\n"
        for number, (cue, (begin, end)) in enumerate(zip(cues, ticks(cues, 1_000), strict=True), 1)
    )


def _lines(cue: Phrase) -> str:
    return "\n".join(joined(line) for line in cue.lines)


def _arrowless(text: str) -> str:
    return text.replace("-->", "→")


def _vtt(timeline: Timeline, style: SubtitleStyle) -> str:
    cues = phrases(timeline, style)
    note = f"NOTE {ESTIMATED_NOTE}\n\n" if timeline.source == "estimated" else ""
    text: Callable[[Phrase, tuple[int, int]], str] = _vtt_karaoke if style.karaoke else _vtt_plain
    return f"WEBVTT\n\n{note}" + "".join(
        f"{number}\n{_clock(span[0], '.')} --> {_clock(span[1], '.')}\n{text(cue, span)}\n\n"
        for number, (cue, span) in enumerate(zip(cues, ticks(cues, 1_000), strict=True), 1)
    )


def _vtt_plain(cue: Phrase, span: tuple[int, int]) -> str:
    return _entities(_lines(cue))


def _vtt_karaoke(cue: Phrase, span: tuple[int, int]) -> str:
    """With a time before each word, which must grow and lie inside the cue (WebVTT, section 3.3)."""
    lines = []
    latest = span[0]
    for line in syllables(cue, span, 1_000):
        shown = ""
        for atom, begin, _ in line:
            if latest < begin < span[1]:
                shown += f"<{_clock(begin, '.')}>"
                latest = begin
            shown += _entities(atom.text) + " " * atom.spaced
        lines.append(shown.rstrip())
    return "\n".join(lines)


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1_000)
    return f"{seconds // 3_600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{ms:03}"


def _csv(timeline: Timeline, style: SubtitleStyle) -> str:
    cues = phrases(timeline, style)
    file = io.StringIO()
    rows = csv.writer(file)  # comma, quotes where needed, CRLF
    rows.writerow(["Start (s)", "End (s)", "Segment"])
    for cue, (begin, end) in zip(cues, ticks(cues, 1_000), strict=True):
        rows.writerow([f"{begin / 1_000:.{DECIMALS}f}", f"{end / 1_000:.{DECIMALS}f}", cue.text])
    return file.getvalue()


def _json(timeline: Timeline, style: SubtitleStyle) -> str:
    cues = phrases(timeline, style.model_copy(update={"mode": "phrase"}))
    content = {
        "source": timeline.source,
        "duration_s": round(timeline.duration_s, DECIMALS),
        "text": timeline.text,
        "words": [_word(word) for word in timeline.words],
        "phrases": [
            {
                "text": cue.text,
                "lines": [joined(line) for line in cue.lines],
                "start_s": begin / 1_000,
                "end_s": end / 1_000,
                "confidence": _lowest(timeline.words[slice(*cue.words)]),
            }
            for cue, (begin, end) in zip(cues, ticks(cues, 1_000), strict=True)
        ],
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _word(word: Word) -> dict[str, Any]:
    return {
        "text": word.text,
        "begin": word.begin,
        "end": word.end,
        "start_s": round(word.start_s, DECIMALS),
        "end_s": round(word.end_s, DECIMALS),
        "confidence": None if word.confidence is None else round(word.confidence, DECIMALS),
    }


def _lowest(words: Sequence[Word]) -> float | None:
    """A phrase is as sure as its least sure word; with an estimated one among them there is nothing to say."""
    known = [word.confidence for word in words if word.confidence is not None]
    return round(min(known), DECIMALS) if known and len(known) == len(words) else None


def _ass(timeline: Timeline, style: SubtitleStyle) -> str:
    cues = phrases(timeline, style, ass.max_columns(style))
    return ass.script(cues, style, estimated=timeline.source == "estimated")


_WRITERS: Mapping[str, Callable[[Timeline, SubtitleStyle], str]] = {
    "srt": _srt,
    "vtt": _vtt,
    "ass": _ass,
    "csv": _csv,
    "json": _json,
}
