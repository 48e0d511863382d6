"""What is known of a book once it is read: chapters of blocks, title, author, cover."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class BookError(Exception):
    """An error to show to the user in one line."""


@dataclass(frozen=True)
class ReadOptions:
    """What of a book is spoken besides its text.

    Attributes:
        matter: cover, title page, copyright, contents and index, too.
        images: the descriptions of images (`alt`).
        tables: tables, row by row; otherwise left out.
    """

    matter: bool = False
    images: bool = False
    tables: bool = True


@dataclass(frozen=True)
class Block:
    """A heading, a paragraph (`text`; its lines are set apart by line feeds), or a break between scenes.

    `language` is an ISO 639 code where the book says that it is not the book's own; `level` is a heading's.
    """

    kind: Literal["heading", "text", "break"]
    text: str = ""
    language: str | None = None
    level: int = 0


@dataclass(frozen=True)
class Chapter:
    """A part of the book that has its own mark in the audiobook."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Book:
    """A book to speak. `cover` is a JPEG or PNG file; `warnings` tell what was left out."""

    title: str
    author: str
    language: str | None
    chapters: tuple[Chapter, ...]
    cover: bytes | None = None
    warnings: tuple[str, ...] = ()


def primary_language(tag: str | None) -> str | None:
    """Return the ISO 639 code of a language tag, `en` of `en-GB`; None where there is none."""
    code = (tag or "").strip().lower().replace("_", "-").split("-")[0]
    return code if 2 <= len(code) <= 3 and code.isascii() and code.isalpha() and code != "und" else None
