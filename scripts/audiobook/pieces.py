"""Cut chapters into pieces: the text of one job each, and the silence after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from f5_worker.text.sentences import sentence_ends
from scripts.audiobook.model import Block, Chapter

# Silence between two pieces, in seconds. Between paragraphs of one piece the worker makes the same pause.
PARAGRAPH_PAUSE_S, HEADING_PAUSE_S, BREAK_PAUSE_S, CHAPTER_PAUSE_S = 0.6, 1.2, 1.5, 2.0
SENTENCE_PAUSE_S = 0.35  # within a paragraph that is longer than a piece


@dataclass(frozen=True)
class Piece:
    """The text of one job. `language` is set where it is not the book's; `pause_s` is the silence after it."""

    text: str
    language: str | None
    pause_s: float


def cut_chapter(chapter: Chapter, max_chars: int) -> list[Piece]:
    """Return the pieces of a chapter, in order: up to `max_chars` of whole paragraphs, or sentences of a longer one.

    A heading is a piece of its own, so that the pause after it is exact; so is text in another language.
    """
    pieces: list[Piece] = []
    for block, following in pairwise([*chapter.blocks, Block("break")]):
        if block.kind == "break":
            continue
        pause_s = _pause_between(block, following)
        parts = list(_cut_text(block.text, max_chars))
        for index, part in enumerate(parts):
            is_last = index == len(parts) - 1
            piece = Piece(part, block.language, pause_s if is_last else SENTENCE_PAUSE_S)
            if pieces and _can_join(pieces[-1], piece, max_chars):
                piece = replace(piece, text=f"{pieces.pop().text}\n\n{piece.text}")
            pieces.append(piece)
    return [*pieces[:-1], replace(pieces[-1], pause_s=CHAPTER_PAUSE_S)] if pieces else []


def _pause_between(block: Block, following: Block) -> float:
    if following.kind == "break":
        return BREAK_PAUSE_S
    if block.kind == "heading" and following.kind == "heading":
        return PARAGRAPH_PAUSE_S
    return HEADING_PAUSE_S if "heading" in (block.kind, following.kind) else PARAGRAPH_PAUSE_S


def _can_join(before: Piece, piece: Piece, max_chars: int) -> bool:
    return (
        before.pause_s == PARAGRAPH_PAUSE_S
        and before.language == piece.language
        and len(before.text) + len(piece.text) + 2 <= max_chars
    )


def _cut_text(text: str, max_chars: int) -> Iterator[str]:
    """Yield a text in parts of up to `max_chars`: at ends of sentences, else at spaces, else anywhere."""
    part = ""
    for sentence in _atoms(text, max_chars):
        if part and len(part) + len(sentence.rstrip()) > max_chars:
            yield part.strip()
            part = ""
        part += sentence
    if part.strip():
        yield part.strip()


def _atoms(text: str, max_chars: int) -> Iterable[str]:
    """Yield the sentences of a text, those that are too long in parts."""
    for begin, end in pairwise([0, *sentence_ends(text), len(text)]):
        sentence = text[begin:end]
        while len(sentence.rstrip()) > max_chars:
            space = sentence.rfind(" ", 1, max_chars)
            cut = space + 1 if space > 0 else max_chars
            yield sentence[:cut]
            sentence = sentence[cut:]
        if sentence:
            yield sentence
