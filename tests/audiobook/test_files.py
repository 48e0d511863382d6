"""scripts/audiobook/files.py and capitals.py: plain text, Markdown and HTML to a book; headings in capitals."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.audiobook.capitals import restore_case
from scripts.audiobook.files import read_book
from scripts.audiobook.model import Block, Book, BookError, Chapter, ReadOptions

GUTENBERG = """\
The Project Gutenberg eBook of A Tale

Title: A Tale of Two Things
Author: Charles D.
Language: English

*** START OF THE PROJECT GUTENBERG EBOOK A TALE ***

A TALE OF TWO THINGS

by Charles D.


CONTENTS

CHAPTER I. The Period

CHAPTER II. The Mail



CHAPTER I. The Period


IT was the best of times, it was the worst of times, it was the age of
wisdom--it was the age of _foolishness_, as it was well-
known to NASA and to all men.[1] [Illustration: A man]

    Twinkle, little star,
    How I wonder.

       *       *       *       *       *

He went on. The mail was late, as it had been for a long time before.

[Footnote 1: A note.]



CHAPTER II. The Mail


THE mail came.


THE END

*** END OF THE PROJECT GUTENBERG EBOOK A TALE ***
The licence.
"""


def read(tmp_path: Path, name: str, content: str | bytes, options: ReadOptions = ReadOptions()) -> Book:  # noqa: B008
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_book(path, options)


def outline(book: Book) -> dict[str, list[str]]:
    return {
        chapter.title: [block.text if block.kind != "break" else "***" for block in chapter.blocks]
        for chapter in book.chapters
    }


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_text_of_project_gutenberg(tmp_path: Path, newline: str) -> None:
    book = read(tmp_path, "tale.txt", GUTENBERG.replace("\n", newline))
    assert (book.title, book.author, book.language) == ("A Tale of Two Things", "Charles D.", "en")
    assert outline(book) == {
        "Chapter I. The Period": [
            "Chapter I. The Period",
            "It was the best of times, it was the worst of times, it was the age of wisdom—it was the age of "
            "foolishness, as it was well-known to NASA and to all men.",
            "Twinkle, little star,\nHow I wonder.",
            "***",
            "He went on. The mail was late, as it had been for a long time before.",
        ],
        "Chapter II. The Mail": ["Chapter II. The Mail", "The mail came.", "THE END"],
    }
    assert book.warnings == ("left out: A TALE OF TWO THINGS; --keep-matter keeps them",)


def test_an_end_above_the_start_is_none(tmp_path: Path) -> None:
    book = read(tmp_path, "tale.txt", f"End of Project Gutenberg's last book\n\n{GUTENBERG}")
    assert list(outline(book)) == ["Chapter I. The Period", "Chapter II. The Mail"]


def test_a_text_with_a_line_for_each_paragraph(tmp_path: Path) -> None:
    line = "A paragraph of a text that was written without any breaks of lines, as word processors write them. " * 2
    book = read(tmp_path, "a.txt", f"Part 1\n{line}\nI went home.\n{line}\nPart 2\n{line}\n".encode("cp1252"))
    assert list(outline(book)) == ["Part 1", "Part 2"]
    assert book.warnings == ()
    assert len(book.chapters[0].blocks) == 4


HISTORY = """\
*** START OF THE PROJECT GUTENBERG EBOOK A HISTORY ***

Transcriber’s Notes: Italic text is enclosed in _underscores_;
boldface text is enclosed in =equals signs=.


CONTENTS.


  CHAPTER I.

  FEUDALISM AND THE MONARCHY.

                                                       PAGE
  The Monarchy in France                                  1
  Question whether the States were to sit as one or as
    three chambers left undecided                        33


  CHAPTER II.

  FRANCE UNDER LOUIS XVI.

  The Ministry of Turgot                                 18
  Opposition raised to his reforms                       19




CHAPTER I.

FEUDALISM AND THE MONARCHY.

=The Monarchy.= It was long before the monarchy and France had
its own feudalism, under Louis.


CHAPTER II.

FRANCE UNDER LOUIS XVI.

