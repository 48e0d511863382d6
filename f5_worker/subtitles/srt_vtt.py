"""SubRip (srt) and WebVTT (vtt)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from f5_worker.alignment.timeline import Timeline
from f5_worker.schema.captions import SubtitleStyle
from f5_worker.subtitles.breaks import single_line
from f5_worker.subtitles.cue_times import ESTIMATED_NOTE, cue_spans, unit_spans
from f5_worker.subtitles.cues import SubtitleCue, build_cues, join_units


def write_srt(timeline: Timeline, style: SubtitleStyle) -> str:
    """Write a timeline as SubRip."""
    cues = build_cues(timeline, style)
    labels = _turn_labels(cues) if style.speakers else [""] * len(cues)
    return "".join(
        f"{number}\n{_clock(begin_ms, ',')} --> {_clock(end_ms, ',')}\n{_replace_arrows(label + _join_lines(cue))}\n\n"
        for number, (cue, label, (begin_ms, end_ms)) in enumerate(
            zip(cues, labels, cue_spans(cues, 1_000), strict=True), 1
        )
    )


def write_vtt(timeline: Timeline, style: SubtitleStyle) -> str:
    """Write a timeline as WebVTT, with a time before each word if `style.karaoke` is set."""
    cues = build_cues(timeline, style)
    note = f"NOTE {ESTIMATED_NOTE}\n\n" if timeline.source == "estimated" else ""
    cue_text: Callable[[SubtitleCue, tuple[int, int]], str] = _karaoke_text if style.karaoke else _plain_text
    voices = [_voice(cue) if style.speakers else "" for cue in cues]
    return f"WEBVTT\n\n{note}" + "".join(
        f"{number}\n{_clock(span[0], '.')} --> {_clock(span[1], '.')}\n{voice}{cue_text(cue, span)}\n\n"
        for number, (cue, voice, span) in enumerate(zip(cues, voices, cue_spans(cues, 1_000), strict=True), 1)
    )


def _turn_labels(cues: Sequence[SubtitleCue]) -> list[str]:
    """Return for each cue the name of its speaker, empty where the cue before has the same."""
    speakers = [None, *(cue.speaker for cue in cues)]
    return [f"{single_line(name)}: " if name and name != before else "" for before, name in pairwise(speakers)]


def _voice(cue: SubtitleCue) -> str:
    """Return WebVTT's voice tag (section 4.2.2); a cue that is one voice's needs no end of it."""
    return f"<v {_escape_entities(single_line(cue.speaker))}>" if cue.speaker else ""


def _plain_text(cue: SubtitleCue, span: tuple[int, int]) -> str:
    return _escape_entities(_join_lines(cue))


def _karaoke_text(cue: SubtitleCue, span: tuple[int, int]) -> str:
    """Return a cue's text with a time before each word; times must grow and be inside the cue (WebVTT, section 3.3)."""
    lines = []
    latest_ms = span[0]
    for line in unit_spans(cue, span, 1_000):
        text = ""
        for unit, begin_ms, _ in line:
            if latest_ms < begin_ms < span[1]:
                text += f"<{_clock(begin_ms, '.')}>"
                latest_ms = begin_ms
            text += _escape_entities(unit.text) + " " * unit.space_after
        lines.append(text.rstrip())
    return "\n".join(lines)


def _join_lines(cue: SubtitleCue) -> str:
    return "\n".join(join_units(line) for line in cue.lines)


def _replace_arrows(text: str) -> str:
    return text.replace("-->", "→")


def _escape_entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(ms: int, decimal_sign: str) -> str:
    seconds, ms = divmod(ms, 1_000)
    return f"{seconds // 3_600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{decimal_sign}{ms:03}"
