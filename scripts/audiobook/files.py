"""Read a book from a file: EPUB, HTML, Markdown, or plain text such as Project Gutenberg's."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from f5_worker.errors import WorkerError
from f5_worker.transcripts.encodings import decode_transcript
from scripts.audiobook.capitals import restore_case
from scripts.audiobook.chapters import is_matter_chapter, split_by_headings, with_titles
from scripts.audiobook.epub import read_epub
from scripts.audiobook.markup import Element, attribute, descendants, parse_document, text_of
from scripts.audiobook.matter import is_matter_title, left_out_warnings
from scripts.audiobook.model import Block, Book, BookError, ReadOptions, primary_language
from scripts.audiobook.pages import read_page

MAX_TEXT_BYTES = 50 * 2**20

_GUTENBERG_START = re.compile(r"^[ \t]*\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG.*\*\*\*\s*$", re.MULTILINE)
_GUTENBERG_END = re.compile(
    r"^[ \t]*(?:\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG|End of (?:the )?Project Gutenberg)", re.MULTILINE
)
_FIELD = re.compile(r"^(title|author|language)[ \t]*:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE | re.IGNORECASE)
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n(?:---|\.\.\.)\s*\n", re.DOTALL)
_MARKDOWN_NOTE = re.compile(r"^\[\^[^\]]{1,99}\]:.*(?:\n(?:[ \t]+.*)?)*|\[\^[^\]]{1,99}\]", re.MULTILINE)
_LANGUAGES = {
    "english": "en",
    "german": "de",
    "french": "fr",
    "spanish": "es",
    "italian": "it",
    "portuguese": "pt",
    "dutch": "nl",
    "chinese": "zh",
    "finnish": "fi",
    "polish": "pl",
    "russian": "ru",
}  # as Gutenberg writes them

_NUMBERED = (
    r"chapter|part|book|volume|canto|act|letter|stave|kapitel|teil|buch|chapitre|partie|livre|cap[ií]tulo|parte|libro|"
    r"capitolo|hoofdstuk|deel|rozdział|глава|часть"
)
_NUMBER = (
    r"\d{1,3}|[ivxlcdm]{1,7}|the|one|two|three|four|five|six|seven|eight|nine|ten|\w+teen|\w+ty(?:-\w+)?|first|last"
)
_HEADING = re.compile(
    rf"(?:{_NUMBERED})\s+(?:{_NUMBER})\b[^\n]{{0,80}}"
    r"|(?:prologue|epilogue|introduction|preface|foreword|afterword|conclusion|vorwort|nachwort|prolog|epilog|prólogo|"
    r"epílogo|prefazione|épilogue)\.?"
    r"|(?-i:[IVXLC]{1,7}|\d{1,3})\.?(?:\s+(?-i:[A-ZÀ-Þ])[^.!?,]{0,60})?",
    re.IGNORECASE,
)
_MAX_CAPITALS_CHARS = 60  # of a heading that is only known by its capitals, and the space or the heading above it
_LEAST_CAPITALS = 4
_NEW_PAGE_LINES = 3  # line ends between two paragraphs where a chapter may begin
_END = re.compile(r"(?:the end|finis|fin|ende|fine|the end of .*)\W*", re.IGNORECASE)
_HEADING_LINES = 2
_PART = re.compile(r"(?:part|book|volume|teil|buch|partie|livre|parte|libro|deel|часть)\b", re.IGNORECASE)
_TRANSCRIBER = re.compile(r"\[?transcriber[’']?s?[’']? notes?\b", re.IGNORECASE)
_ILLUSTRATION = re.compile(r"\[(?:Illustration|Footnote|Transcriber|Sidenote)[^\]]{0,2000}\]", re.IGNORECASE)
_NOTE_MARK = re.compile(r"(?<=\S)\[(?:\d{1,3}|[*†‡])\]")
_EMPHASIS = re.compile(r"(?<!\w)([_=])(?=\S)([^_=]+)(?<=\S)\1(?!\w)")
_VERSE_SHARE = 0.75  # of the usual length: lines that are all shorter were not broken by a machine
_LONG_LINE_CHARS = 120  # a text of longer lines has one for each paragraph


def read_book(path: Path, options: ReadOptions) -> Book:
    """Read a book, by its file's name.

    Raises:
        BookError: it cannot be read, or has nothing to speak.
    """
    suffix, warnings = path.suffix.lower(), ()
    try:
        if suffix == ".epub":
            book = read_epub(path, options)
        elif suffix in (".html", ".htm", ".xhtml"):
            book = _from_root(parse_document(_read(path)), path.stem, options)
        elif suffix in (".md", ".markdown"):
            text, warnings = _decoded(path)
            book = _from_markdown(text, path.stem, options)
        elif suffix in (".txt", ".text"):
            text, warnings = _decoded(path)
            book = _from_text(text, path.stem, options)
        else:
            raise BookError(f"{path.name}: use .epub, .txt, .md or .html; Calibre makes an EPUB of most other books")
    except OSError as error:
        raise BookError(f"{path}: {error.strerror}") from None
    if not any(block.kind == "text" for chapter in book.chapters for block in chapter.blocks):
        raise BookError(f"there is nothing to speak in {path.name}")
    return replace(book, chapters=tuple(restore_case(book.chapters)), warnings=(*warnings, *book.warnings))


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise BookError(
            f"{path.name} has {path.stat().st_size / 2**20:.0f} MiB; a text has up to {MAX_TEXT_BYTES >> 20}"
        )
    return path.read_bytes()


def _decoded(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return a text, and what to tell of its encoding."""
    try:
        text, warning = decode_transcript(_read(path))
    except WorkerError as error:
        raise BookError(f"{path.name}: {error}") from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return lines, (warning.replace("the transcript", path.name),) if warning else ()


