"""Markdown to the words that are read: headings, lists, quotes, links, tables, emphasis, and stage directions.

The rules are our own, since those of CommonMark are for a page and lose what is said: they drop the number of `1986. A
great year`, take an indented paragraph for code and `2*3*4` for emphasis, and their parsers know the line of what they
find, not its place in it. Time is linear in the length of the text: each pattern is bounded, or ends at a character
that the next attempt begins behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Literal

from f5_worker.text.markup.directions import is_direction
from f5_worker.text.markup.directives import MARKS
from f5_worker.text.spans import SourceMappedText

Change = tuple[int, int, str]

_ANY = re.compile(r"[#*_~`>|\[\]\\•‣▪◦●=(]|^[ \t]*[-+][ \t]|^[ \t]{0,3}-{2,}", re.MULTILINE)
_FENCE = re.compile(
    r"^[ \t]*(?P<sign>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)(?:\n|\Z)"
    r"(?P<code>.*?)(?:^[ \t]*(?P=sign)[`~]*[ \t]*(?:\n|\Z)|\Z)",
    re.MULTILINE | re.DOTALL,
)
_PROSE_FENCES = frozenset(("text", "txt", "plaintext", "plain", "md", "markdown", "ssml"))

_LINE = re.compile(r"[^\n]*\n?")
_HEADING = re.compile(rf"(?P<mark>{MARKS}*)[ \t]{{0,3}}#{{1,6}}[ \t]+")
_HEADING_END = re.compile(r"[ \t]+#+[ \t]*$")
_RULE = re.compile(r"[ \t]{0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$")
_UNDERLINE = re.compile(r"[ \t]{0,3}(?:={2,}|-{2,})[ \t]*$")
_QUOTE = re.compile(r"[ \t]{0,3}(?:>[ \t]?)+(?=[^>]|$)")
_BULLET = re.compile(rf"(?P<mark>{MARKS}*)[ \t]*(?P<sign>[-*+•‣▪◦●])[ \t]+(?:\[[ xX]\][ \t]+)?(?=(?P<next>\S))")
_NUMBERED = re.compile(r"[ \t]*\d{1,3}[.)][ \t]+\S")
_DELIMITER_ROW = re.compile(r"[ \t]*\|?(?:[ \t]*:?-+:?[ \t]*\|)*[ \t]*:?-+:?[ \t]*\|?[ \t]*$")
_CELL_EDGE = re.compile(r"(?<!\\)[ \t]*\|[ \t]*")
_DEFINITION = re.compile(
    r"[ \t]{0,3}\[(?P<label>[^\[\]\n]{1,100})\]:[ \t]+<?(?:https?:|mailto:|ftp:|www\.|[./#])\S*.*$"
)
_FOOTNOTE_DEFINITION = re.compile(r"[ \t]{0,3}\[\^[^\[\]\s]{1,40}\]:[ \t]*")

_TARGET = r"\((?:<[^<>\n]{0,2000}>|[^()\s]{0,2000}(?:\([^()\s]{0,200}\)[^()\s]{0,200})?)(?:[ \t]+\"[^\"\n]{0,300}\")?\)"
_CODE = re.compile(r"(?<![`\\])(`{1,3})(?!`)([^`\n]{1,1000})(?<!`)\1(?!`)")
_IMAGE = re.compile(rf"!\[([^\[\]\n]{{0,300}})\]{_TARGET}")
_LINK = re.compile(rf"\[([^\[\]\n]{{0,300}})\]{_TARGET}")
_REFERENCE = re.compile(r"\[([^\[\]\n]{1,300})\]\[([^\[\]\n]{0,100})\]")
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]{1,40}\]")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^<>\s]{1,2000}|[\w.+-]{1,64}@[\w.-]{1,200})>")
_ADDRESS = re.compile(r"(?:https?://|www\.)[^\s<>\"]+|[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+")
_DIRECTION = re.compile(
    r"(?<![\w*\\])(?P<sign>\*{1,2})(?P<stars>[^\s*][^*\n]{0,98}[^\s*])(?P=sign)(?![\w*])"
    r"|(?<!\\)\[(?P<square>[^\[\]\n]{1,100})\]|\((?P<round>[^()\n]{1,100})\)"
)
_KINDS: tuple[Literal["stars", "square", "round"], ...] = ("stars", "square", "round")
_RUN = re.compile(r"\*+|_+|~{2}|={2}")
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+.!|~>=-])")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")


def remove_code(text: SourceMappedText) -> tuple[SourceMappedText, int]:
    """Remove fenced blocks of code; return the number of those that were not prose."""
    if "```" not in text.text and "~~~" not in text.text:
        return text, 0
    changes, removed = list[Change](), 0
    for match in _FENCE.finditer(text.text):
        is_prose = match["info"].strip().lower() in _PROSE_FENCES
        if is_prose:
            changes += [(match.start(), match.start("code"), "\n"), (match.end("code"), match.end(), "\n")]
        else:
            changes.append((*match.span(), "\n\n"))
            removed += bool(match["code"].strip())
    return text.replace(changes), removed


def read_markdown(text: SourceMappedText, *, skip_directions: bool) -> tuple[SourceMappedText, int]:
    """Return a text without Markdown's signs, and the number of stage directions that were skipped."""
    if not _ANY.search(text.text):
        return text, 0
    text, definitions = _read_blocks(text)
    text = text.sub(_CODE, r"\2").sub(_IMAGE, r"\1").sub(_LINK, r"\1").sub(_AUTOLINK, r"\1").sub(_FOOTNOTE, "")
    if definitions:
        text = text.sub(_REFERENCE, lambda match: match[1] if (match[2] or match[1]) in definitions else match[0])
    text, skipped = _read_directions(text, skip=skip_directions)
    return text.replace(_emphasis(text.text)).sub(_ESCAPE, r"\1"), skipped


