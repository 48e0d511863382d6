"""A page of a book, XHTML or HTML, to the blocks that are read aloud."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from scripts.audiobook.markup import Element, attribute, descendants, local_name, text_of
from scripts.audiobook.matter import is_hidden, is_matter, is_note
from scripts.audiobook.model import Block, BookError, ReadOptions, primary_language

_BLOCKS = frozenset(
    """
    address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer form
    h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main ol p pre section summary table tbody td tfoot th thead tr ul
    """.split()
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_UNSPOKEN = frozenset(
    """
    audio base button canvas embed head iframe input link map math meta nav noscript object option progress rp rt rtc
    script select style svg template textarea title video
    """.split()
)
_SMALL_CAPITALS = re.compile(r"(?:small-?_?caps?|smcaps?|smallcaps\d*|sc)", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\r\n\f]+")
_AROUND_LINE = re.compile(r"\s*\n\s*")
_UNSEEN = re.compile("[\u00ad\u200b\u2060\ufeff]")  # soft hyphens, and what only allows or forbids a line break
_SUPERSCRIPTS = str.maketrans("0123456789+-n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ")
_POWER = re.compile(r"[+-]?\d{1,3}|n")
_BASE = re.compile(r"(?:(?<!\w)[a-zA-Z]|\d)$")  # of a power: a letter alone, or a number
_STOPS = tuple(".!?…:;,。！？")
_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,9})(?![0-9])")  # as HTML reads one: what follows does not count


@dataclass
class Page:
    """The blocks of a page, where in them each `id` is, and what it is made of.

    links, linked_chars: how many links are on it, and how many characters are in them.
    """

    blocks: list[Block] = field(default_factory=list)
    anchors: dict[str, int] = field(default_factory=dict)
    links: int = 0
    linked_chars: int = 0
    n_tables_left_out: int = 0
    n_formulas_left_out: int = 0


def read_page(root: Element, options: ReadOptions, language: str | None = None) -> Page:
    """Return what is read aloud of a page. `language` is the book's; only others are noted on blocks.

    Raises:
        BookError: elements are nested deeper than any book's are.
    """
    reader = _PageReader(options, language)
    try:
        reader.read(root, None)
    except RecursionError:
        raise BookError("a page of the book is nested too deeply to be read") from None
    reader.end_block()
    return reader.page


class _PageReader:
    """Collects the text of inline elements until a block begins or ends."""

    def __init__(self, options: ReadOptions, book_language: str | None) -> None:
        self.page = Page()
        self._options, self._book_language = options, book_language
        self._parts: list[str] = []
        self._number = ""  # of the list item that begins
        self._heading = 0
        self._preformatted = 0
        self._languages: list[str | None] = []

    def read(self, element: Element, item_number: int | None) -> None:
        """Read an element and what is in it, without the text behind it."""
        name = local_name(element)
        if element.get("id"):
            self.page.anchors.setdefault(element.get("id", ""), len(self.page.blocks))
        if name == "a" and element.get("name"):
            self.page.anchors.setdefault(element.get("name", ""), len(self.page.blocks))
        if not name or is_hidden(element) or is_note(element):
            return
        if is_matter(element) and not self._options.matter:
            return
        if name in _UNSPOKEN:
            if name == "math":
                self._read_formula(element)
            return
        languages = len(self._languages)
        if language := primary_language(attribute(element, "lang")):
            self._languages.append(language)
        self._read_known(element, name, item_number)
        del self._languages[languages:]

    def _read_known(self, element: Element, name: str, item_number: int | None) -> None:
        if name == "br":
            self._parts.append("\n")
        elif name == "hr":
            self.end_block()
            self._add_break()
        elif name == "img":
            self._read_image(element)
        elif name == "table" and element.get("role") not in ("presentation", "none") and _is_grid(element):
            self._read_table(element)
        elif name == "sup":
            self._read_superscript(element)
        elif name in _BLOCKS:
            self._read_block(element, name, item_number)
        else:
            if name == "a" and element.get("href"):
                self.page.links += 1
                self.page.linked_chars += len(text_of(element))
            begin = len(self._parts)
            self._read_children(element)
            if name == "q":
                self._parts[begin:] = ["“", *self._parts[begin:], "”"]
            if _has_small_capitals(element, name):
                self._parts[begin:] = [_lower_capitals("".join(self._parts[:begin]), "".join(self._parts[begin:]))]

    def _read_block(self, element: Element, name: str, item_number: int | None) -> None:
        self.end_block()
        level = _HEADINGS.get(name, 0)
        if name == "hgroup":  # its paragraphs belong to the heading
            level = min((_HEADINGS[found] for inner in element if (found := local_name(inner)) in _HEADINGS), default=0)
        if element.get("role") == "heading":
            level = max(0, _integer(attribute(element, "aria-level")) or 0) or 2
        outer = self._heading
        self._heading = self._heading or level
        self._preformatted += name == "pre"
        if item_number is not None:
            self._number = f"{item_number}. "
        self._read_children(element)
        self.end_block()
        self._heading, self._number = outer, ""
        self._preformatted -= name == "pre"

    def _read_children(self, element: Element) -> None:
        numbers = _item_numbers(element)
        self._add(element.text)
        for child in element:
            self.read(child, numbers.get(child))
            self._add(child.tail)

    def _add(self, text: str | None) -> None:
        if text:
            self._parts.append(text if self._preformatted else _SPACE.sub(" ", text))

    def end_block(self) -> None:
        """End the paragraph or heading that is being collected; marks of a break between scenes become one."""
        text = _tidy("".join(self._parts))
        self._parts.clear()
        if not text:
            return
        if not any(character.isalnum() for character in text):
            self._add_break()
            return
        language = self._languages[-1] if self._languages else None
        foreign = language if language != self._book_language else None
        kind: Literal["heading", "text"] = "heading" if self._heading else "text"
        self.page.blocks.append(Block(kind, self._number + text, foreign, self._heading))
        self._number = ""

    def _add_break(self) -> None:
        if self.page.blocks and self.page.blocks[-1].kind != "break":
            self.page.blocks.append(Block("break"))

    def _read_image(self, element: Element) -> None:
        """Take the picture of an initial for the letter that it is, and others' descriptions where they are wanted."""
        description = " ".join(element.get("alt", "").split())
        if len(description) == 1 and description.isalpha() and (element.tail or " ")[0].isalpha():
            self._parts.append(description)
        elif self._options.images and description:
            self.end_block()
            self._parts.append(_as_sentence(description))
            self.end_block()

    def _read_superscript(self, element: Element) -> None:
        """Take a number above the line for a power where it follows a base, else for the sign of a note."""
        text, before = text_of(element), "".join(self._parts[-3:])
        if _POWER.fullmatch(text):
            if _BASE.search(before):
                self._parts.append(text.translate(_SUPERSCRIPTS))
        elif any(character.isalpha() for character in text):
            self._read_children(element)

    def _read_formula(self, element: Element) -> None:
        if description := " ".join(element.get("alttext", "").split()):
            self._parts.append(f" {description} ")
        else:
            self.page.n_formulas_left_out += 1

    def _read_table(self, element: Element) -> None:
        self.end_block()
        if not self._options.tables:
            self.page.n_tables_left_out += 1
            return
        for caption in descendants(element, "caption"):
            self.read(caption, None)
        for row in descendants(element, "tr"):
            cells = (self._cell_text(cell) for cell in row if local_name(cell) in ("td", "th"))
            self._parts.append(_as_sentence(", ".join(cell for cell in cells if cell)))
            self.end_block()

    def _cell_text(self, cell: Element) -> str:
        page = read_page(cell, self._options, self._book_language)
        self.page.links += page.links
        self.page.linked_chars += page.linked_chars
        return " ".join(block.text for block in page.blocks).replace("\n", " ").strip()


