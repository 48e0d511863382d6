"""What of a book is not read aloud: notes, page numbers, cover, title page, copyright, contents, index."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from scripts.audiobook.markup import Element, local_name, text_of
from scripts.audiobook.model import Block

# epub:type and DPUB-ARIA's roles without their `doc-`; the values of EPUB 2's guide are among them.
NOTES = frozenset(
    "noteref footnote footnotes endnote endnotes rearnote rearnotes backlink pagebreak page-list annoref note".split()
)
MATTER = frozenset(
    """
    cover coverpage cover-image frontcover backcover titlepage title-page halftitlepage halftitle copyright-page
    copyright toc toc-brief landmarks loi lot loa lov index colophon imprint imprimatur seriespage other-credits
    bibliography
    """.split()
)
_NOTE_CLASSES = frozenset(
    "footnote footnotes endnote endnotes rearnote rearnotes noteref footnote-ref pagenum pageno page-number pagenumber "
    "pagebreak pg-boilerplate".split()
)
_BOILERPLATE_IDS = frozenset({"pg-header", "pg-footer"})  # Project Gutenberg's licence, around the book
_NOTE_ID = re.compile(r"(?:fn|ftn|footnote|endnote|note)[-_:]?\d+", re.IGNORECASE)
_NOTE_NAME = re.compile(r"fn|note|ref|ftn|cite", re.IGNORECASE)
_NOTE_MARK = re.compile(r"[\[(]?(?:\d{1,3}|[*†‡§¶]{1,4}|[ivxIVX]{1,5}|[a-z])[\])]?")
_NOTE_HOLDERS = frozenset({"p", "li", "div", "aside", "section", "dd"})

# Titles and file names, whole: `Index` is one, `Index of Forbidden Books` is a chapter.
_MATTER_TITLES = frozenset(
    title.strip()
    for title in """
    cover, front cover, back cover, title page, half title, half-title page, copyright, copyright page,
    copyright notice, contents, table of contents, list of illustrations, list of tables, index, colophon, imprint,
    titelseite, umschlag, inhalt, inhaltsverzeichnis, impressum, register, sachregister, personenregister,
    couverture, page de titre, table des matières, sommaire, mentions légales, index des noms,
    cubierta, portada, página de título, créditos, índice, tabla de contenidos, sumario,
    copertina, frontespizio, indice, sommario
    """.split(",")
)
_MATTER_FILES = re.compile(
    r"(?:\d+[-_])?(?:cover(?:-?page)?|title-?_?page|copyright(?:-?page)?|toc|nav|contents|halftitle)"
)
_RIGHTS = re.compile(
    r"all rights reserved|\bISBN\b|alle rechte vorbehalten|tous droits réservés|derechos reservados", re.IGNORECASE
)
_RIGHTS_CHARS = 4_000  # a copyright page is no longer
_LINKED_SHARE = 0.7  # of the letters of a page of contents are links
_FEWEST_LINKS = 4


def types_of(element: Element) -> frozenset[str]:
    """Return what an element says that it is, by `epub:type` and `role`."""
    types = " ".join(
        value for key, value in element.attrib.items() if re.split("[}:]", key)[-1] == "type" and key != "type"
    )
    return frozenset(name.removeprefix("doc-") for name in f"{types} {element.get('role', '')}".lower().split())


def is_hidden(element: Element) -> bool:
    """Return whether no reader shows an element."""
    style = element.get("style", "").replace(" ", "").lower()
    return (
        element.get("hidden") is not None
        or element.get("aria-hidden") == "true"
        or "display:none" in style
        or "visibility:hidden" in style
    )


def is_note(element: Element) -> bool:
    """Return whether an element is a note, the sign that refers to one, or the number of a page."""
    name = local_name(element)
    if types_of(element) & NOTES or _NOTE_CLASSES & set(element.get("class", "").lower().split()):
        return True
    if name in _NOTE_HOLDERS:
        return element.get("id", "") in _BOILERPLATE_IDS or _NOTE_ID.fullmatch(element.get("id", "")) is not None
    if name == "sup":
        return _NOTE_MARK.fullmatch(text_of(element)) is not None and any(local_name(a) == "a" for a in element)
    if name == "a" and "#" in element.get("href", "") and _NOTE_MARK.fullmatch(text_of(element)):
        named = f"{element.get('href', '').partition('#')[2]} {element.get('id', '')} {element.get('class', '')}"
        return any(local_name(child) == "sup" for child in element) or _NOTE_NAME.search(named) is not None
    return False


def is_matter(element: Element) -> bool:
    """Return whether a part of a page says that it is a title page, contents, or the like."""
    return bool(types_of(element) & MATTER)


def is_matter_title(title: str) -> bool:
    """Return whether a chapter of this title is no part of the text."""
    return " ".join(title.lower().split()).strip(" .:") in _MATTER_TITLES


def is_matter_file(path: str, blocks: list[Block], links: int, linked_chars: int) -> bool:
    """Return whether a page is no part of the text, by its file's name and what is on it.

    Args:
        links, linked_chars: how many links it has, and how many characters are in them.
    """
    if _MATTER_FILES.fullmatch(posixpath.splitext(posixpath.basename(path))[0].lower()):
        return True
    text = " ".join(block.text for block in blocks)
    if len(text) <= _RIGHTS_CHARS and _RIGHTS.search(text):
        return True
    return links >= _FEWEST_LINKS and linked_chars >= _LINKED_SHARE * len(text)


def left_out_warnings(names: Iterable[str]) -> tuple[str, ...]:
    """Return what to tell of pages or chapters that are left out, by their names."""
    shown = ", ".join(" ".join(name.split()) or "a title page" for name in names)
    return (f"left out: {shown}; --keep-matter keeps them",) if shown else ()
