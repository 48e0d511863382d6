"""Advanced SubStation Alpha, the format of burnt-in subtitles: large letters, words highlighted as they are spoken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from f5_worker.alignment.timeline import Timeline
from f5_worker.schema.captions import MAX_CHARS_PER_LINE, NARROW_MAX_CHARS_PER_LINE, SubtitleStyle
from f5_worker.subtitles.breaks import display_width, single_line
from f5_worker.subtitles.cue_times import ESTIMATED_NOTE, cue_spans, unit_spans
from f5_worker.subtitles.cues import SubtitleCue, TextUnit, build_cues, join_units
from f5_worker.text.scripts import has_right_to_left, is_right_to_left

# A font's size is the height of its line. In Arial Bold English prose takes 0.42 of it per character on average,
# 0.47 where 20 characters are widest (from the widths in the font's metrics); half an ideograph takes 0.45.
CHARACTER_WIDTH = 0.47

# Only libass has escapes for these; unescaped they begin commands.
_FULL_WIDTH_TWINS = str.maketrans({"{": "｛", "}": "｝", "\\": "＼"})
LINE_BREAK = r"\N"
# A renderer sets each line from left to right unless it is marked (libass #295), and text with commands inside in
# parts, which puts the words of right-to-left scripts in the wrong order (libass #441): they get no karaoke.
_RIGHT_TO_LEFT_EMBEDDING, _POP_DIRECTION = "\u202b", "\u202c"

_STYLE_FIELDS = (
    "Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, "
    "StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, "
    "Encoding"
)
_EVENT_FIELDS = "Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"


@dataclass(frozen=True)
class VideoFrame:
    """A video's size and where the letters go, in pixels; margin_v is measured from the bottom."""

    width: int
    height: int
    margin_h: int
    margin_v: int
    max_font_size: int
    outline: int
    max_columns: int


FRAMES: Mapping[str, VideoFrame] = {
    # In the lower third, above the controls that social networks show over the bottom.
    "1080x1920": VideoFrame(1080, 1920, 90, 480, 88, 6, NARROW_MAX_CHARS_PER_LINE),
    "1920x1080": VideoFrame(1920, 1080, 160, 80, 64, 4, MAX_CHARS_PER_LINE),
}


def write_ass(timeline: Timeline, style: SubtitleStyle) -> str:
    """Write a timeline as ass; with karaoke the `\\k` of a cue add up exactly to the time for which it is shown."""
    frame = FRAMES[style.frame]
    cues = build_cues(timeline, style, frame.max_columns)
    columns = style.max_chars_per_line or frame.max_columns
    font_size = _font_size(frame, columns)
    karaoke = style.karaoke is not False and style.mode == "phrase"
    lines = [
        "[Script Info]",
        *([f"; {ESTIMATED_NOTE}"] if timeline.source == "estimated" else []),
        "ScriptType: v4.00+",
        f"PlayResX: {frame.width}",
        f"PlayResY: {frame.height}",
        "WrapStyle: 0",
        "ScaledBorderAndShadow: yes",
        "",
        "[V4+ Styles]",
        f"Format: {_STYLE_FIELDS}",
        _style_line("Plain", frame, font_size, style.text_color, style.text_color),
        # A word is shown in the secondary colour until its \k begins, from then on in the primary one.
        _style_line("Karaoke", frame, font_size, style.highlight_color, style.text_color),
        "",
        "[Events]",
        f"Format: {_EVENT_FIELDS}",
    ]
    for cue, span in zip(cues, cue_spans(cues, 100), strict=True):
        style_name, text = _event_text(cue, span, karaoke)
        widest = max(display_width(join_units(line)) for line in cue.lines)
        smaller = f"{{\\fs{_font_size(frame, widest)}}}" if widest > columns else ""
        name = _event_name(cue) if style.speakers else ""
        lines.append(f"Dialogue: 0,{_clock(span[0])},{_clock(span[1])},{style_name},{name},0,0,0,,{smaller}{text}")
    return "\n".join([*lines, ""])


def _font_size(frame: VideoFrame, columns: int) -> int:
    """Return the largest size in which a line of so many columns fits, at most the frame's."""
    return max(1, min(frame.max_font_size, int((frame.width - 2 * frame.margin_h) / (CHARACTER_WIDTH * columns))))


def _style_line(name: str, frame: VideoFrame, font_size: int, primary: str, secondary: str) -> str:
    return (
        f"Style: {name},Arial,{font_size},{_color(primary)},{_color(secondary)},&H00000000,&H80000000,"
        f"-1,0,0,0,100,100,0,0,1,{frame.outline},0,2,{frame.margin_h},{frame.margin_h},{frame.margin_v},1"
    )


def _color(rgb: str) -> str:
    """Convert `#RRGGBB` to `&H00BBGGRR`, opaque."""
    return f"&H00{rgb[5:7]}{rgb[3:5]}{rgb[1:3]}".upper()


def _event_text(cue: SubtitleCue, span: tuple[int, int], karaoke: bool) -> tuple[str, str]:
    """Return the name of an event's style, and its text."""
    if karaoke and not has_right_to_left(cue.text):
        lines = ["".join(_karaoke_unit(*timed) for timed in line).rstrip() for line in unit_spans(cue, span, 100)]
        return "Karaoke", LINE_BREAK.join(lines)
    lines = [join_units(line).translate(_FULL_WIDTH_TWINS) for line in cue.lines]
    if is_right_to_left(cue.text):
        lines = [f"{_RIGHT_TO_LEFT_EMBEDDING}{line}{_POP_DIRECTION}" for line in lines]
    return "Plain", LINE_BREAK.join(lines)


def _event_name(cue: SubtitleCue) -> str:
    """Return the speaker; the field ends at a comma."""
    return single_line(cue.speaker or "").translate(_FULL_WIDTH_TWINS).replace(",", " ")


def _karaoke_unit(unit: TextUnit, begin: int, end: int) -> str:
    return f"{{\\k{end - begin}}}{unit.text.translate(_FULL_WIDTH_TWINS)}{' ' * unit.space_after}"


def _clock(hundredths: int) -> str:
    seconds, hundredths = divmod(hundredths, 100)
    return f"{seconds // 3_600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{hundredths:02}"
