"""Sentences and clauses: the marks that end them, in every script, and where in a text they do.

Users need different rules, and each rule is one function here:

    sentence_ends, clause_ends     where a long text is cut into segments (`text.chunk`)
    pause_marks                    where a speaker may pause, to pair marks with pauses in a recording
    ends_with_full_stop            whether a clip's text is a whole sentence; abbreviations count as its end, too
    ends_with_pause_mark           whether punctuation asks for a pause between two words
    sentence_ends_before           whether a subtitle should end between two words; knows line breaks, abbreviations
    ends_with_clause_mark          whether a subtitle may well end after a word
    stop_ends_sentence             whether the full stop of an abbreviation is also that of its sentence
    finish_transcript              the ending that the model needs of a reference's text
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from f5_worker.errors import InvalidInput
from f5_worker.text.letters import letters
from f5_worker.text.scripts import is_unspaced

_DANDA, _DOUBLE_DANDA = "।", "॥"  # Indic
_ARABIC_QUESTION_MARK, _URDU_FULL_STOP = "؟", "۔"
_HALFWIDTH_FULL_STOP, _HALFWIDTH_COMMA = "｡", "､"

LATIN_STOPS = ".!?…"  # also of Greek, Cyrillic, Hebrew, Korean ...
CJK_STOPS = "。！？"
LATIN_CLAUSE_MARKS, ARABIC_CLAUSE_MARKS, CJK_CLAUSE_MARKS = ",;:", "،؛", "，；：、"
DASHES = "–—"

# Ends of sentences after which the model's text goes on with a space; upstream adds it after one-byte characters only.
FULL_STOPS = f"{LATIN_STOPS}{_DANDA}{_DOUBLE_DANDA}{_ARABIC_QUESTION_MARK}{_URDU_FULL_STOP}"
CJK_FULL_STOPS = f"{CJK_STOPS}{_HALFWIDTH_FULL_STOP}"

# Quotes and brackets that may follow a mark before the next sentence.
_CLOSING = "\"'”’»)]}」』）》"
_CUT_CLOSING = f"{_CLOSING}】"
_TRANSCRIPT_CLOSING = f"{_CLOSING}〉"
_SUBTITLE_CLOSING = f"{_CLOSING}】〉›“«"

# A run of marks is looked at once, from its beginning: from each of its marks it would take quadratic time.
_SENTENCE_END = re.compile(
    rf"(?<![{LATIN_STOPS}])[{LATIN_STOPS}]+[{re.escape(_CUT_CLOSING)}]*\s+"
    rf"|[{CJK_STOPS}{_DANDA}{_DOUBLE_DANDA}{_ARABIC_QUESTION_MARK}{_URDU_FULL_STOP}]+[{re.escape(_CUT_CLOSING)}]*\s*"
)
_SPACED_CLAUSE_MARKS = f"{LATIN_CLAUSE_MARKS}{ARABIC_CLAUSE_MARKS}"
_CLAUSE_END = re.compile(
    rf"(?<![{_SPACED_CLAUSE_MARKS}])[{_SPACED_CLAUSE_MARKS}]+[{re.escape(_CUT_CLOSING)}]*\s+"
    rf"|[{CJK_CLAUSE_MARKS}]+[{re.escape(_CUT_CLOSING)}]*\s*"
    r"|\s-\s+"
)
_PAUSE_MARK = re.compile(
    rf"[{re.escape(FULL_STOPS)}{LATIN_CLAUSE_MARKS}]+[{re.escape(_TRANSCRIPT_CLOSING)}]*(?=\s)"  # not in 3.5 or 10:30
    rf"|[{CJK_FULL_STOPS}{CJK_CLAUSE_MARKS}{_HALFWIDTH_COMMA}]+[{re.escape(_TRANSCRIPT_CLOSING)}]*"
    rf"|\s-+(?=\s)|[{DASHES}]+"
)
_PAUSE_MARKS = tuple(
    f"{FULL_STOPS}{CJK_FULL_STOPS}"
    f"{LATIN_CLAUSE_MARKS}{ARABIC_CLAUSE_MARKS}{CJK_CLAUSE_MARKS}{_HALFWIDTH_COMMA}{DASHES}-"
)
_SUBTITLE_STOPS = frozenset(f"{FULL_STOPS}{CJK_FULL_STOPS}")
_SUBTITLE_CLAUSE_MARKS = frozenset(f"{_SPACED_CLAUSE_MARKS}{CJK_CLAUSE_MARKS}{_HALFWIDTH_COMMA}{DASHES}")

# Full stops that do not end a sentence: titles, abbreviations, initials.
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st sr jr vs etc e.g i.e no vol fig al inc ltd co corp dept approx est gen col sgt capt "
    "lt rev hon apr z.b d.h bzw usw ca nr str u.a ggf p.s a.m p.m".split()
)
_INITIALS = re.compile(r"([^\W\d_]\.)*[A-ZÀ-ÞА-Я]")  # J, U.S
_ABBREVIATED = re.compile(r"""([^\s("'“‘\[]+)\.\s+$""")
_ABBREVIATION_CHARS = 40  # as far back as an abbreviation is looked for
_AFTER_STOP = re.compile(r"[\"'”’)\]]{0,4}\s{0,4}[\"'“‘(\[]{0,4}(\S?)")


def sentence_ends(text: str) -> Iterator[int]:
    """Yield the offset after each sentence of a text, its closing quotes and the white space behind it.

    Abbreviations, initials and decimals do not end a sentence.
    """
    for match in _SENTENCE_END.finditer(text):
        end = match.end()
        if not _is_abbreviated(text[max(0, end - _ABBREVIATION_CHARS) : end], text[end : end + 1]):
            yield end


def clause_ends(text: str) -> Iterator[int]:
    """Yield the offset after each comma, colon, semicolon or dash of a text and the white space behind it."""
    return (match.end() for match in _CLAUSE_END.finditer(text))


def pause_marks(text: str) -> Iterator[tuple[int, bool]]:
    """Yield `(end, is_full_stop)` for each mark, or run of marks, at which a speaker may pause.

    `end` is the offset after the mark and its closing quotes; the first mark of a run says if it is a full stop.
    """
    for match in _PAUSE_MARK.finditer(text):
        yield match.end(), match.group()[0] in FULL_STOPS + CJK_FULL_STOPS


def ends_with_full_stop(text: str) -> bool:
    """Return True if a text ends with a full stop, question or exclamation mark of any script, quotes aside."""
    return text.rstrip().rstrip(_TRANSCRIPT_CLOSING).endswith(tuple(FULL_STOPS + CJK_FULL_STOPS))


def ends_with_pause_mark(text: str) -> bool:
    """Return True if a text ends with any mark at which a speaker may pause, commas and dashes included."""
    return text.rstrip().rstrip(_TRANSCRIPT_CLOSING).endswith(_PAUSE_MARKS)


def sentence_ends_before(text: str, at: int) -> bool:
    """Return True if a sentence, or a line that is not a wrapped one, ends before `text[at]`, where a word begins."""
    before = text[max(0, at - _ABBREVIATION_CHARS) : at]
    bare = before.rstrip()
    if "\n" in before[len(bare) :] and not text[at : at + 1].islower():
        return True
    return bare.rstrip(_SUBTITLE_CLOSING)[-1:] in _SUBTITLE_STOPS and not _is_abbreviated(before, text[at : at + 1])


def ends_with_clause_mark(text: str) -> bool:
    """Return True if a text ends with a comma or another mark at which one breathes within a sentence."""
    return text.rstrip(_SUBTITLE_CLOSING)[-1:] in _SUBTITLE_CLAUSE_MARKS


def stop_ends_sentence(text: str, at: int) -> bool:
    """Return True if the full stop of an abbreviation before `text[at]` also ends its sentence.

    It does where a capital letter or nothing follows.
    """
    after = _AFTER_STOP.match(text, at)
    return after is not None and (not after[1] or after[1].isupper())


def finish_transcript(transcript: str) -> str:
    """Return the transcript on one line with the ending that the model needs: a full stop and a space, or `。`.

    Without it the end of the reference leaks into the speech (F5-TTS #133, #157).

    Raises:
        InvalidInput: it has no letters.
    """
    text = " ".join(transcript.split())
    if not any(map(letters, text)):
        raise InvalidInput("transcript is empty or has no letters; send exactly the words spoken in the clip")
    while not _may_end(text[-1]):
        text = text[:-1]
    last = text.rstrip(_TRANSCRIPT_CLOSING)[-1]
    if last in CJK_FULL_STOPS:
        return text
    if last in FULL_STOPS:
        return text + " "
    return text + ("。" if is_unspaced(text[-1]) else ". ")


def _may_end(char: str) -> bool:
    """Letters, marks, symbols, full stops and closing quotes; commas and dashes are replaced by a full stop."""
    return unicodedata.category(char)[0] in "LNMS" or char in _TRANSCRIPT_CLOSING + FULL_STOPS + CJK_FULL_STOPS


def _is_abbreviated(text: str, after: str) -> bool:
    """Return True if a text ends with an abbreviation or an initial, its full stop and white space.

    Args:
        after: the character that follows.
    """
    match = _ABBREVIATED.search(text)
    if match is None:
        return False
    word = match[1]
    if word.lower() == "no" and not after.isdecimal():
        return False  # the answer, not the number
    return word.lower() in _ABBREVIATIONS or _INITIALS.fullmatch(word) is not None
