"""Parse XML and XHTML of unknown origin: no entity is expanded, nothing fetched; what is malformed is read as HTML."""

from __future__ import annotations

import html.entities
import re
from collections.abc import Iterator
from typing import TypeAlias

from lxml import etree
from lxml import html as lxml_html

from scripts.audiobook.model import BookError

Element: TypeAlias = etree._Element

_ENTITY = re.compile(rb"&([A-Za-z][A-Za-z0-9]{1,31});")
_XML_ENTITIES = frozenset({"amp", "lt", "gt", "quot", "apos"})
_DOCTYPE = re.compile(rb"<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>", re.DOTALL | re.IGNORECASE)
_DECLARED = re.compile(
    rb"<\?xml[^>]*\bencoding\s*=\s*[\"']([\w.:-]+)|<meta[^>]+charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE
)
_HEAD_BYTES = 16_384


def parse_xml(data: bytes) -> Element:
    """Parse XML.

    Raises:
        BookError: it is not well-formed.
    """
    try:
        return etree.fromstring(_without_named_entities(data), _xml_parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise BookError(f"a file of the book is not XML: {error}") from None


def parse_document(data: bytes) -> Element | None:
    """Parse a page of a book, XHTML or HTML; return None if there is nothing in it."""
    data = _without_named_entities(data)
    try:
        root = etree.fromstring(data, _xml_parser())
        if root.tag != "html" and local_name(root) == "html":
            return root
    except (etree.XMLSyntaxError, ValueError):
        pass
    parser = lxml_html.HTMLParser(encoding=_encoding(data), remove_comments=True, remove_pis=True, no_network=True)
    try:
        head = _DOCTYPE.sub(b"", data[:_HEAD_BYTES], count=1)  # libxml2 would show what is declared in it
        return lxml_html.document_fromstring(head + data[_HEAD_BYTES:], parser=parser)
    except (etree.ParserError, LookupError):
        return None


def local_name(element: Element) -> str:
    """Return an element's name without namespace, in small letters; empty for comments and the like."""
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


def attribute(element: Element, name: str) -> str:
    """Return an attribute's value, whatever its namespace: `type` also finds `epub:type`'s; empty without one."""
    value = element.get(name)
    if value is not None:
        return value
    for key, value in element.attrib.items():
        if re.split("[}:]", key)[-1] == name:
            return value
    return ""


def descendants(element: Element, name: str) -> Iterator[Element]:
    """Yield the elements of that name inside an element, in order."""
    return (found for found in element.iter() if found is not element and local_name(found) == name)


def text_of(element: Element) -> str:
    """Return all text inside an element, with single spaces."""
    parts: list[str] = []
    for event, inner in etree.iterwalk(element, events=("start", "end")):
        if event == "start":
            parts += [inner.text or "", " " * (local_name(inner) == "br")]
        elif inner is not element:
            parts.append(inner.tail or "")
    return " ".join("".join(parts).split())


def _xml_parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )


def _without_named_entities(data: bytes) -> bytes:
    """Return the file with the characters of HTML's names, such as `&nbsp;`, by number: XML has no names of its own."""

    def number(match: re.Match[bytes]) -> bytes:
        name = match[1].decode("ascii")
        characters = None if name in _XML_ENTITIES else html.entities.html5.get(f"{name};")
        return "".join(f"&#{ord(character)};" for character in characters).encode() if characters else match[0]

    return _ENTITY.sub(number, data)


def _encoding(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    declared = _DECLARED.search(data[:_HEAD_BYTES])
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return (declared[1] or declared[2]).decode("ascii") if declared else "cp1252"
    return "utf-8"
