"""Tags in a text: SSML's, HTML's, and what language models put around their thoughts.

A tag is what XML calls one, so `5 < 6 and 7 > 3` has none. SSML has no parser here: those of XML give no place in the
text for what they find, and callers send parts of SSML inside plain prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from f5_worker.errors import InvalidInput, list_some
from f5_worker.text.markup.characters import unescape_entities
from f5_worker.text.markup.directions import VOCAL_TAGS
from f5_worker.text.markup.directives import (
    MAX_PAUSE_S,
    Directives,
    Event,
    Pause,
    SayEnd,
    SayInstead,
    VoiceEnd,
    VoiceStart,
)
from f5_worker.text.spans import SourceMappedText

_NAME = r"[A-Za-z][\w.-]{0,30}(?::[\w.-]{1,30})?"
_VALUE = r"(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>=]+)"
_TAG = re.compile(rf"<(/?)({_NAME})((?:\s+[\w:.-]{{1,40}}\s*=\s*{_VALUE})*)\s*(/?)>")
_ATTRIBUTE = re.compile(rf"([\w:.-]{{1,40}})\s*=\s*({_VALUE})")
# With the tokens of a language model, `<|im_end|>`.
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)|<\?xml[^<>]*>|<!DOCTYPE[^<>]*>|<\|[\w ]{1,40}\|>", re.DOTALL | re.IGNORECASE)
_HIDDEN_NAMES = "think|thinking|thought|reasoning|reflection|script|style"
_HIDDEN = re.compile(rf"<(/?)({_HIDDEN_NAMES})(?:\s[^<>]*)?>", re.IGNORECASE)

# What ends a paragraph, a line or a cell.
_BLOCKS = frozenset(
    "p div li ul ol dl dt dd h1 h2 h3 h4 h5 h6 tr table thead tbody tfoot blockquote section article header footer "
    "main details summary title hr pre para paragraph figure figcaption aside nav".split()
)
_CELLS = frozenset(("td", "th"))
_SENTENCES = frozenset(("s", "sentence"))
# Without a sound of their own: their content is read as it is.
_SILENT = frozenset(
    "speak w token b i u em strong a span font small big mark q cite abbr acronym code kbd samp var del ins "
    "strike html body head sub sup img center ruby rb label time dfn bdi bdo wbr answer output response final".split()
)
# Ask for what this worker cannot do; their content is read without it.
_WITHOUT_EFFECT = frozenset("prosody emphasis say-as lang audio lexicon meta metadata lookup bookmark desc".split())
_VENDORS = ("amazon:", "mstts:", "google:", "xsl:")

_BREAK_TIME = re.compile(r"\+?(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})\s*(ms|s)", re.IGNORECASE)
# Of `<break strength>`, in the seconds that Azure's reference gives; SSML itself leaves them open.
_STRENGTHS_S = {"none": 0.0, "x-weak": 0.25, "weak": 0.5, "medium": 0.75, "strong": 1.0, "x-strong": 1.25}
_MAX_NAMED = 5


@dataclass
class _Reader:
    """Turns the tags of one text into changes of it and events."""

    directives: Directives
    say_depth: int = 0
    ignored: dict[str, None] = field(default_factory=dict)
    voices: list[bool] = field(default_factory=list)  # whether each open `<voice>` named one

    def read(self, name: str, attributes: dict[str, str], *, closes: bool, is_empty: bool) -> str | None:
        """Return what replaces a tag; None if it is not one that is known."""
        if name == "break":
            return "" if closes else self._event(Pause(_break_s(attributes)))
        if name == "phoneme":
            raise InvalidInput(
                "<phoneme> cannot be spoken: the model reads letters, not phonemes; write how the word sounds in "
                'letters, <sub alias="...">word</sub> or a pronunciation: {"written": "word", "spoken": "..."}'
            )
        if name == "sub":
            return self._sub(attributes.get("alias"), closes=closes)
        if name == "voice":
            return self._voice(attributes.get("name"), closes=closes, is_empty=is_empty)
        if name == "br":
            return "\n"
        if name in _BLOCKS:
            return "\n\n"
        if name in _CELLS:
            return ", " if closes else ""
        if name in _SENTENCES:
            return " " if closes else ""
        if name in VOCAL_TAGS and not attributes:
            return f"[{name}]"  # a stage direction like those in brackets
        if name in _WITHOUT_EFFECT or name.startswith(_VENDORS):
            self.ignored[f"<{name}>"] = None
            return ""
        return "" if name in _SILENT or name == "mark" else None

    def _event(self, event: Event) -> str:
        return self.directives.add(event)

    def _sub(self, alias: str | None, *, closes: bool) -> str:
        """Open or close `<sub alias>`; of nested ones the outermost counts, and HTML's `<sub>` is silent."""
        if closes:
            was_open, self.say_depth = self.say_depth == 1, max(0, self.say_depth - 1)
            return self._event(SayEnd()) if was_open else ""
        if alias is None and self.say_depth == 0:
            return ""
        self.say_depth += 1
        return self._event(SayInstead(alias or "")) if self.say_depth == 1 else ""

    def _voice(self, name: str | None, *, closes: bool, is_empty: bool) -> str:
        if closes:
            return self._event(VoiceEnd()) if self.voices and self.voices.pop() else ""
        if is_empty:
            return ""
        if not name:
            self.ignored["<voice>"] = None
        self.voices.append(bool(name))
        return self._event(VoiceStart(name)) if name else ""