# -- blocks -----------------------------------------------------------------------------------------------------------


def _read_blocks(text: SourceMappedText) -> tuple[SourceMappedText, set[str]]:
    """Remove what marks a line; return the labels of the links that are defined, too."""
    lines = [match.group().rstrip("\n") for match in _LINE.finditer(text.text) if match.group()]
    changes, definitions, at, table = list[Change](), set[str](), 0, 0
    for index, line in enumerate(lines):
        before = lines[index - 1] if index else ""
        after = lines[index + 1] if index + 1 < len(lines) else ""
        if table and "|" not in line:
            table = 0
        if "|" in line and "|" in after and _DELIMITER_ROW.match(after):
            table = 1
        if definition := _DEFINITION.match(line):
            definitions.add(definition["label"])
            changes.append((at, at + len(line), ""))
        elif table:
            changes += _row(line, at) if table != 2 else [(at, at + len(line), "")]
            table += 1
        else:
            changes += _line_changes(line, at, before, after)
        at += len(line) + 1
    return text.replace(_merged(changes)), definitions


def _line_changes(line: str, at: int, before: str, after: str) -> Iterator[Change]:
    """Yield the changes of one line that is not of a table; `at` is its place in the text."""
    if _RULE.match(line) or (before.strip() and _UNDERLINE.match(line)):
        yield at, at + len(line), ""
        return
    begin = 0
    if quote := _QUOTE.match(line):
        begin = quote.end()
        yield at, at + begin, ""
    if heading := _HEADING.match(line, begin):
        yield at + begin, at + heading.end(), heading["mark"]
        if closing := _HEADING_END.search(line, heading.end()):
            yield at + closing.start(), at + len(line), ""
        yield from _own_line(at + len(line), after)
    elif (bullet := _BULLET.match(line, begin)) and _is_bullet(bullet, before, after):
        yield at + begin, at + bullet.end(), ("\n" if before.strip() else "") + bullet["mark"]
        yield from _own_line(at + len(line), after if _BULLET.match(after) else "")
    elif footnote := _FOOTNOTE_DEFINITION.match(line, begin):
        yield at + begin, at + footnote.end(), ""


def _own_line(end: int, after: str) -> Iterator[Change]:
    """Yield an empty line where the next line would be taken for the rest of this one."""
    if after.lstrip()[:1].islower():
        yield end, end, "\n"


def _is_bullet(bullet: re.Match[str], before: str, after: str) -> bool:
    """Return False for a sign, or a dash, before a number that is on its own: `- 5 degrees`, `+ 3`."""
    if bullet["sign"] not in "-+" or not bullet["next"].isdecimal():
        return True
    return any((other := _BULLET.match(line)) and other["sign"] == bullet["sign"] for line in (before, after))


def _row(line: str, at: int) -> list[Change]:
    """Return the changes that make a table's row a sentence: `a, b.`"""
    edges = [match.span() for match in _CELL_EDGE.finditer(line)]
    cells = [(0, 0), *edges, (len(line), len(line))]
    filled = [line[left[1] : right[0]].strip() != "" for left, right in pairwise(cells)]
    last = max((index for index, is_filled in enumerate(filled) if is_filled), default=-1)
    changes = []
    for index, (begin, end) in enumerate(edges):
        comma = ", " if filled[index] and index < last else ""
        changes.append((at + begin, at + end, comma or ("." if filled[index] and index == last else "")))
    if last == len(filled) - 1 and last >= 0:
        changes.append((at + len(line), at + len(line), "."))
    return changes


