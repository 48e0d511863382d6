"""Texts for `fuzz.py`: many scripts, signs and markup, and what holds of whatever is read of them."""

from __future__ import annotations

import random

from f5_worker.text.chunk import chunk, origins
from f5_worker.text.markup.script import read_script
from f5_worker.text.reading import ReadingOptions, read_passages

WIDE_BYTES = 100  # above it, texts are cut sentence by sentence

PIECES = (
    *(
        "# Title\n",
        "- item\n",
        "**bold** ",
        "*smiles* ",
        "[laughs] ",
        "[a](http://b.c) ",
        "`x` ",
        "| a | b |\n|---|---|\n",
    ),
    *(
        "[pause:1s] ",
        "[pause:99s] ",
        "[voice:ann] ",
        "[/voice] ",
        "<break time='1s'/>",
        "<p>x</p>",
        "<sub alias='y'>x</sub> ",
    ),
    *("<think>", "</think>", "```\n", "&amp;#39;", "2^10 ", "①Ⅳ ", "𝗕𝗼𝗹𝗱 ", "❤️1️⃣ ", "THE BIG DOG. "),
    *("Hello there. ", "Dr. Smith paid $5.50 on 3/4/2024 at 10:30. ", "1,000,000.5 km² ", "No. 5, pp. 3-7; ", "I.e. "),
    *(
        "مرحبا بالعالم ",
        "你好，世界。2024年 ",
        "こんにちは。",
        "한국어 문장. ",
        "Привет, мир! ",
        "नमस्ते दुनिया। ",
        "שלום ",
    ),
    *("👩‍👩‍👧‍👦", "é" * 3, "e\u0301\u0301", "\u200b", "\u202e", "\u00ad", "\ud800", "\x00", "ﬃ", "½", "Ⅷ", "①"),
    *("...", "!?!?", "---", "((((", '"', "\n\n", "\r\n", "\t", " " * 40, "a" * 60, "1" * 60, "$" * 9, "." * 30, "<b>"),
)
TEXT_LANGUAGES = ("en", "de", "fr", "zh", "ja", "ko", "ru", "hi", "ar", "xx")


def text(value: tuple[str, str, bool, int]) -> None:
    """Read and cut a text; every character comes from somewhere in it, in order, and no words are lost."""
    source, language, expand, max_bytes = value
    script = read_script(source)
    reading = read_passages(script, lambda voice: ReadingOptions(language, expand))
    last = 0
    for passage in reading.passages:
        spoken = passage.text
        assert len(spoken.text) == len(spoken.origin)
        assert all(last <= begin <= end <= len(script.text.text) for begin, end in spoken.origin)
        last = max(begin for begin, _ in spoken.origin)
        begin, end = script.written(spoken.origin)
        assert 0 <= begin <= end <= len(source)
        chunks = chunk(spoken.text, max_bytes, max_bytes // 2, one_sentence=max_bytes > WIDE_BYTES)
        assert all(len(piece.text) == len(origins(piece, spoken)) for piece in chunks)
        assert letters("".join(piece.text for piece in chunks)) == letters(spoken.text)


def letters(value: str) -> str:
    """Return the letters and digits of a text."""
    return "".join(filter(str.isalnum, value))


def a_text(rng: random.Random) -> tuple[str, str, bool, int]:
    """Return a text of many scripts and signs, and how it is to be cut."""
    pieces = [rng.choice(PIECES) * rng.choice((1, 1, 1, 2, 20)) for _ in range(rng.randint(1, 30))]
    return "".join(pieces), rng.choice(TEXT_LANGUAGES), rng.random() < 0.8, rng.choice((40, 60, 135, 300))
