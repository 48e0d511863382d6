"""Pages in the order of reading, and a table of contents, to chapters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from scripts.audiobook.matter import is_matter_title
from scripts.audiobook.model import Block, Chapter
from scripts.audiobook.pages import Page

_PART_CHARS = 1_000  # an entry with less text before the first one below it is a part, whose chapters are below
_CHAPTER_CHARS = 3_000  # entries below another that are shorter on average are sections: no marks of their own
_BEGINNING_BLOCKS = 3  # of a chapter, where its title is looked for
_TITLE_CHARS = 100
_TITLE_PAGE_CHARS = 400
_LEAST_SPLIT = 2


@dataclass(frozen=True)
class Entry:
    """An entry of a table of contents: where in the book it leads, and what is below it."""

    title: str
    path: str
    fragment: str = ""
    children: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class _Mark:
    title: str
    at: int  # index of the first block


def split_by_contents(pages: Sequence[tuple[str, Page]], entries: Sequence[Entry]) -> list[Chapter]:
    """Return the chapters that a table of contents names; empty if it leads nowhere.

    What precedes the first entry is a chapter without a name of its own, called after its heading.
    """
    blocks = [block for _, page in pages for block in page.blocks]
    marks = _Contents(blocks, _places(pages)).marks(entries)
    if not marks:
        return []
    before = [_Mark("", 0)] if marks[0].at > 0 else []
    return list(_cut(blocks, [*before, *marks]))


def split_by_headings(blocks: Sequence[Block]) -> list[Chapter]:
    """Return chapters that begin at the highest headings of which there are several, or else one chapter."""
    counts = Counter(block.level for block in blocks if block.kind == "heading")
    levels = [level for level, count in sorted(counts.items()) if count >= _LEAST_SPLIT]
    if not levels:
        return list(_cut(blocks, [_Mark("", 0)]))
    starts: list[_Mark] = []
    previous = -2
    for index, block in enumerate(blocks):
        if block.kind != "heading" or block.level > levels[0]:
            continue
        if index == previous + 1:  # a chapter's number and its name
            starts[-1] = replace(starts[-1], title=f"{starts[-1].title} {block.text}")
        else:
            starts.append(_Mark(block.text, index))
        previous = index
    before = [_Mark("", 0)] if starts[0].at > 0 else []
    return list(_cut(blocks, [*before, *starts]))


def is_matter_chapter(chapter: Chapter, title: str, author: str) -> bool:
    """Return whether a chapter of a book is its contents, an index or the like by its title, or its title page."""
    return is_matter_title(chapter.title) or _is_title_page(chapter, title, author)


def _is_title_page(chapter: Chapter, title: str, author: str) -> bool:
    text = "".join(block.text for block in chapter.blocks)
    names_both = (
        bool(title and author) and _letters(text).startswith(_letters(title)) and _letters(author) in _letters(text)
    )
    return len(text) <= _TITLE_PAGE_CHARS and names_both


def with_titles(chapters: Iterable[Chapter]) -> list[Chapter]:
    """Return the chapters, each with a title, which is a heading where the text does not begin with it."""
    result = []
    for number, chapter in enumerate(chapters, 1):
        title = chapter.title or next((block.text for block in chapter.blocks if block.kind == "heading"), "")
        title = " ".join(title.split())[:_TITLE_CHARS]
        beginning = chapter.blocks[:_BEGINNING_BLOCKS]
        is_spoken = any(
            block.kind == "heading" or _letters(block.text).startswith(_letters(title)) for block in beginning
        )
        heading = () if is_spoken else (Block("heading", title, level=1),)
        result.append(Chapter(title or f"Part {number}", (*heading, *chapter.blocks)))
    return result


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.lower())


def _places(pages: Sequence[tuple[str, Page]]) -> dict[tuple[str, str], int]:
    """Return the index of the block at which each page, and each `id` on it, begins."""
    places: dict[tuple[str, str], int] = {}
    at = 0
    for path, page in pages:
        places.setdefault((path, ""), at)
        for name, index in page.anchors.items():
            places.setdefault((path, name), at + index)
        at += len(page.blocks)
    return places


class _Contents:
    """Finds which entries of a table of contents are chapters, by how much text is theirs."""

    def __init__(self, blocks: Sequence[Block], places: dict[tuple[str, str], int]) -> None:
        self._places = places
        self._chars_before = list(accumulate((len(block.text) for block in blocks), initial=0))

    def marks(self, entries: Sequence[Entry]) -> list[_Mark]:
        """Return the chapters in order, one for each place."""
        # Of those that begin at one place, all but the last have no text: their pages were left out.
        by_place = {mark.at: mark for mark in self._below(entries, len(self._chars_before) - 1)}
        return [by_place[at] for at in sorted(by_place)]

    def _below(self, entries: Sequence[Entry], end: int, part: str = "") -> Iterator[_Mark]:
        n_parts = sum(bool(entry.children) for entry in entries)
        ends = [*(self._begin(entry) for entry in entries), end][1:]
        for entry, following in zip(entries, ends, strict=True):
            name = f"{part}: {entry.title}" if part else entry.title
            inside = list(self._below(entry.children, end if following is None else following, name * (n_parts > 1)))
            begin = self._begin(entry)
            if begin is None:
                yield from inside
            elif not inside or self._sections(inside, end if following is None else following):
                yield _Mark(name, begin)
            elif self._chars(begin, inside[0].at) < _PART_CHARS:
                yield replace(inside[0], at=begin)
                yield from inside[1:]
            else:
                yield from [_Mark(name, begin), *inside]

    def _sections(self, inside: list[_Mark], end: int) -> bool:
        """Return whether the entries below one are too short for chapters."""
        return self._chars(inside[0].at, end) < _CHAPTER_CHARS * len(inside)

    def _begin(self, entry: Entry) -> int | None:
        """Return the block at which an entry begins, at least that of its page or of what is below it."""
        for place in ((entry.path, entry.fragment), (entry.path, "")):
            if place in self._places:
                return self._places[place]
        return next((begin for child in entry.children if (begin := self._begin(child)) is not None), None)

    def _chars(self, begin: int, end: int) -> int:
        return self._chars_before[end] - self._chars_before[begin] if begin < end else 0


def _cut(blocks: Sequence[Block], marks: Sequence[_Mark]) -> Iterator[Chapter]:
    for mark, following in pairwise([*marks, _Mark("", len(blocks))]):
        part = list(blocks[mark.at : following.at])
        while part and part[-1].kind == "break":
            part.pop()
        if part:
            yield Chapter(mark.title, tuple(part))