def _merged(changes: list[Change]) -> Iterator[Change]:
    """Yield the changes in order, without those of a place that another one has taken."""
    last = 0
    for begin, end, new in changes:
        if begin >= last:
            yield begin, end, new
            last = end


# -- within lines -----------------------------------------------------------------------------------------------------


def _read_directions(text: SourceMappedText, *, skip: bool) -> tuple[SourceMappedText, int]:
    """Remove stage directions, or only the signs around them; return how many were removed, too."""
    changes, skipped, written = list[Change](), 0, text.text
    for match in _DIRECTION.finditer(written):
        kind = next(kind for kind in _KINDS if match[kind] is not None)
        if not is_direction(match[kind], written, *match.span(), kind=kind):
            continue
        if skip:
            begin, end = _with_space(written, *match.span())
            changes.append((max(begin, changes[-1][1] if changes else 0), end, ""))  # one may stand beside the other
            skipped += 1
        elif kind != "round":
            begin, end = match.span(kind)
            changes += [(match.start(), begin, ""), (end, match.end(), "")]
    return text.replace(_merged(changes)), skipped


def _with_space(text: str, begin: int, end: int) -> tuple[int, int]:
    """Return a span with the space beside it that its removal would leave over."""
    if text[end : end + 1] == " " and (begin == 0 or text[begin - 1].isspace()):
        return begin, end + 1
    is_before_mark = text[end : end + 1] in (*".,;:!?…\n", "")
    return (begin - 1, end) if is_before_mark and text[begin - 1 : begin] == " " else (begin, end)


def _emphasis(text: str) -> Iterator[Change]:
    """Yield the removal of the runs of `*`, `_`, `~~` and `==` that mark words: those that open, and those that close.

    What stands between two numbers is a sign, `2*3`; what stands inside a word belongs to it, `snake_case`.
    """
    in_address = _inside(text, _ADDRESS)
    blank_lines = (match.start() for match in _BLANK_LINE.finditer(text))
    paragraph_end = next(blank_lines, len(text))
    open_signs: dict[str, list[Change]] = {}
    removed: list[Change] = []
    for match in _RUN.finditer(text):
        if in_address(match.start()):
            continue
        while match.start() > paragraph_end:
            paragraph_end = next(blank_lines, len(text))
            open_signs.clear()
        opens, closes = _flanks(text, *match.span())
        for sign, change in _signs(match):
            if closes and open_signs.get(sign):
                removed += [open_signs[sign].pop(), change]
            elif opens:
                open_signs.setdefault(sign, []).append(change)
            if sign == "**" and (opens or closes):  # nothing else that is written, even if it is left alone
                removed.append(change)
    yield from _merged(sorted(removed))


def _signs(run: re.Match[str]) -> Iterator[tuple[str, Change]]:
    """Yield the signs of a run: three asterisks are two signs, four and more none."""
    begin, end = run.span()
    if end - begin == 3 and run[0] != "~~~":
        yield run[0][:2], (begin, begin + 2, "")
        yield run[0][:1], (begin + 2, end, "")
    elif end - begin < 3:
        yield run[0], (begin, end, "")


def _inside(text: str, pattern: re.Pattern[str]) -> Callable[[int], bool]:
    """Return a function that tells for ascending places whether a match of the pattern covers them."""
    spans = (match.span() for match in pattern.finditer(text))
    begin, end = next(spans, (len(text), len(text)))

    def covers(at: int) -> bool:
        nonlocal begin, end
        while end <= at < len(text):
            begin, end = next(spans, (len(text), len(text)))
        return begin <= at < end

    return covers


def _flanks(text: str, begin: int, end: int) -> tuple[bool, bool]:
    """Return whether a run may open emphasis, and whether it may close one."""
    before, after = text[begin - 1 : begin] or " ", text[end : end + 1] or " "
    is_inside_word = before.isalnum() and after.isalnum()
    is_sign = is_inside_word and (before + after).isdecimal()  # 2**10
    if before == "\\" or is_sign or (is_inside_word and (end - begin == 1 or text[begin] in "_=")):
        return False, False
    left = not after.isspace() and (after.isalnum() or not before.isalnum())
    right = not before.isspace() and (before.isalnum() or not after.isalnum())
    return left, right
