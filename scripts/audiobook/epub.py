"""Read an EPUB, 2 or 3: a ZIP of XHTML pages, an order of reading, and a table of contents."""

from __future__ import annotations

import lzma
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from scripts.audiobook.chapters import Entry, is_matter_chapter, split_by_contents, split_by_headings, with_titles
from scripts.audiobook.markup import Element, attribute, descendants, local_name, parse_document, parse_xml, text_of
from scripts.audiobook.matter import MATTER, is_matter_file, left_out_warnings, types_of
from scripts.audiobook.model import Book, BookError, Chapter, ReadOptions, primary_language
from scripts.audiobook.pages import Page, read_page

MAX_FILE_BYTES = 50 * 2**20  # of one file in the book, unpacked
MAX_TOTAL_BYTES = 500 * 2**20  # of all that are read
_FONT_OBFUSCATION = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_NCX = "application/x-dtbncx+xml"
_MAX_DEPTH = 20  # of a table of contents
# All that zipfile and its decompressors raise for archives that are damaged, or of a kind that they do not read.
_ZIP_FAULTS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class _Item:
    """A file that the package lists."""

    path: str
    media_type: str
    properties: frozenset[str]


@dataclass(frozen=True)
class _Package:
    """The package document, the files that it lists by their ids, and the page of navigation that EPUB 3 has."""

    path: str
    root: Element
    items: dict[str, _Item]
    nav_path: str = ""
    nav: Element | None = None

    def with_property(self, name: str) -> _Item | None:
        return next((item for item in self.items.values() if name in item.properties), None)


def read_epub(path: Path, options: ReadOptions) -> Book:
    """Read an EPUB.

    Raises:
        BookError: it is not an EPUB, is protected, or has nothing to speak.
    """
    try:
        archive = zipfile.ZipFile(path)
    except _ZIP_FAULTS as error:
        raise BookError(f"{path.name} cannot be read as an EPUB: {error}") from None
    with archive:
        return _EpubReader(_Files(archive), options).read(path.stem)


