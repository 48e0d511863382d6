"""scripts/audiobook/epub.py and chapters.py: an EPUB's pages, contents and metadata to a book."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scripts.audiobook import epub
from scripts.audiobook.epub import MAX_FILE_BYTES, read_epub
from scripts.audiobook.model import Book, BookError, ReadOptions
from tests.audiobook.epubs import jpeg, nav, ncx, page, point, write_epub

LONG = "<p>" + "A long text of a chapter, with many words. " * 100 + "</p>"
SHORT = "<p>Short text.</p>"


def read(path: Path, pages: Mapping[str, str], *, matter: bool = False, **options: Any) -> Book:
    return read_epub(write_epub(path / "book.epub", pages, **options), ReadOptions(matter=matter))


def titles(book: Book) -> list[str]:
    return [chapter.title for chapter in book.chapters]


def texts(book: Book) -> list[str]:
    return [" ".join(block.text.strip()[:20] for block in chapter.blocks) for chapter in book.chapters]


def test_chapters_are_those_of_the_navigation(tmp_path: Path) -> None:
    """One page with two chapters, one chapter on two pages, and a title that is only in the contents."""
    pages = {
        "a.xhtml": page(f'<h2 id="one">One</h2>{SHORT}<h2 id="two">Two</h2>{SHORT}'),
        "b.xhtml": page(SHORT),
        "dir/c d.xhtml": page(SHORT),
        "nav.xhtml": nav(
            '<li><a href="a.xhtml#one">One</a></li><li><a href="a.xhtml#two">Two</a></li>'
            '<li><a href="dir/c%20d.xhtml">The <br/>Third</a></li>'
        ),
    }
    book = read(tmp_path, pages, properties={"nav.xhtml": "nav"})
    assert titles(book) == ["One", "Two", "The Third"]
    assert texts(book) == ["One Short text.", "Two Short text. Short text.", "The Third Short text."]
    assert book.chapters[2].blocks[0].kind == "heading"


def test_contents_of_epub_2(tmp_path: Path) -> None:
    pages = {"a.xhtml": page(f"<h1>I</h1>{SHORT}"), "b.xhtml": page(f"<h1>II</h1>{SHORT}")}
    contents = ncx(point("Chapter I", "a.xhtml") + point("Chapter II", "b.xhtml"))
    assert titles(read(tmp_path, pages, extra={"toc.ncx": contents})) == ["Chapter I", "Chapter II"]


def test_parts_are_resolved_to_their_chapters_and_sections_are_not_marks(tmp_path: Path) -> None:
    pages = {
        "p1.xhtml": page("<h1>Part One</h1>"),
        "c1.xhtml": page(f'<h2>Alpha</h2>{LONG}<h3 id="s">Section</h3>{SHORT}'),
        "c2.xhtml": page(f"<h2>Beta</h2>{LONG}"),
        "p2.xhtml": page(f"<h1>Part Two</h1>{SHORT}"),
        "c3.xhtml": page(f"<h2>Alpha</h2>{LONG}"),
        "nav.xhtml": nav(
            '<li><span>Part One</span><ol><li><a href="c1.xhtml">Alpha</a><ol><li><a href="c1.xhtml#s">Section</a></li>'
            '</ol></li><li><a href="c2.xhtml">Beta</a></li></ol></li>'
            '<li><a href="p2.xhtml">Part Two</a><ol><li><a href="c3.xhtml">Alpha</a></li></ol></li>'
        ),
    }  # fmt: skip
    book = read(tmp_path, pages, properties={"nav.xhtml": "nav"})
    assert titles(book) == ["Part One", "Part One: Alpha", "Part One: Beta", "Part Two: Alpha"]
    assert texts(book)[3] == "Part Two Short text. Alpha A long text of a cha"
    assert book.chapters[1].blocks[-1].text == "Short text."


def test_without_contents_headings_tell(tmp_path: Path) -> None:
    pages = {
        "a.xhtml": page(f"<h1>The Book</h1><h2>One</h2>{SHORT}<h2>Two</h2>{SHORT}"),
        "b.xhtml": page(f"{SHORT}<h2>3</h2><h2>Three</h2>{SHORT}"),
    }
    book = read(tmp_path, pages)
    assert titles(book) == ["The Book One", "Two", "3 Three"]
    assert read(tmp_path, {"a.xhtml": page(LONG)}).chapters[0].title == "Part 1"


@pytest.mark.parametrize("way", ["type", "landmarks", "guide", "name", "title", "links", "rights", "linear"])
def test_matter_is_left_out_whatever_tells_it(tmp_path: Path, way: str) -> None:
    bodies = {
        "type": page("<h1>Old List</h1>", 'epub:type="frontmatter toc"'),
        "links": page("".join(f'<p><a href="a{n}.xhtml">The chapter {n}</a> {n}</p>' for n in range(6))),
        "rights": page("<p>© 1999 A. Author</p><p>All rights reserved. ISBN 1-23</p>"),
    }
    name = "titlepage.xhtml" if way == "name" else "x.xhtml"
    heading = "Table of Contents" if way == "title" else "Old List"
    pages = {
        name: bodies.get(way, page(f"<h1>{heading}</h1>{SHORT}")),
        "a.xhtml": page(f"<h1>One</h1>{SHORT}"),
        "b.xhtml": page(f"<h1>Index of Dreams</h1>{SHORT}"),
        "nav.xhtml": nav(
            f'<li><a href="{name}">{heading}</a></li><li><a href="a.xhtml">One</a></li>'
            '<li><a href="b.xhtml">Index of Dreams</a></li>',
            '<li><a epub:type="titlepage" href="x.xhtml">T</a></li>' if way == "landmarks" else "",
        ),
    }  # fmt: skip
    options: dict[str, Any] = {
        "properties": {"nav.xhtml": "nav"},
        "guide": '<reference type="Copyright-Page" href="x.xhtml#top"/>' if way == "guide" else "",
        "linear": {"x.xhtml": "no"} if way == "linear" else {},
    }
    book = read(tmp_path, pages, **options)
    assert titles(book) == ["One", "Index of Dreams"]
    assert book.warnings == (f"left out: {heading if way == 'title' else name}; --keep-matter keeps them",)
    kept = read(tmp_path, pages, matter=True, **options)
    assert titles(kept) == [heading, "One", "Index of Dreams"]


def test_metadata_and_cover(tmp_path: Path) -> None:
    metadata = (
        '<dc:title>The  Title</dc:title><dc:creator id="a">Ann</dc:creator><dc:creator id="t">Tim</dc:creator>'
        '<meta refines="#t" property="role">trl</meta><dc:creator opf:role="aut">Bob</dc:creator>'
        '<dc:language>de-AT</dc:language><meta name="cover" content="i1"/>'
    )
    cover = jpeg()
    pages = {"a.xhtml": page('<p lang="en">Hello.</p><p xml:lang="de">Hallo.</p>')}
    book = read(tmp_path, pages, metadata=metadata, extra={"cover.jpg": cover})
    assert (book.title, book.author, book.language, book.cover) == ("The Title", "Ann, Bob", "de", cover)
    assert [block.language for block in book.chapters[0].blocks] == ["en", None]
    named = {"extra": {"cover.jpg": cover}, "properties": {"cover.jpg": "cover-image"}, "metadata": ""}
    plain = read(tmp_path, pages, **named)
    assert (plain.title, plain.author, plain.language, plain.cover) == ("book", "", None, cover)
    assert read(tmp_path, pages, **{**named, "extra": {"cover.jpg": b"GIF89a"}}).cover is None


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(BookError, match="nothing to speak"):
        read(tmp_path, {"a.xhtml": page("<p> </p>")})
    path = write_epub(tmp_path / "book.epub", {"a.xhtml": page(SHORT)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(
            "META-INF/encryption.xml",
            '<e xmlns:c="u"><c:EncryptionMethod Algorithm="http://www.idpf.org/2008/embedding"/></e>',
        )
    assert read_epub(path, ReadOptions()).chapters
    path = write_epub(tmp_path / "drm.epub", {"a.xhtml": page(SHORT)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("META-INF/encryption.xml", '<e><EncryptionMethod Algorithm="aes128-cbc"/></e>')
    with pytest.raises(BookError, match="DRM"):
        read_epub(path, ReadOptions())
    (tmp_path / "no.epub").write_bytes(b"PK no")
    with pytest.raises(BookError, match="EPUB"):
        read_epub(tmp_path / "no.epub", ReadOptions())
    with zipfile.ZipFile(tmp_path / "zip.epub", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(BookError, match="container"):
        read_epub(tmp_path / "zip.epub", ReadOptions())


def test_a_file_that_unpacks_to_too_much(tmp_path: Path) -> None:
    path = write_epub(tmp_path / "book.epub", {"a.xhtml": " " * (MAX_FILE_BYTES + 1)})
    assert path.stat().st_size < 200_000
    with pytest.raises(BookError, match="50 MiB"):
        read_epub(path, ReadOptions())


def test_files_that_unpack_to_too_much_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epub, "MAX_TOTAL_BYTES", 2 * 2**20)
    path = write_epub(tmp_path / "book.epub", {f"{name}.xhtml": page(SHORT + " " * 2**20) for name in "ab"})
    with pytest.raises(BookError, match="this EPUB unpacks to more than 2 MiB"):
        read_epub(path, ReadOptions())


def test_names_that_differ_in_capitals_are_two_files(tmp_path: Path) -> None:
    book = read(tmp_path, {"a.xhtml": page("<h1>One</h1><p>1.</p>"), "A.xhtml": page("<h1>Two</h1><p>2.</p>")})
    assert texts(book) == ["One 1.", "Two 2."]
    path = write_epub(tmp_path / "book.epub", {"a.xhtml": page(SHORT)})
    path.write_bytes(path.read_bytes().replace(b"OEBPS/a.xhtml", b"OEBPS/A.XHTML"))
    assert texts(read_epub(path, ReadOptions())) == ["Short text."]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_file_is_said_whatever_it_was_compressed_with(tmp_path: Path, method: int) -> None:
    path = write_epub(tmp_path / "book.epub", {"a.xhtml": page(SHORT)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("META-INF/encryption.xml", "".join(map(str, range(500))), method)
        info = archive.getinfo("META-INF/encryption.xml")
    data = bytearray(path.read_bytes())
    end = info.header_offset + 30 + len(info.filename) + info.compress_size
    begin = end - info.compress_size + 9  # behind the head that LZMA has in a ZIP
    data[begin:end] = b"\xff" * (end - begin)
    path.write_bytes(data)
    with pytest.raises(BookError, match=r"encryption\.xml in this EPUB cannot be unpacked: ."):
        read_epub(path, ReadOptions())


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (6, 1, "encrypted"),  # of the central directory's flags: AES or PKWARE's own
        (6, 0x40, "cannot be unpacked: strong encryption"),
        (8, 99, "cannot be unpacked: That compression method is not supported"),
    ],
)
def test_files_that_zipfile_does_not_read_are_said(tmp_path: Path, at: int, value: int, words: str) -> None:
    path = write_epub(tmp_path / "book.epub", {"a.xhtml": page(SHORT)})
    data = bytearray(path.read_bytes())
    directory = data.rindex(b"PK\x01\x02") + 2  # of the last file, the page
    data[directory + at] = value
    path.write_bytes(data)
    with pytest.raises(BookError, match=words):
        read_epub(path, ReadOptions())


def test_an_archive_whose_names_are_not_text_is_said(tmp_path: Path) -> None:
    path = write_epub(tmp_path / "book.epub", {"ä.xhtml": page(SHORT)})
    path.write_bytes(path.read_bytes().replace("ä.xhtml".encode(), b"\xff\xff.xhtml"))
    with pytest.raises(BookError, match="cannot be read as an EPUB"):
        read_epub(path, ReadOptions())


def test_links_that_are_no_addresses_lead_nowhere(tmp_path: Path) -> None:
    contents = nav('<li><a href="http://[x/">P</a></li><li><a href="a.xhtml?q#one">One</a></li>')
    pages = {"a.xhtml": page(f'<h1 id="one">One</h1>{SHORT}'), "nav.xhtml": contents}
    assert titles(read(tmp_path, pages, properties={"nav.xhtml": "nav"})) == ["One"]


def test_a_link_out_of_the_archive_leads_nowhere(tmp_path: Path) -> None:
    contents = nav('<li><a href="../../../etc/passwd">P</a></li><li><a href="a.xhtml">One</a></li>')
    pages = {"a.xhtml": page(f"<h1>One</h1>{SHORT}"), "nav.xhtml": contents}
    assert titles(read(tmp_path, pages, properties={"nav.xhtml": "nav"})) == ["One"]