def _from_root(root: Element | None, name: str, options: ReadOptions) -> Book:
    if root is None:
        raise BookError(f"there is nothing to speak in {name}")
    language = primary_language(attribute(root, "lang"))
    page = read_page(root, options, language)
    titles = [text_of(element) for tag in ("title", "h1") for element in descendants(root, tag)]
    authors = [
        meta.get("content", "") for meta in descendants(root, "meta") if meta.get("name", "").lower() == "author"
    ]
    return _book(page.blocks, next(filter(None, titles), name), ", ".join(authors), language, options)


def _from_markdown(text: str, name: str, options: ReadOptions) -> Book:
    from markdown_it import MarkdownIt

    front = _FRONT_MATTER.match(text)
    fields = _fields(front[1] if front else "")
    text = _MARKDOWN_NOTE.sub("", text[front.end() :] if front else text)
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    book = _from_root(parse_document(f"<html><body>{page}</body></html>".encode()), name, options)
    return replace(
        book,
        title=fields.get("title", book.title),
        author=fields.get("author", book.author),
        language=fields.get("language", book.language),
    )


def _from_text(text: str, name: str, options: ReadOptions) -> Book:
    start = _GUTENBERG_START.search(text)
    begin = start.end() if start else 0
    end = _GUTENBERG_END.search(text, begin)
    fields = _fields(text[: start.start()]) if start else {}
    body = text[begin : end.start() if end else len(text)]
    blocks = _without_list_of_headings(_text_blocks(body))
    return _book(blocks, fields.get("title", name), fields.get("author", ""), fields.get("language"), options)


def _book(blocks: list[Block], title: str, author: str, language: str | None, options: ReadOptions) -> Book:
    chapters = split_by_headings(blocks)
    left_out = [] if options.matter else [found for found in chapters if is_matter_chapter(found, title, author)]
    kept = with_titles(chapter for chapter in chapters if chapter not in left_out)
    return Book(title, author, language, tuple(kept), warnings=left_out_warnings(chapter.title for chapter in left_out))


