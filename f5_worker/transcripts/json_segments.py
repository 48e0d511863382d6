"""Read transcripts in JSON, as recognisers and caption services write them: a list of things with times and words.

Whisper, whisper.cpp, WhisperX, faster-whisper, OpenAI (`verbose_json`), AWS Transcribe, Deepgram, AssemblyAI, Google,
YouTube (`json3`), pysubs2. They differ in names and units only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from f5_worker.errors import SubtitlesUnreadable
from f5_worker.text.sentences import ends_with_full_stop
from f5_worker.transcripts.csv import MAX_MEAN_SEGMENT_S
from f5_worker.transcripts.cues import Cue, check_cue_count, checked_span_s, join_lines, line_error, open_end_s
from f5_worker.transcripts.timed_lines import read_time

Json: TypeAlias = Mapping[str, Any]

_MAX_DEPTH = 12
_STARTS = ("start", "start_time", "startTime", "startMs", "start_ms", "tStartMs", "begin", "from", "timestamp")
_ENDS = ("end", "end_time", "endTime", "endMs", "end_ms", "stop", "to")
_DURATIONS = ("duration", "dur", "dDurationMs", "durationMs")
_TEXTS = ("punctuated_word", "text", "transcript", "sentence", "word", "content", "utf8", "line")
_SPEAKERS = ("speaker", "speaker_label", "speakerLabel", "speaker_id")
# Lists of sentences before lists of words: words alone are joined to sentences here.
_LISTS = ("segments", "utterances", "sentences", "audio_segments", "transcription", "captions", "cues", "subtitles")
_MAX_PAUSE_S, _MAX_SENTENCE_S = 0.8, 12.0  # of words that are joined


@dataclass(frozen=True)
class _Item:
    """A thing with times as they are written; `units_per_s` is None where neither name nor form tells the unit."""

    start: float
    end: float
    text: str
    speaker: str | None
    units_per_s: int | None


def is_json(text: str) -> bool:
    """Return True for text that begins as a JSON object, or a list of them, does; not for `[laughs]` or `{1}{2}`."""
    bare = text.lstrip()
    second = bare[1:].lstrip()[:1]
    return (bare[:1] == "{" and second in ('"', "}")) or (bare[:1] == "[" and second == "{")


def parse_json(text: str) -> list[Cue] | str:
    """Return the cues, or the words alone where there are no times.

    Raises:
        SubtitlesUnreadable: not valid JSON, with the line; or JSON without words.
    """
    value = _load(text)
    items = _find_items(value)
    if not items:
        words = value.get("text") if isinstance(value, dict) else None
        if isinstance(words, str) and words.strip():
            return words
        raise SubtitlesUnreadable("the transcript is JSON without segments that have times and text; send SRT or text")
    check_cue_count(items)
    units_per_s = items[0].units_per_s or _guess_units_per_s(items)
    return [
        Cue(*checked_span_s(number, item.start / units_per_s, item.end / units_per_s, "cue"), item.text, item.speaker)
        for number, item in enumerate(items, start=1)
    ]


def _load(text: str) -> object:
    try:
        return json.loads(text)
    except RecursionError:
        raise SubtitlesUnreadable("the transcript is JSON that is nested too deep; send SRT or text") from None
    except ValueError as error:
        lines = _load_lines(text)
        if lines is None:
            line = error.lineno if isinstance(error, json.JSONDecodeError) else 1  # a number of thousands of digits
            raise line_error(line, "this is JSON, and not valid here") from None
        return lines


def _load_lines(text: str) -> list[object] | None:
    """Return the objects of JSON Lines; None if it is not that."""
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return None


def _find_items(value: object) -> list[_Item]:
    """Return the items of the list with the longest pieces of text; words are joined to sentences."""
    found: dict[str, list[_Item]] = {}
    for name, values in _lists(value, "", 0):
        items = _join_punctuation(values)
        if items:
            found.setdefault(name, []).extend(items)
    for name in _LISTS:
        if name in found:
            return found[name]
    if not found:
        return []
    best = max(found.values(), key=lambda items: sum(len(item.text) for item in items) / len(items))
    return _join_words(best) if all(" " not in item.text.strip() for item in best) else best


def _lists(value: object, name: str, depth: int) -> Iterator[tuple[str, list[object]]]:
    """Yield every list of objects in a value, outermost first, under the name of its field."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        if value and all(isinstance(item, dict) for item in value):
            yield name, value
        for item in value:
            yield from _lists(item, name, depth + 1)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _lists(inner, key, depth + 1)


