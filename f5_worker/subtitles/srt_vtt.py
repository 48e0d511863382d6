"""SubRip (srt) and WebVTT (vtt)."""

from __future__ import annotations

from collections.abc import Callable

from f5_worker.alignment.timeline import Timeline
from f5_worker.schema.captions import SubtitleStyle
from f5_worker.subtitles.cue_times import ESTIMATED_NOTE, cue_spans, unit_spans
from f5_worker.subtitles.cues import SubtitleCue, build_cues, join_units


def write_srt(timeline: Timeline, style: SubtitleStyle) -> str:
    """Write a timeline as SubRip."""
    cues = build_cues(timeline, style)
    return "".join(
        f"{number}\n{_clock(begin_ms, ',')} --> {_clock(end_ms, ',')}\n{_replace_arrows(_join_lines(cue))}\n\n"
        for number, (cue, (begin_ms, end_ms)) in enumerate(zip(cues, cue_spans(cues, 1_000), strict=True), 1)
    )


def write_vtt(timeline: Timeline, style: SubtitleStyle) -> str:
    """Write a timeline as WebVTT, with a time before each word if `style.karaoke` is set."""
    cues = build_cues(timeline, style)
    note = f"NOTE {ESTIMATED_NOTE}\n\n" if timeline.source == "estimated" else ""
    cue_text: Callable[[SubtitleCue, tuple[int, int]], str] = _karaoke_text if style.karaoke else _plain_text
    return f"WEBVTT\n\n{note}" + "".join(
        f"{number}\n{_clock(span[0], '.')} --> {_clock(span[1], '.')}\n{cue_text(cue, span)}\n\n"
        for number, (cue, span) in enumerate(zip(cues, cue_spans(cues, 1_000), strict=True), 1)
    )


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