def _fields(head: str) -> dict[str, str]:
    """Return what the lines above a text say of it: `title`, `author`, `language`."""
    fields = {match[1].lower(): match[2] for match in reversed(list(_FIELD.finditer(head)))}
    language = fields.pop("language", "")
    code = _LANGUAGES.get(language.lower()) or primary_language(language)
    return fields | ({"language": code} if code else {})


def _text_blocks(text: str) -> list[Block]:
    text = _EMPHASIS.sub(r"\2", _NOTE_MARK.sub("", _ILLUSTRATION.sub("", text))).replace("--", "—")
    lines = [line.rstrip() for line in text.split("\n")]
    lengths = sorted(len(line.strip()) for line in lines if line.strip())
    usual = lengths[len(lengths) * 9 // 10] if lengths else 0
    gap = r"(\n)" if usual > _LONG_LINE_CHARS else r"(\n{2,})"
    gaps_and_paragraphs = ["\n" * _NEW_PAGE_LINES, *re.split(gap, "\n".join(lines))]
    blocks: list[Block] = []
    for before, paragraph in zip(gaps_and_paragraphs[::2], gaps_and_paragraphs[1::2], strict=True):
        parts = [" ".join(line.split()) for line in paragraph.split("\n") if line.strip()]
        if not parts or _TRANSCRIBER.match(parts[0]) or _is_contents(paragraph.split("\n")):
            continue
        if not any(character.isalnum() for part in parts for character in part):
            blocks.append(Block("break"))
        elif len(parts) <= _HEADING_LINES and _is_heading(
            parts,
            may_be_capitals=before.count("\n") >= _NEW_PAGE_LINES or (bool(blocks) and blocks[-1].kind == "heading"),
        ):
            blocks.append(Block("heading", "\n".join(parts), level=1 if _PART.match(parts[0]) else 2))
        else:
            blocks.append(Block("text", _joined(parts, usual)))
    levels = Counter(block.level for block in blocks if block.kind == "heading")
    return [replace(block, level=2) if block.level == 1 and levels[2] else block for block in blocks]


def _is_contents(lines: list[str]) -> bool:
    """Return whether most lines of a paragraph, of several, end with the number of a page, set apart by spaces."""
    words = [line.split() for line in lines if line.strip()]
    numbered = sum(
        parts[-1] == "PAGE" or (parts[-1].isdecimal() and line.endswith(f"  {parts[-1]}"))
        for line, parts in zip(filter(str.strip, lines), words, strict=True)
    )
    return len(words) > 1 and numbered > len(words) / 2


def _is_heading(lines: list[str], *, may_be_capitals: bool) -> bool:
    if _HEADING.fullmatch(lines[0]) or is_matter_title(lines[0]):
        return True
    text = " ".join(lines)
    return (
        may_be_capitals
        and text.isupper()
        and len(text) <= _MAX_CAPITALS_CHARS
        and sum(map(str.isalpha, text)) >= _LEAST_CAPITALS
        and not _END.fullmatch(text)
    )


def _joined(lines: list[str], usual: int) -> str:
    """Join the lines of a paragraph, unless they are a verse's."""
    if len(lines) > 1 and max(map(len, lines)) < _VERSE_SHARE * usual:
        return "\n".join(lines)
    return re.sub(r"(?<=\w-)\n(?=\w)", "", "\n".join(lines)).replace("\n", " ")


def _without_list_of_headings(blocks: list[Block]) -> list[Block]:
    """Return the blocks without the headings of a table of contents: those that come again, and its own."""
    last = {block.text: index for index, block in enumerate(blocks) if block.kind == "heading"}
    once = [
        block
        for index, (block, following) in enumerate(pairwise([*blocks, Block("break")]))
        if block.kind != "heading" or following.kind != "heading" or last[block.text] == index
    ]
    return [
        block
        for block, following in pairwise([*once, Block("break")])
        if block.kind != "heading" or following.kind != "heading" or not is_matter_title(block.text)
    ]
