"""Text with a source map: every change keeps, for each character, its place in what the caller sent."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from f5_worker.text.scripts import is_later_jamo

Span = tuple[int, int]
_RUNS = re.compile(r"\s+|\S+")


@dataclass(frozen=True)
class SourceMappedText:
    """`text` and, for each of its characters, the `(begin, end)` in the source that it was made from.

    Immutable, like `str`: each method returns a new text.
    """

    text: str
    origin: tuple[Span, ...]

    @classmethod
    def of(cls, text: str) -> SourceMappedText:
        """Return a source, each of whose characters maps to itself."""
        return cls(text, tuple((at, at + 1) for at in range(len(text))))

    @classmethod
    def join(cls, parts: Iterable[SourceMappedText]) -> SourceMappedText:
        """Return parts of one text as one again."""
        texts, origin = [], list[Span]()
        for part in parts:
            texts.append(part.text)
            origin += part.origin
        return cls("".join(texts), tuple(origin))

    def disjoint(self) -> SourceMappedText:
        """Return the text with origins that do not overlap unless they are the same: joined where they do."""
        spans = list[Span]()
        counts = list[int]()
        for begin, end in self.origin:
            if spans and begin < spans[-1][1]:
                spans[-1] = (min(begin, spans[-1][0]), max(end, spans[-1][1]))
                counts[-1] += 1
            else:
                spans.append((begin, end))
                counts.append(1)
        return SourceMappedText(self.text, tuple(span for span, n in zip(spans, counts, strict=True) for _ in range(n)))

    def part(self, begin: int, end: int) -> SourceMappedText:
        """Return `text[begin:end]`."""
        return SourceMappedText(self.text[begin:end], self.origin[begin:end])

    def compose(self) -> SourceMappedText:
        """Return the text in Unicode's composed form, NFC."""
        if unicodedata.is_normalized("NFC", self.text):
            return self
        return self.replace(
            (run.start() + begin, run.start() + end, new)
            for run in _RUNS.finditer(self.text)
            for begin, end, new in _compositions(run.group())
        )

    def sub(self, pattern: re.Pattern[str], replacement: str | Callable[[re.Match[str]], str]) -> SourceMappedText:
        """Replace each match, as `pattern.sub` does."""
        expand = replacement if callable(replacement) else lambda match: match.expand(replacement)
        return self.replace((match.start(), match.end(), expand(match)) for match in pattern.finditer(self.text))

    def translate(self, table: Mapping[int, str]) -> SourceMappedText:
        """Replace characters, as `str.translate` does; the table's values are strings only."""
        return self.replace((at, at + 1, table[ord(char)]) for at, char in enumerate(self.text) if ord(char) in table)

    def filter(self, predicate: Callable[[str], bool]) -> SourceMappedText:
        """Keep only the characters for which `predicate` is true."""
        return self.replace((at, at + 1, "") for at, char in enumerate(self.text) if not predicate(char))

    def strip(self) -> SourceMappedText:
        """Remove white space at both ends."""
        begin = len(self.text) - len(self.text.lstrip())
        end = max(begin, len(self.text.rstrip()))
        return self.part(begin, end)

    def replace(self, changes: Iterable[tuple[int, int, str]]) -> SourceMappedText:
        """Replace `text[begin:end]` by `new` for each `(begin, end, new)`; ascending, not overlapping."""
        texts, origin, at = [], list[Span](), 0
        for begin, end, new in changes:
            texts += [self.text[at:begin], new]
            origin += self.origin[at:begin]
            origin += self._origin_of(begin, end, new)
            at = end
        texts.append(self.text[at:])
        origin += self.origin[at:]
        return SourceMappedText("".join(texts), tuple(origin))

    def _origin_of(self, begin: int, end: int, new: str) -> Iterator[Span]:
        """Map what replaces `text[begin:end]`: a part that stays keeps its own origin, all else has the whole's.

        If letters or digits around it go, what stays stands for them.
        """
        if not new:
            return
        kept = self.text.find(new, begin, end)
        if kept >= 0 and not any(map(str.isalnum, self.text[begin:kept] + self.text[kept + len(new) : end])):
            yield from self.origin[kept : kept + len(new)]
            return
        whole = (self.origin[begin][0], self.origin[end - 1][1]) if end > begin else self._between(begin)
        for _ in new:
            yield whole

    def _between(self, at: int) -> Span:
        place = self.origin[at - 1][1] if at else 0
        return (place, place)


def _compositions(run: str) -> Iterator[tuple[int, int, str]]:
    """Yield what NFC changes in a run without spaces; the characters around a space never compose."""
    if unicodedata.is_normalized("NFC", run):
        return
    edges = [at for at, char in enumerate(run) if at == 0 or not _joins_previous(char)] + [len(run)]
    parts = [(begin, end, unicodedata.normalize("NFC", run[begin:end])) for begin, end in pairwise(edges)]
    whole = unicodedata.normalize("NFC", run)
    if "".join(new for _, _, new in parts) != whole:
        yield 0, len(run), whole
        return
    yield from ((begin, end, new) for begin, end, new in parts if new != run[begin:end])


def _joins_previous(char: str) -> bool:
    return unicodedata.category(char)[0] == "M" or is_later_jamo(char)
