"""A caller's text as a script: what is shown, who speaks it, and where the voices pause.

Order: thoughts and code are left out, directives and tags are read, then Markdown and stage directions, then the lines
of a dialogue. The text that remains is what captions show; every character of it knows where the caller wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from f5_worker.text.markup.characters import unescape_entities
from f5_worker.text.markup.directives import (
    MARKS,
    Directives,
    Pause,
    SayEnd,
    SayInstead,
    Turn,
    VoiceEnd,
    VoiceStart,
    read_directives,
    read_turns,
)
from f5_worker.text.markup.markdown import read_markdown, remove_code
from f5_worker.text.markup.tags import read_tags, remove_hidden
from f5_worker.text.spans import SourceMappedText, Span

_MARK = re.compile(MARKS)
_FIRST_SYMBOL = "\u2070"
_ALL_MARKS = re.compile(f"{MARKS}+")


@dataclass(frozen=True)
class ScriptOptions:
    """The options of parsing a text.

    Attributes:
        markup: `plain` takes a text as it is written; only HTML's entities are read.
        directions: whether stage directions are left out or spoken.
        voices: the voice of each speaker of a dialogue, whose lines begin with the name and a colon.
    """

    markup: Literal["auto", "plain"] = "auto"
    directions: Literal["skip", "speak"] = "skip"
    voices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Passage:
    """A part of a script in one voice.

    Attributes:
        begin, end: its span in the script's text.
        voice: its name; None for the job's own.
        speaker: who speaks, as the text has it.
        pause_s: the silence after it that the text asks for.
        said: spans in the script's text, and what is said instead of them.
    """

    begin: int
    end: int
    voice: str | None = None
    speaker: str | None = None
    pause_s: float | None = None
    said: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True)
class Script:
    """A text without its markup.

    Attributes:
        source: as the caller wrote it.
        text: as captions show it; its origins are places in the source.
        passages: cover the text, in order; those without words are pauses only.
    """

    source: str
    text: SourceMappedText
    passages: tuple[Passage, ...]
    warnings: tuple[str, ...] = ()

    @property
    def voices(self) -> list[str | None]:
        """Return the voices of the passages that have words, each once, in order."""
        return list(dict.fromkeys(passage.voice for passage in self.passages if self.has_words(passage)))

    def has_words(self, passage: Passage) -> bool:
        """Return whether anything of a passage may be spoken; letters are also among the symbols, `ⓐ`."""
        shown = self.text.text[passage.begin : passage.end]
        return bool(passage.said) or any(char.isalnum() or char > _FIRST_SYMBOL for char in shown)

    def written(self, spans: Sequence[Span]) -> Span:
        """Return the span in the source that covers spans in `text`."""
        places = [self._source_span(*span) for span in spans]
        return min(begin for begin, _ in places), max(end for _, end in places)

    def _source_span(self, begin: int, end: int) -> Span:
        if begin == end:  # added, such as the full stop of a title
            at = self.text.origin[begin - 1][1] if begin else 0
            return at, at
        origin = self.text.origin[begin:end]
        return origin[0][0], origin[-1][1]


def read_script(text: str, options: ScriptOptions | None = None) -> Script:
    """Return a text as a script; the time is linear in its length.

    Raises:
        InvalidInput: a directive or a tag asks for what cannot be done, or a speaker of `voices` has no line.
    """
    options = options or ScriptOptions()
    source = SourceMappedText.of(text)
    if options.markup == "plain":
        shown = unescape_entities(source)
        return Script(text, shown, (Passage(0, len(shown.text)),))
    directives = Directives()
    marked, code_blocks = remove_code(remove_hidden(source.sub(_ALL_MARKS, "")))
    marked, warnings = read_tags(read_directives(marked, directives), directives)
    unescaped = unescape_entities(marked)
    if unescaped is not marked:  # `&lt;b&gt;`: of a page's source
        unescaped, more = read_tags(unescaped, directives)
        warnings += more
    marked, directions = read_markdown(unescaped, skip_directions=options.directions == "skip")
    marked = read_turns(marked, options.voices, directives)
    if code_blocks:
        warnings.append(f"{_were(code_blocks, 'code block')} not spoken")
    if directions:
        warnings.append(f'{_were(directions, "stage direction")} not spoken; directions: "speak" speaks them')
    passages = tuple(_passages(marked.text, directives, options.voices))
    return Script(text, marked.sub(_MARK, ""), passages, tuple(warnings))


def _passages(marked: str, directives: Directives, voices: Mapping[str, str]) -> Iterator[Passage]:
    """Yield the passages of a text in which each directive is one character; places are those without them."""
    state = _Voices(voices)
    voice = state.current
    begin = 0
    says: list[tuple[int, int, str]] = []
    said: tuple[int, str] | None = None
    n_marks = 0
    for mark in _MARK.finditer(marked):
        at, event = mark.start() - n_marks, directives.get(mark[0])
        n_marks += 1
        if isinstance(event, SayInstead):
            said = (at, event.spoken)
        elif isinstance(event, SayEnd) and said is not None:
            says.append((max(said[0], begin), at, said[1]))
            said = None
        elif isinstance(event, Pause):
            yield Passage(begin, at, *voice, event.seconds, tuple(says))
            begin, says = at, []
        elif state.change(event) and state.current != voice:
            yield Passage(begin, at, *voice, None, tuple(says))
            begin, voice, says = at, state.current, []
    yield Passage(begin, len(marked) - n_marks, *voice, None, tuple(says))


class _Voices:
    """Who speaks: the last speaker of the dialogue, or one whose voice was named since."""

    def __init__(self, voices: Mapping[str, str]) -> None:
        self._voices = voices
        self._turn: tuple[str | None, str | None] = (None, None)
        self._named: list[tuple[str | None, str | None]] = []

    @property
    def current(self) -> tuple[str | None, str | None]:
        """Return voice and speaker."""
        return self._named[-1] if self._named else self._turn

    def change(self, event: object) -> bool:
        """Take over what a directive says of voices; return False for one that says nothing of them."""
        if isinstance(event, VoiceStart):
            self._named.append((self._voices.get(event.name, event.name), event.name))
        elif isinstance(event, VoiceEnd):
            self._named = self._named[:-1]
        elif isinstance(event, Turn):
            self._named = []
            self._turn = (self._voices[event.speaker], event.speaker) if event.speaker else (None, None)
        else:
            return False
        return True


def _were(count: int, name: str) -> str:
    return f"{count} {name}{'s were' if count > 1 else ' was'}"