class _Files:
    """The files of the archive, by name, within bounds whatever its directory says."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive, self._left = archive, MAX_TOTAL_BYTES
        infos = archive.infolist()[::-1]  # of one name, the first stays
        self._infos = {info.filename.lower(): info for info in infos} | {info.filename: info for info in infos}

    def read(self, path: str) -> bytes | None:
        """Return a file; None if there is none of that name, in capitals or small letters.

        Raises:
            BookError: it is encrypted, damaged, or larger than a book's files are.
        """
        info = self._infos.get(path) or self._infos.get(path.lower())
        if info is None:
            return None
        if info.flag_bits & 1:
            raise BookError("the files of this EPUB are encrypted; use a copy without protection")
        try:
            with self._archive.open(info) as file:
                data = file.read(min(MAX_FILE_BYTES, self._left) + 1)
        except _ZIP_FAULTS as error:
            raise BookError(f"{posixpath.basename(path)} in this EPUB cannot be unpacked: {error}") from None
        if len(data) > MAX_FILE_BYTES:
            raise BookError(f"a file of this EPUB unpacks to more than {MAX_FILE_BYTES >> 20} MiB, which no book needs")
        self._left -= len(data)
        if self._left < 0:
            raise BookError(f"this EPUB unpacks to more than {MAX_TOTAL_BYTES >> 20} MiB, which no book needs")
        return data


class _EpubReader:
    def __init__(self, files: _Files, options: ReadOptions) -> None:
        self._files, self._options = files, options
        self._left_out: list[str] = []
        self._tables = self._formulas = 0

    def read(self, name: str) -> Book:
        self._refuse_protected()
        package = self._package()
        language = primary_language(_metadata(package, "language"))
        pages = list(self._pages(package, language))
        title, author = _metadata(package, "title") or name, ", ".join(_authors(package))
        chapters = self._chapters(package, pages, title, author)
        if not chapters:
            raise BookError("there is nothing to speak in this EPUB; --keep-matter keeps title pages and contents")
        return Book(
            title=title,
            author=author,
            language=language,
            chapters=tuple(chapters),
            cover=self._cover(package),
            warnings=tuple(self._warnings()),
        )

    def _refuse_protected(self) -> None:
        """Raise BookError if pages are encrypted; many books only have fonts that are."""
        data = self._files.read("META-INF/encryption.xml")
        if data is None:
            return
        for method in descendants(parse_xml(data), "encryptionmethod"):
            if method.get("Algorithm") not in _FONT_OBFUSCATION:
                raise BookError("this EPUB is protected (DRM): its pages are encrypted; use a copy without protection")

    def _package(self) -> _Package:
        container = self._files.read("META-INF/container.xml")
        if container is None:
            raise BookError("this is not an EPUB: META-INF/container.xml is missing")
        path = next((found.get("full-path", "") for found in descendants(parse_xml(container), "rootfile")), "")
        data = self._files.read(path)
        if data is None:
            raise BookError("this is not an EPUB: its package document is missing")
        root = parse_xml(data)
        items = {
            item.get("id", ""): _Item(
                _resolve(path, item.get("href", ""))[0],
                item.get("media-type", ""),
                frozenset(item.get("properties", "").split()),
            )
            for manifest in descendants(root, "manifest")
            for item in descendants(manifest, "item")
        }
        package = _Package(path, root, items)
        nav = package.with_property("nav")
        page = self._files.read(nav.path) if nav else None
        return replace(package, nav_path=nav.path, nav=parse_document(page)) if nav and page else package

    def _pages(self, package: _Package, language: str | None) -> Iterator[tuple[str, Page]]:
        """Yield the pages in the order of reading, each with its path, without those that are not read."""
        matter = self._matter_paths(package)
        for reference in descendants(package.root, "itemref"):
            item = package.items.get(reference.get("idref", ""))
            if item is None or (item.path == package.nav_path and not self._options.matter):
                continue
            if not self._options.matter and (reference.get("linear") == "no" or item.path in matter):
                self._left_out.append(posixpath.basename(item.path))
                continue
            data = self._files.read(item.path)
            root = parse_document(data) if data else None
            if root is None:
                continue
            page = read_page(root, self._options, language)
            self._tables += page.n_tables_left_out
            self._formulas += page.n_formulas_left_out
            if not self._options.matter and _is_matter_page(item.path, root, page):
                self._left_out.append(posixpath.basename(item.path))
            else:
                yield item.path, page

    def _matter_paths(self, package: _Package) -> set[str]:
        """Return the pages that the guide (EPUB 2) or the landmarks (EPUB 3) name as title page, contents, ..."""
        found = {
            _resolve(package.path, reference.get("href", ""))[0]
            for reference in descendants(package.root, "reference")
            if reference.get("type", "").lower() in MATTER
        }
        for part in _navs(package, "landmarks"):
            links = (link for link in descendants(part, "a") if types_of(link) & MATTER)
            found |= {_resolve(package.nav_path, link.get("href", ""))[0] for link in links}
        return found

    def _chapters(self, package: _Package, pages: list[tuple[str, Page]], title: str, author: str) -> list[Chapter]:
        chapters = split_by_contents(pages, self._contents(package))
        if len(chapters) <= 1:
            chapters = split_by_headings([block for _, page in pages for block in page.blocks])
        matter = [] if self._options.matter else [each for each in chapters if is_matter_chapter(each, title, author)]
        self._left_out += [chapter.title for chapter in matter]
        return with_titles(chapter for chapter in chapters if chapter not in matter)

    def _contents(self, package: _Package) -> list[Entry]:
        for part in _navs(package, "toc"):
            if entries := _nav_entries(part, package.nav_path):
                return entries
        ncx = next((item for item in package.items.values() if item.media_type == _NCX), None)
        data = self._files.read(ncx.path) if ncx else None
        if ncx is None or data is None:
            return []
        try:
            return [entry for part in descendants(parse_xml(data), "navmap") for entry in _ncx_entries(part, ncx.path)]
        except BookError:
            return []  # the headings tell as much

    def _cover(self, package: _Package) -> bytes | None:
        item = package.with_property("cover-image")
        if item is None:
            names = (
                meta.get("content", "") for meta in descendants(package.root, "meta") if meta.get("name") == "cover"
            )
            item = next((package.items[name] for name in names if name in package.items), None)
        data = self._files.read(item.path) if item else None
        return data if data is not None and data.startswith(_PICTURES) else None

    def _warnings(self) -> Iterator[str]:
        yield from left_out_warnings(self._left_out)
        if self._tables:
            yield f"{self._tables} tables left out"
        if self._formulas:
            yield f"{self._formulas} formulas left out, which have no text"


def _resolve(base: str, href: str) -> tuple[str, str]:
    """Return the path in the archive, and the fragment, that a link in the file `base` leads to."""
    address, _, fragment = href.partition("#")
    path = unquote(address.partition("?")[0])
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), path)) if path else base, unquote(fragment)


def _is_matter_page(path: str, root: Element, page: Page) -> bool:
    """Return whether nothing of a page is to be read, though there is text on it."""
    has_text = any(text_of(body) for body in descendants(root, "body"))
    is_declared = has_text and not page.blocks
    return is_declared or is_matter_file(path, page.blocks, page.links, page.linked_chars)


def _navs(package: _Package, kind: str) -> list[Element]:
    """Return the lists of a kind in the page of navigation: `toc`, `landmarks`."""
    if package.nav is None:
        return []
    return [part for part in descendants(package.nav, "nav") if kind in types_of(part)]


def _metadata(package: _Package, name: str) -> str:
    for metadata in descendants(package.root, "metadata"):
        for element in descendants(metadata, name):
            if text := text_of(element):
                return text
    return ""


def _authors(package: _Package) -> list[str]:
    """Return the names of the creators who are authors; all of them where no role is given."""
    refined = {
        meta.get("refines", "").removeprefix("#"): text_of(meta)
        for meta in descendants(package.root, "meta")
        if meta.get("property") == "role"
    }
    creators = [
        (text_of(creator), attribute(creator, "role") or refined.get(creator.get("id", ""), "aut"))
        for metadata in descendants(package.root, "metadata")
        for creator in descendants(metadata, "creator")
    ]
    names = [name for name, role in creators if role == "aut" and name]
    return names or [name for name, _ in creators if name]


def _nav_entries(element: Element, base: str, depth: int = 0) -> list[Entry]:
    entries = []
    for items in (child for child in element if local_name(child) == "ol"):
        for item in (child for child in items if local_name(child) == "li"):
            label = next((child for child in item if local_name(child) in ("a", "span")), None)
            children = tuple(_nav_entries(item, base, depth + 1)) if depth < _MAX_DEPTH else ()
            title = text_of(label) if label is not None else ""
            href = label.get("href") if label is not None else None
            path, fragment = _resolve(base, href) if href else ("", "")
            entries.append(Entry(title, path, fragment, children))
    return entries


def _ncx_entries(element: Element, base: str, depth: int = 0) -> list[Entry]:
    entries = []
    for point in (child for child in element if local_name(child) == "navpoint"):
        label = next((text_of(child) for child in point if local_name(child) == "navlabel"), "")
        source = next((child.get("src", "") for child in point if local_name(child) == "content"), "")
        children = tuple(_ncx_entries(point, base, depth + 1)) if depth < _MAX_DEPTH else ()
        entries.append(Entry(label, *_resolve(base, source), children))
    return entries