def _tidy(text: str) -> str:
    text = _UNSEEN.sub("", text).replace("\u00a0", " ")
    return _AROUND_LINE.sub("\n", re.sub(r"[^\S\n]+", " ", text)).strip()


def _as_sentence(text: str) -> str:
    return f"{text}." if text and not text.endswith(_STOPS) else text


def _is_grid(table: Element) -> bool:
    """Return whether a table has columns; others only place what is in them."""
    rows = [[cell for cell in row if local_name(cell) in ("td", "th")] for row in descendants(table, "tr")]
    return not any(True for _ in descendants(table, "table")) and sum(len(row) > 1 for row in rows) > len(rows) / 2


def _item_numbers(element: Element) -> dict[Element, int]:
    """Return the number of each item of an ordered list."""
    if local_name(element) != "ol" or "list-style-type:none" in element.get("style", "").replace(" ", ""):
        return {}
    start = _integer(element.get("start", ""))
    following = 1 if start is None else start
    numbers = {}
    for item in (child for child in element if local_name(child) == "li"):
        own = _integer(item.get("value", ""))
        numbers[item] = following if own is None else own
        following = numbers[item] + 1
    return numbers


def _integer(text: str) -> int | None:
    """Return the number that an attribute begins with; None if it has none, or one that no book needs."""
    match = _INTEGER.match(text)
    return int(match[1]) if match else None


def _has_small_capitals(element: Element, name: str) -> bool:
    return (
        name == "small"
        or "small-caps" in element.get("style", "")
        or any(_SMALL_CAPITALS.fullmatch(token) for token in element.get("class", "").split())
    )


def _lower_capitals(before: str, text: str) -> str:
    """Write words that are set in small capitals in small letters; a single word on its own may be an abbreviation."""
    if not text.isupper():
        return text
    if before[-1:].isalpha():  # an initial: `O` and `NCE`
        return text.lower()
    return text.capitalize() if len(text.split()) > 1 else text