His reforms came late.
"""


def test_a_text_with_a_table_of_contents(tmp_path: Path) -> None:
    assert outline(read(tmp_path, "history.txt", HISTORY)) == {
        "Chapter I. feudalism and the monarchy.": [
            "Chapter I.", "Feudalism and the monarchy.",
            "The Monarchy. It was long before the monarchy and France had its own feudalism, under Louis.",
        ],
        "Chapter II. France under Louis XVI.": ["Chapter II.", "France under Louis XVI.", "His reforms came late."],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "is_heading"),
    [
        ("Chapter 3", True), ("CHAPTER THE LAST", True), ("XIV.", True), ("12", True), ("IV. The Sign", True),
        ("Epilogue", True), ("Kapitel 4: Der Wald", True), ("Part of it was true", False), ("I went home", False),
        ("Act now, he said.", False), ("mix", False), ("“Introduction?”", False),
    ],
)  # fmt: skip
def test_which_lines_are_headings(tmp_path: Path, line: str, is_heading: bool) -> None:
    book = read(tmp_path, "a.txt", f"Some words of the text above.\n\n{line}\n\nSome words of the text below it.\n")
    assert any(block.kind == "heading" for chapter in book.chapters for block in chapter.blocks) == is_heading


def test_markdown(tmp_path: Path) -> None:
    text = (
        '---\ntitle: "My Notes"\nauthor: Ann\nlanguage: de\n---\n# Eins\n\nEin *kurzer* Satz.[^1]\n\n- a\n- b\n\n'
        "# Zwei\n\n| A | B |\n|---|---|\n| 1 | 2 |\n\n[^1]: Eine Note.\n"
    )
    book = read(tmp_path, "notes.md", text)
    assert (book.title, book.author, book.language) == ("My Notes", "Ann", "de")
    assert outline(book) == {"Eins": ["Eins", "Ein kurzer Satz.", "a", "b"], "Zwei": ["Zwei", "A, B.", "1, 2."]}


def test_an_old_encoding_is_told(tmp_path: Path) -> None:
    text = "Ein Text, wie ihn früher jeder schrieb: über die Wälder und die Flüsse, größer als zuvor. Schön."
    book = read(tmp_path, "alt.txt", text.encode("cp1252"))
    assert outline(book) == {"Part 1": [text]}
    assert book.warnings[0].startswith("alt.txt is not in UTF-8; it was read as Windows-1252")


def test_html(tmp_path: Path) -> None:
    text = (
        '<html lang="fr"><head><title>Le Livre</title><meta name="author" content="Ann"></head><body><h1>Le Livre</h1>'
        "<h2>Un</h2><p>Bonjour.<h2>Deux</h2><p>Au revoir."
    )
    book = read(tmp_path, "livre.html", text)
    assert (book.title, book.author, book.language) == ("Le Livre", "Ann", "fr")
    assert outline(book) == {"Le Livre Un": ["Le Livre", "Un", "Bonjour."], "Deux": ["Deux", "Au revoir."]}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pdf", "%PDF-1.4", "Calibre"),
        ("a.txt", "%PDF-1.4", "PDF"),
        ("a.txt", "* * *\n\n---\n", "nothing to speak"),
        ("a.md", "", "nothing to speak"),
        ("a.html", "<p> ", "nothing to speak"),
    ],
)
def test_what_is_no_book_is_said(tmp_path: Path, name: str, content: str, words: str) -> None:
    with pytest.raises(BookError, match=words):
        read(tmp_path, name, content)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BookError, match="No such file"):
        read_book(tmp_path / "a.txt", ReadOptions())


BODY = Block("text", "It was there that the old house of Jones, the second one, stood, said the BBC and IBM.")


@pytest.mark.parametrize(
    ("kind", "text", "restored"),
    [
        ("heading", "CHAPTER THE SECOND\nTHE HOUSE OF JONES", "Chapter the second\nThe house of Jones"),
        ("heading", "CHAPTER II", "Chapter II"),
        ("heading", "CHAPTER 2. Alpha", "Chapter 2. Alpha"),
        ("heading", "THE BBC AND THE ZOO", "The BBC and the Zoo"),
        ("heading", "IBM", "IBM"),
        ("heading", "IV", "4"),
        ("heading", "XCIX.\nTHE ZOO", "99.\nThe Zoo"),
        ("heading", "I. The Zoo", "1. The Zoo"),
        ("heading", "Mix", "Mix"),
        ("heading", "I am", "I am"),
        ("heading", "The IBM Years", "The IBM Years"),
        ("text", "IT was late.", "It was late."),
        ("text", "“IT WAS” late.", "“It was” late."),
        ("text", "NATO met.", "NATO met."),
        ("text", "MANY YEARS AGO the king", "Many Years Ago the king"),
        ("text", "I saw it.", "I saw it."),
    ],
)
def test_capitals(kind: str, text: str, restored: str) -> None:
    block = Block(kind, text)  # type: ignore[arg-type]
    [chapter] = restore_case([Chapter("T", (block, BODY))])
    assert chapter.blocks[0].text == restored
    assert chapter.blocks[1] == BODY


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "_a" * 50_000 + "\n\n" + "[Footnote" * 20_000 + "\n\nChapter " + "x " * 50_000 + "\n \n" * 100_000),
        ("a.md", "[^" * 20_000 + "\n\n" + "*a " * 1_000 + "\n---\n" * 1_000 + "x"),
        ("a.html", "<!DOCTYPE [" * 20_000 + "&" * 100_000 + "<p>a.b!" * 10_000),
    ],
)
def test_what_would_take_quadratic_time_is_read(tmp_path: Path, name: str, content: str) -> None:
    """Or else this takes minutes."""
    assert read(tmp_path, name, content).chapters


def test_nesting_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(BookError, match="nested"):
        read(tmp_path, "a.html", "<div>" * 5_000 + "x")
