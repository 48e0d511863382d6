"""scripts/audiobook/pieces.py: chapters cut into the texts of jobs."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from scripts.audiobook.model import Block, Chapter
from scripts.audiobook.pieces import (
    BREAK_PAUSE_S,
    CHAPTER_PAUSE_S,
    HEADING_PAUSE_S,
    PARAGRAPH_PAUSE_S,
    SENTENCE_PAUSE_S,
    Piece,
    cut_chapter,
)


def text(content: str, language: str | None = None) -> Block:
    return Block("text", content, language)


def cut(*blocks: Block, max_chars: int = 100) -> list[Piece]:
    return cut_chapter(Chapter("T", blocks), max_chars)


def test_paragraphs_are_joined_up_to_the_limit() -> None:
    pieces = cut(text("a" * 40), text("b" * 40), text("c" * 40))
    assert pieces == [
        Piece("a" * 40 + "\n\n" + "b" * 40, None, PARAGRAPH_PAUSE_S),
        Piece("c" * 40, None, CHAPTER_PAUSE_S),
    ]


def test_headings_and_breaks_have_their_pauses() -> None:
    pieces = cut(Block("heading", "1"), Block("heading", "One"), text("A."), Block("break"), text("B."), text("C."))
    assert pieces == [
        Piece("1\n\nOne", None, HEADING_PAUSE_S),
        Piece("A.", None, BREAK_PAUSE_S),
        Piece("B.\n\nC.", None, CHAPTER_PAUSE_S),
    ]
    assert cut(text("A."), Block("heading", "Two"), text("B."))[0] == Piece("A.", None, HEADING_PAUSE_S)


def test_another_language_is_a_piece() -> None:
    assert [(piece.text, piece.language) for piece in cut(text("A."), text("Ja.", "de"), text("B."))] == [
        ("A.", None), ("Ja.", "de"), ("B.", None)
    ]  # fmt: skip


def test_a_long_paragraph_is_cut_at_sentences_else_at_spaces() -> None:
    sentences = "It was a long and quiet day in May. " * 5
    pieces = cut(text(sentences.strip()), text("After."))
    assert pieces[0].text == "It was a long and quiet day in May. It was a long and quiet day in May."
    assert pieces[0].pause_s == SENTENCE_PAUSE_S
    assert pieces[-1].text.endswith("After.")
    words = cut(text("word " * 60))
    assert all(set(piece.text.split()) == {"word"} for piece in words)


def test_nothing() -> None:
    assert cut(Block("break")) == []


@given(st.lists(st.text(st.sampled_from("ab .!?\n。"), max_size=300), max_size=6), st.integers(5, 120))
def test_no_letter_is_lost_and_no_piece_is_too_long(paragraphs: list[str], max_chars: int) -> None:
    blocks = tuple(text(paragraph) for paragraph in paragraphs)
    pieces = cut_chapter(Chapter("T", blocks), max_chars)
    assert all(0 < len(piece.text) <= max_chars for piece in pieces)
    assert "".join("".join(piece.text.split()) for piece in pieces) == "".join("".join(p.split()) for p in paragraphs)
