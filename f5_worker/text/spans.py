"""Text that knows where it is from: every change keeps, for each character, its place in what the caller sent."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

Span = tuple[int, int]
_RUNS = re.compile(r"\s+|\S+")


@dataclass(frozen=True)
class Traced:
    """`text` and, for each of its characters, the `(begin, end)` in the original that it stands for."""

    text: str
    origin: tuple[Span, ...]

    @classmethod
    def of(cls, text: str) -> Traced:
        return cls(text, tuple((at, at + 1) for at in range(len(text))))

    def composed(self) -> Traced:
        """In Unicode's composed form, NFC."""
        if unicodedata.is_normalized("NFC", self.text):
            return self
        return self._rebuilt(
            (run.start() + begin, run.start() + end, new)
            for run in _RUNS.finditer(self.text)
            for begin, end, new in _compositions(run.group())
        )

    def sub(self, pattern: re.Pattern[str], replacement: str | Callable[[re.Match[str]], str]) -> Traced:
        """As `pattern.sub`."""
        expand = replacement if callable(replacement) else lambda match: match.expand(replacement)
        return self._rebuilt((match.start(), match.end(), expand(match)) for match in pattern.finditer(self.text))

    def translated(self, table: Mapping[int, str]) -> Traced:
        """As `str.translate`, with strings alone in the table."""
        return self._rebuilt((at, at + 1, table[ord(char)]) for at, char in enumerate(self.text) if ord(char) in table)

    def kept(self, wanted: Callable[[str], bool]) -> Traced:
        """Only the characters that are wanted."""
        return self._rebuilt((at, at + 1, "") for at, char in enumerate(self.text) if not wanted(char))

    def replaced(self, changes: Iterable[tuple[int, int, str]]) -> Traced:
        """With `text[begin:end]` replaced, for each `(begin, end, new)`; ascending, not overlapping."""
        return self._rebuilt(changes)

    def stripped(self) -> Traced:
        begin = len(self.text) - len(self.text.lstrip())
        end = max(begin, len(self.text.rstrip()))
        return Traced(self.text[begin:end], self.origin[begin:end])

    def _rebuilt(self, changes: Iterable[tuple[int, int, str]]) -> Traced:
        texts, origin, at = [], list[Span](), 0
        for begin, end, new in changes:
            texts += [self.text[at:begin], new]
            origin += self.origin[at:begin]
            origin += self._origins(begin, end, new)
            at = end
        texts.append(self.text[at:])
        origin += self.origin[at:]
        return Traced("".join(texts), tuple(origin))

    def _origins(self, begin: int, end: int, new: str) -> Iterator[Span]:
        """Of what replaces `text[begin:end]`: a part that stays keeps its own, all else stands for the whole."""
        if not new:
            return
        kept = self.text.find(new, begin, end)
        if kept >= 0:
            yield from self.origin[kept : kept + len(new)]
            return
        whole = (self.origin[begin][0], self.origin[end - 1][1]) if end > begin else self._between(begin)
        for _ in new:
            yield whole

    def _between(self, at: int) -> Span:
        place = self.origin[at - 1][1] if at else 0
        return (place, place)


def _compositions(run: str) -> Iterator[tuple[int, int, str]]:
    """What NFC changes in a run without spaces; the characters around a space never compose."""
    if unicodedata.is_normalized("NFC", run):
        return
    edges = [at for at, char in enumerate(run) if at == 0 or not _joins(char)] + [len(run)]
    parts = [(begin, end, unicodedata.normalize("NFC", run[begin:end])) for begin, end in pairwise(edges)]
    whole = unicodedata.normalize("NFC", run)
    if "".join(new for _, _, new in parts) != whole:
        yield 0, len(run), whole
        return
    yield from ((begin, end, new) for begin, end, new in parts if new != run[begin:end])


def _joins(char: str) -> bool:
    """Marks, and the later parts of a Korean syllable."""
    return unicodedata.category(char)[0] == "M" or "\u1160" <= char <= "\u11ff"
