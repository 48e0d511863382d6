"""English: which rule reads what, tried in order wherever a number, a word or a sign begins."""

from __future__ import annotations

import re
from collections.abc import Iterator

from f5_worker.text.expand.english_numbers import CODE_RULES, NUMBER_RULES, SIGN_RULES
from f5_worker.text.expand.english_words import WORD_RULES
from f5_worker.text.expand.numbers import Reading

_START = re.compile(r"(?P<number>\d)|(?P<word>[^\W_])|(?P<sign>[-–—+.($€£¥₹#№&=×÷])")
_RULES = {"number": NUMBER_RULES, "word": WORD_RULES + CODE_RULES, "sign": SIGN_RULES}
# What is passed over where no rule fits: a whole word, with whatever digits are in it (MP3, 3D, 1.5x); or one sign.
_PASSED = {"number": re.compile(r"\d[\d.,]*[^\W_]*"), "word": re.compile(r"[^\W_]+"), "sign": re.compile(".")}


def english(text: str) -> Iterator[Reading]:
    """What is read otherwise than it is written, in order. Each rule looks at a bounded stretch, or takes it all."""
    at = 0
    while start := _START.search(text, at):
        at = start.start()
        kind = start.lastgroup or ""
        for rule in _RULES[kind]:
            match = rule.pattern.match(text, at)
            said = rule.say(match) if match else None
            if match and said is not None:
                yield from _pieces(match, said)
                at = match.end()
                break
        else:
            passed = _PASSED[kind].match(text, at)
            at = passed.end() if passed else at + 1


def _pieces(match: re.Match[str], said: str | tuple[str, str]) -> Iterator[Reading]:
    """One, or two where a number and its unit are words of their own: each has its own time in subtitles."""
    begin, end = match.span()
    if isinstance(said, str):
        yield begin, end, said
        return
    gap = match.string.rindex(" ", begin, end)
    yield begin, gap, said[0]
    yield gap + 1, end, said[1]