def remove_hidden(text: SourceMappedText) -> SourceMappedText:
    """Remove comments, scripts, and the thoughts of a language model.

    A thought without a beginning begins with the text, one without an end ends with it.
    """
    if "<" not in text.text:
        return text
    text = text.sub(_COMMENT, " ")
    return text.replace((begin, end, "\n\n" if begin else "") for begin, end in _hidden_spans(text.text))


def _hidden_spans(text: str) -> Iterator[tuple[int, int]]:
    begin, depth, last = 0, 0, 0
    tags = list(_HIDDEN.finditer(text))
    if tags and tags[0][1]:  # `</think>` alone: some models' templates write the beginning themselves
        depth = 1
    for tag in tags:
        if not tag[1]:
            begin = tag.start() if depth == 0 else begin
            depth += 1
        elif depth > 0:
            depth -= 1
            if depth == 0:
                yield begin, tag.end()
                last = tag.end()
    if depth > 0 and begin >= last:
        yield begin, len(text)


def read_tags(text: SourceMappedText, directives: Directives) -> tuple[SourceMappedText, list[str]]:
    """Replace each tag by what it means, and return the warnings about those that mean nothing here.

    Raises:
        InvalidInput: a tag cannot be done, or asks for what is not possible.
    """
    if "<" not in text.text:
        return text, []
    reader = _Reader(directives)
    tags = list(_TAG.finditer(text.text))
    closed = {tag[2].lower() for tag in tags if tag[1] or tag[4]}
    changes = [change for tag in tags for change in _changes(tag, reader, closed)]
    unknown = list(reader.ignored)
    named = list_some(unknown, _MAX_NAMED)
    warnings = [f"tags without effect: {named}; the words in them are spoken"] if unknown else []
    return text.replace(changes), warnings


def _changes(tag: re.Match[str], reader: _Reader, closed: set[str]) -> Iterator[tuple[int, int, str]]:
    name, is_empty = tag[2].lower(), bool(tag[4])
    attributes = {key.lower(): _unquote(value) for key, value in _ATTRIBUTE.findall(tag[3])}
    new = reader.read(name, attributes, closes=bool(tag[1]), is_empty=is_empty)
    if name == "sup" and not tag[1] and tag.string[tag.end() : tag.end() + 1].isdecimal():
        new = "^"
    if new is not None:
        yield tag.start(), tag.end(), new
    elif attributes or name in closed:
        reader.ignored[f"<{name}>"] = None
        yield tag.start(), tag.end(), ""
    else:  # `Dear <name>`: words in angle brackets
        yield tag.start(), tag.start() + 1, ""
        yield tag.end() - 1, tag.end(), ""


def _unquote(value: str) -> str:
    bare = value[1:-1] if value[:1] in "\"'" else value
    return unescape_entities(SourceMappedText.of(bare)).text


def _break_s(attributes: dict[str, str]) -> float:
    """Return how long a `<break>` is."""
    written = attributes.get("time")
    if written is None:
        strength = attributes.get("strength", "medium").lower()
        if strength not in _STRENGTHS_S:
            raise InvalidInput(f"the strength of a <break> in the text is none of {', '.join(_STRENGTHS_S)}")
        return _STRENGTHS_S[strength]
    match = _BREAK_TIME.fullmatch(written.strip())
    seconds = float(match[1]) / (1_000 if match[2].lower() == "ms" else 1) if match else -1.0
    if not 0 <= seconds <= MAX_PAUSE_S:
        asked = f"{seconds:g} s" if match else "no time"
        raise InvalidInput(
            f'a <break> in the text has {asked}; write <break time="1.5s"/> or "500ms", with 0..{MAX_PAUSE_S:g} s'
        )
    return seconds
