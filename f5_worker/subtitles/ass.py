"""Advanced SubStation Alpha, the format of burnt-in subtitles: large letters, words lit as they are heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from f5_worker.schema.captions import MAX_CHARS_PER_LINE, NARROW_MAX_CHARS_PER_LINE, SubtitleStyle
from f5_worker.subtitles.breaks import has_right_to_left, is_right_to_left, width
from f5_worker.subtitles.phrases import Atom, Phrase, joined
from f5_worker.subtitles.ticks import ESTIMATED_NOTE, syllables, ticks

# A font's size is the height of its line. In Arial Bold English prose takes 0.42 of it per character on average,
# 0.47 where 20 characters are widest (from the widths in the font's metrics); half an ideograph takes 0.45.
LETTER_WIDTH = 0.47

# No renderer but libass knows a way to write these; unescaped they begin commands.
_HARMLESS = str.maketrans({"{": "｛", "}": "｝", "\\": "＼"})
BREAK = r"\N"
# A renderer lays each line out from left to right unless told so (libass #295), and text with commands inside
# in pieces, which puts the words of such scripts in the wrong order (libass #441): so they get no karaoke.
_RIGHT_TO_LEFT, _AS_BEFORE = "\u202b", "\u202c"

_STYLE_FIELDS = (
    "Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, "
    "StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, "
    "Encoding"
)
_EVENT_FIELDS = "Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"


@dataclass(frozen=True)
class Frame:
    """A video's size and where the letters go, in pixels; margin_v from the bottom."""

    width: int
    height: int
    margin_h: int
    margin_v: int
    max_font_size: int
    outline: int
    max_columns: int


FRAMES: Mapping[str, Frame] = {
    # In the lower third, above what social networks lay over the bottom.
    "1080x1920": Frame(1080, 1920, 90, 480, 88, 6, NARROW_MAX_CHARS_PER_LINE),
    "1920x1080": Frame(1920, 1080, 160, 80, 64, 4, MAX_CHARS_PER_LINE),
}


def max_columns(style: SubtitleStyle) -> int:
    """Length of a line that fits the frame in its largest letters."""
    return FRAMES[style.frame].max_columns


def script(cues: Sequence[Phrase], style: SubtitleStyle, *, estimated: bool) -> str:
    """The whole file. With karaoke a cue's `\\k` add up exactly to how long it is seen."""
    frame = FRAMES[style.frame]
    columns = style.max_chars_per_line or frame.max_columns
    size = _font_size(frame, columns)
    karaoke = style.karaoke is not False and style.mode == "phrase"
    lines = [
        "[Script Info]",
        *([f"; {ESTIMATED_NOTE}"] if estimated else []),
        "ScriptType: v4.00+",
        f"PlayResX: {frame.width}",
        f"PlayResY: {frame.height}",
        "WrapStyle: 0",
        "ScaledBorderAndShadow: yes",
        "",
        "[V4+ Styles]",
        f"Format: {_STYLE_FIELDS}",
        _style_line("Plain", frame, size, style.text_color, style.text_color),
        # A word is shown in the second colour until its \k begins, from then on in the first.
        _style_line("Karaoke", frame, size, style.highlight_color, style.text_color),
        "",
        "[Events]",
        f"Format: {_EVENT_FIELDS}",
    ]
    for cue, span in zip(cues, ticks(cues, 100), strict=True):
        name, text = _styled(cue, span, karaoke)
        widest = max(width(joined(line)) for line in cue.lines)
        small = f"{{\\fs{_font_size(frame, widest)}}}" if widest > columns else ""
        lines.append(f"Dialogue: 0,{_clock(span[0])},{_clock(span[1])},{name},,0,0,0,,{small}{text}")
    return "\n".join([*lines, ""])


def _font_size(frame: Frame, columns: int) -> int:
    """As large as lets so long a line fit, at most the frame's size."""
    return max(1, min(frame.max_font_size, int((frame.width - 2 * frame.margin_h) / (LETTER_WIDTH * columns))))


def _style_line(name: str, frame: Frame, size: int, first: str, second: str) -> str:
    return (
        f"Style: {name},Arial,{size},{_color(first)},{_color(second)},&H00000000,&H80000000,"
        f"-1,0,0,0,100,100,0,0,1,{frame.outline},0,2,{frame.margin_h},{frame.margin_h},{frame.margin_v},1"
    )


def _color(rgb: str) -> str:
    """`#RRGGBB` as `&H00BBGGRR`, opaque."""
    return f"&H00{rgb[5:7]}{rgb[3:5]}{rgb[1:3]}".upper()


def _styled(cue: Phrase, span: tuple[int, int], karaoke: bool) -> tuple[str, str]:
    """The name of an event's style, and its text."""
    if karaoke and not has_right_to_left(cue.text):
        lines = ["".join(_syllable(*timed) for timed in line).rstrip() for line in syllables(cue, span, 100)]
        return "Karaoke", BREAK.join(lines)
    lines = [joined(line).translate(_HARMLESS) for line in cue.lines]
    if is_right_to_left(cue.text):
        lines = [f"{_RIGHT_TO_LEFT}{line}{_AS_BEFORE}" for line in lines]
    return "Plain", BREAK.join(lines)


def _syllable(atom: Atom, begin: int, end: int) -> str:
    return f"{{\\k{end - begin}}}{atom.text.translate(_HARMLESS)}{' ' * atom.spaced}"


def _clock(hundredths: int) -> str:
    seconds, hundredths = divmod(hundredths, 100)
    return f"{seconds // 3_600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{hundredths:02}"