def _join_punctuation(values: Sequence[object]) -> list[_Item]:
    """Return the things that have times; a mark without times, as AWS lists them, ends the word before it."""
    items: list[_Item] = []
    for value in values:
        if not isinstance(value, dict):
            return []
        item = _read_item(value)
        if item is not None:
            items.append(item)
        elif items and value.get("type") == "punctuation" and (mark := _text(value)):
            last = items.pop()
            items.append(_Item(last.start, last.end, last.text + mark, last.speaker, last.units_per_s))
    return items


def _read_item(value: Json) -> _Item | None:
    text = _text(value)
    times = value
    for nested in ("timestamps", "offsets"):  # of whisper.cpp; the latter are exact
        times = value[nested] if isinstance(value.get(nested), dict) else times
    start_name, start = _first(times, _STARTS)
    end = _first(times, _ENDS)[1]
    if isinstance(start, list | tuple) and len(start) == 2:  # of Hugging Face: `timestamp: [start, end]`
        start, end = start
    at, until, duration = map(read_time, (start, end, _first(times, _DURATIONS)[1]))
    if text is None or at is None:
        return None
    if until is None and duration is not None:
        until = at + duration
    elif until is None and start_name == "timestamp":
        until = open_end_s(at, text)
    if until is None:
        return None
    speaker = _first(value, _SPEAKERS)[1]
    is_ms = start_name.lower().endswith("ms") or isinstance(value.get("offsets"), dict)
    named = str(speaker)[:64] if isinstance(speaker, str | int) else None
    return _Item(at, until, text, named, 1_000 if is_ms else None if isinstance(start, int) else 1)


def _text(value: Json) -> str | None:
    """Return the words of a thing: its own, those of its pieces (YouTube) or of its best reading (AWS, Google)."""
    for name in ("segs", "alternatives"):
        pieces = value.get(name)
        if isinstance(pieces, list) and pieces and all(isinstance(piece, dict) for piece in pieces):
            texts = [piece_text for piece in pieces if isinstance(piece_text := _first(piece, _TEXTS)[1], str)]
            return "".join(texts if name == "segs" else texts[:1])
    text = _first(value, _TEXTS)[1]
    return text if isinstance(text, str) else None


def _first(value: Json, names: Sequence[str]) -> tuple[str, Any]:
    return next(((name, value[name]) for name in names if value.get(name) is not None), ("", None))


def _guess_units_per_s(items: Sequence[_Item]) -> int:
    """Return 1,000 for whole numbers that are too long for the seconds of a segment."""
    total = sum(item.end - item.start for item in items)
    longest = MAX_MEAN_SEGMENT_S * len(items)
    return 1_000 if all(item.start == int(item.start) for item in items) and total > longest else 1


def _join_words(words: Sequence[_Item]) -> list[_Item]:
    """Return sentences of words: they end with a full stop, at a pause, where the speaker changes, or are long."""
    units = words[0].units_per_s or _guess_units_per_s(words)
    groups: list[list[_Item]] = []
    for word in words:
        last = groups[-1] if groups else None
        goes_on = (
            last is not None
            and not ends_with_full_stop(last[-1].text)
            and word.start - last[-1].end <= _MAX_PAUSE_S * units
            and word.end - last[0].start <= _MAX_SENTENCE_S * units
            and word.speaker == last[-1].speaker
        )
        if goes_on and last is not None:
            last.append(word)
        else:
            groups.append([word])
    return [
        _Item(
            group[0].start, group[-1].end, join_lines("\n".join(word.text for word in group)), group[0].speaker, units
        )
        for group in groups
    ]
