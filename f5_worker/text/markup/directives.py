"""Directives in a text: pauses, voices, and words that are said otherwise than they are written.

While a text is read, each directive in it is one character of a private plane of Unicode, so that Markdown and lines
around it are read as if it were not there; the characters of that plane that a caller sent are removed before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from f5_worker.errors import InvalidInput
from f5_worker.text.spans import SourceMappedText

MAX_PAUSE_S = 60.0
_FIRST_MARK, _LAST_MARK = 0xF0000, 0xFFFFD  # Unicode's private plane 15
MARKS = f"[{chr(_FIRST_MARK)}-{chr(_LAST_MARK)}]"

_DIRECTIVE = re.compile(
    r"\[\s{0,3}(pause|break|voice)\s{0,3}[:=]([^\[\]\n]{0,300})\]|\[/\s{0,3}voice\s{0,3}\]", re.IGNORECASE
)
_SECONDS = re.compile(r"(\d{1,6}(?:[.,]\d{1,6})?|\.\d{1,6})\s*(ms|s|sec|seconds?)?", re.IGNORECASE)


@dataclass(frozen=True)
class Pause:
    """Silence of exactly that length."""

    seconds: float


@dataclass(frozen=True)
class VoiceStart:
    """From here on the text is spoken in the voice of that name."""

    name: str


@dataclass(frozen=True)
class VoiceEnd:
    """From here on the text is spoken in the voice that spoke before the last `VoiceStart`."""


@dataclass(frozen=True)
class Turn:
    """From here on a speaker of the dialogue speaks; None: the job's own voice."""

    speaker: str | None


@dataclass(frozen=True)
class SayInstead:
    """Up to the next `SayEnd` this is said instead of what is written."""

    spoken: str


@dataclass(frozen=True)
class SayEnd:
    """The end of a `SayInstead`."""


Event: TypeAlias = Pause | VoiceStart | VoiceEnd | Turn | SayInstead | SayEnd


@dataclass
class Directives:
    """The directives of one text, by the character that stands for each."""

    _events: list[Event] = field(default_factory=list)

    @property
    def named_voices(self) -> set[str]:
        """Return the names that `[voice:...]` has."""
        return {event.name for event in self._events if isinstance(event, VoiceStart)}

    def add(self, event: Event) -> str:
        """Add a directive and return its character."""
        self._events.append(event)
        return chr(_FIRST_MARK + len(self._events) - 1)

    def get(self, mark: str) -> Event:
        """Return the directive of a character."""
        return self._events[ord(mark) - _FIRST_MARK]


def read_directives(text: SourceMappedText, directives: Directives) -> SourceMappedText:
    """Replace `[pause:1.5s]`, `[voice:ann]` and `[/voice]` by their characters.

    Raises:
        InvalidInput: a pause has no length from 0 to 60 s, or a voice no name.
    """
    if "[" not in text.text:
        return text
    return text.sub(_DIRECTIVE, lambda match: directives.add(_event(match)))


def read_turns(text: SourceMappedText, voices: Mapping[str, str], directives: Directives) -> SourceMappedText:
    """Replace the labels of a dialogue's lines, `Ann: `, by their directives.

    A turn goes on over the lines that follow it, until the next label or an empty line.

    Raises:
        InvalidInput: `voices` has a speaker without a line.
    """
    if not voices:
        return text
    known = {name.casefold(): name for name in voices}
    names = "|".join(re.escape(name) for name in sorted(voices, key=len, reverse=True))
    pattern = re.compile(rf"^[ \t]*({MARKS}*)({names})[ \t]*[:：][ \t]*|\n[ \t]*\n\s*", re.IGNORECASE | re.MULTILINE)
    changes, speaking, spoken = list[tuple[int, int, str]](), False, set[str]()
    for match in pattern.finditer(text.text):
        if match[2]:
            speaker = known[match[2].casefold()]
            spoken.add(speaker)
            changes.append((match.start(), match.end(), match[1] + directives.add(Turn(speaker))))
            speaking = True
        elif speaking:
            changes.append((match.end(), match.end(), directives.add(Turn(None))))
            speaking = False
    silent = [name for name in voices if name not in spoken | directives.named_voices]
    if silent:
        raise InvalidInput(
            f"voices names the speaker {silent[0][:40]!r}, who has no line; a line begins with the name and a colon, "
            f'"{silent[0][:40]}: ..."'
        )
    return text.replace(changes)


def _event(match: re.Match[str]) -> Event:
    if match[1] is None:
        return VoiceEnd()
    kind, value = match[1].lower(), match[2].strip()
    if kind == "voice":
        if not value:
            raise InvalidInput("[voice:] has no name; write [voice:ann] with the name of a voice")
        return VoiceStart(value)
    number = _SECONDS.fullmatch(value)
    seconds = -1.0
    if number:
        seconds = float(number[1].replace(",", ".")) / (1_000 if (number[2] or "").lower() == "ms" else 1)
    if not 0 <= seconds <= MAX_PAUSE_S:
        asked = f"{seconds:g} s" if number else "no number of seconds"
        raise InvalidInput(f"a [pause:...] in the text has {asked}; write [pause:1.5s], with 0..{MAX_PAUSE_S:g} s")
    return Pause(seconds)
