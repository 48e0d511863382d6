"""English: the rules, tried in order wherever a number, a word or a sign begins."""

from __future__ import annotations

import re
from collections.abc import Iterator

from f5_worker.text.expand.english_numbers import CODE_RULES, NUMBER_RULES, SIGN_RULES
from f5_worker.text.expand.english_words import WORD_RULES
from f5_worker.text.expand.numbers import Reading

_START = re.compile(r"(?P<number>\d)|(?P<word>[^\W_])|(?P<sign>[-–—+.($€£¥₹#№&=×÷])")
_RULES = {"number": NUMBER_RULES, "word": WORD_RULES + CODE_RULES, "sign": SIGN_RULES}
# Skipped where no rule fits: a whole word, with any digits in it (MP3, 3D, 1.5x); or one sign.
_SKIPPED = {"number": re.compile(r"\d[\d.,]*[^\W_]*"), "word": re.compile(r"[^\W_]+"), "sign": re.compile(".")}


def english(text: str) -> Iterator[Reading]:
    """Yield what is read otherwise than it is written, in order; each rule looks at a bounded part, or takes it all."""
    at = 0
    while start := _START.search(text, at):
        at = start.start()
        kind = start.lastgroup or ""
        for rule in _RULES[kind]:
            match = rule.pattern.match(text, at)
            reading = rule.read(match) if match else None
            if match and reading is not None:
                yield from _readings(match, reading)
                at = match.end()
                break
        else:
            skipped = _SKIPPED[kind].match(text, at)
            at = skipped.end() if skipped else at + 1


def _readings(match: re.Match[str], reading: str | tuple[str, str]) -> Iterator[Reading]:
    """Yield one, or two where a number and its unit are separate words: each has its own time in subtitles."""
    begin, end = match.span()
    if isinstance(reading, str):
        yield begin, end, reading
        return
    gap = match.string.rindex(" ", begin, end)
    yield begin, gap, reading[0]
    yield gap + 1, end, reading[1]
