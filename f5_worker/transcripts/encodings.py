"""The bytes of a transcript's file to text: which encoding they are in, or which kind of document they are instead.

UTF-8 where it is that. Everything else is found by `charset-normalizer`; what it cannot tell apart is decided here by
which letters, and which rows of a table of characters, a language uses.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from f5_worker.errors import SubtitlesUnreadable

_MARKS = {  # the longer first: UTF-32's begins with UTF-16's
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_HEAD_BYTES = 4_096
_DOCUMENTS = (
    (re.compile(rb"\s*\{\\rtf"), "an RTF document"),
    (re.compile(rb"PK\x03\x04.*opendocument\.text", re.DOTALL), "an ODT document"),
    (re.compile(rb"PK\x03\x04.*(?:word/|\[Content_Types\]\.xml)", re.DOTALL), "a DOCX document"),
    (re.compile(rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf\x27\x1c|Rar!"), "a compressed archive (ZIP)"),
    (re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), "a DOC document of Word"),
    (re.compile(rb"\s*%PDF-"), "a PDF document"),
    (re.compile(rb"\s*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE), "an HTML page"),
)

# The encodings of text files that people still have, as Python names them, and as the caller reads them.
_NAMES = {
    "cp1252": "Windows-1252 (Western European)",
    "cp1250": "Windows-1250 (Central European)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "koi8_r": "KOI8-R (Cyrillic)",
    "cp1253": "Windows-1253 (Greek)",
    "cp1254": "Windows-1254 (Turkish)",
    "cp1255": "Windows-1255 (Hebrew)",
    "cp1256": "Windows-1256 (Arabic)",
    "gb18030": "GBK (Chinese)",
    "big5": "Big5 (Chinese)",
    "cp932": "Shift-JIS (Japanese)",
    "euc_jp": "EUC-JP (Japanese)",
    "cp949": "EUC-KR (Korean)",
    "utf-16-le": "UTF-16 (little-endian) without a mark",
    "utf-16-be": "UTF-16 (big-endian) without a mark",
}
_LATIN = ("cp1252", "cp1250", "cp1254")
_CENTRAL_LANGUAGES = {"Croatian", "Czech", "Hungarian", "Polish", "Romanian", "Slovak", "Slovene"}
# The letters besides a to z that a language has; a text in it has no other ones, in the encoding that it is in.
_ALPHABETS = {
    "cp1252": (
        "àâæçéèêëîïôœùûüÿ", "äöüß", "áéíñóúü", "áâãàçéêíóôõúü", "àèéìíîòóùú", "åäöé", "æøåé", "áðéíóúýþæö", "éëïóöü",
    ),
    "cp1250": ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž", "ăâîşţ"),
    "cp1254": ("çğıöşüâîû",),
}  # fmt: skip
# Letters of Central Europe are signs in Windows-1252, which stand at the edge of a word there.
_SIGN_IN_WORD = re.compile("[^\\W\\d_][£¥¯³¹º¼¾¿]|[¥¯³¹¼¾][^\\W\\d_]")
# The characters of two bytes that make up almost all of a text: kana; the frequent half of Chinese; Hangul.
_FREQUENT = {
    "cp932": (0x829F, 0x8396),
    "euc_jp": (0xA4A1, 0xA5F6),
    "gb18030": (0xB0A1, 0xD7F9),
    "big5": (0xA440, 0xC67E),
    "cp949": (0xB0A1, 0xC8FE),
}
_TIMES = re.compile(rb"[0-9:.,;\s>-]{4,}")  # no byte of these ends a character of two
_CYRILLIC = "оеаинтсрвлкмдпуяыі"
_FREQUENT_LETTERS = {
    "cp1251": _CYRILLIC,
    "koi8_r": _CYRILLIC,
    "cp1253": "αοιετσνηυρπκμλςόίάέήώύ",
    "cp1255": "יוהלאתמרבשנ",
    "cp1256": "اليمونرتبةعدسفهكق",
}
_FREQUENT_MARKS = " \n.,、。，"
_MIN_KANA, _MIN_FREQUENT, _MIN_LEAD = 0.2, 0.75, 0.05
_MAX_CHAOS, _MIN_CHAOS_LEAD, _MIN_COHERENCE_LEAD = 0.2, 0.05, 0.1  # of `charset-normalizer`, 0..1


class DecodedText(NamedTuple):
    """A file's text. `warning`: names the encoding that was chosen; None where it is certain."""

    text: str
    warning: str | None


def decode_transcript(data: bytes) -> DecodedText:
    """Decode a file's bytes.

    Raises:
        SubtitlesUnreadable: a document, a page or an archive instead of text, named; or in no encoding for certain,
            with those it may be.
    """
    refuse_documents(data[:_HEAD_BYTES])
    marked = next((encoding for mark, encoding in _MARKS.items() if data.startswith(mark)), None)
    try:
        if marked is not None or b"\0" not in data:
            return DecodedText(data.decode(marked or "utf-8"), None)
    except UnicodeDecodeError:
        if marked is not None:
            name = marked.removesuffix("-sig").upper()
            raise SubtitlesUnreadable(
                f"the transcript has the mark of {name} and is not valid; save it again"
            ) from None
    encoding = _utf16(data) or _legacy(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise _unknown() from None
    return DecodedText(text, f"the transcript is not in UTF-8; it was read as {_NAMES[encoding]}; check its words")


def refuse_documents(head: bytes) -> None:
    """Raise SubtitlesUnreadable for the beginning of a document that is not plain text, by its name."""
    for pattern, name in _DOCUMENTS:
        if pattern.match(head):
            raise SubtitlesUnreadable(f"the transcript is {name}; save it as plain text (UTF-8) and send that")


def _utf16(data: bytes) -> str | None:
    """Return UTF-16's byte order where the text has no mark: one of the two makes letters of its ASCII characters."""
    if len(data) % 2 or len(data) < 4:
        return None
    pairs = [data[at : at + 2] for at in range(0, len(data), 2)]
    found = {}
    for encoding in ("utf-16-le", "utf-16-be"):
        marks = {mark.encode(encoding) for mark in _FREQUENT_MARKS}
        found[encoding] = sum(pair in marks for pair in pairs)
    likely = max(found, key=lambda encoding: found[encoding])
    has_zeros = b"\0" in data
    if found[likely] <= 2 * min(found.values()) or not (has_zeros or found[likely] * 40 >= len(pairs)):
        return None
    try:
        text = data.decode(likely)
    except UnicodeDecodeError:
        return None
    return likely if "\0" not in text else None


def _legacy(data: bytes) -> str:
    from charset_normalizer import from_bytes  # 30 ms

    if b"\0" in data:
        raise SubtitlesUnreadable("the transcript holds binary data, it is not text in UTF-8; save it as UTF-8")
    words = _TIMES.sub(b" ", data)  # they are no evidence
    names = [name for name in _NAMES if not name.startswith("utf")]
    matches = from_bytes(words, cp_isolation=names, threshold=_MAX_CHAOS)
    known = [match for match in matches if match.encoding in _NAMES]
    if (east_asian := _east_asian(words, [match.encoding for match in known])) is not None:
        return east_asian
    if not known:
        raise _unknown()
    best = known[0]
    if best.encoding in _LATIN:
        return _latin(words, best.encoding == "cp1250" and best.language in _CENTRAL_LANGUAGES)
    rivals = [
        match.encoding
        for match in known[1:]
        if match.chaos < best.chaos + _MIN_CHAOS_LEAD and match.coherence > best.coherence - _MIN_COHERENCE_LEAD
    ]
    return _most_frequent(words, [best.encoding, *rivals]) if rivals else best.encoding


def _most_frequent(words: bytes, encodings: list[str]) -> str:
    """Return the encoding in which most letters are the frequent ones of its language.

    Raises:
        SubtitlesUnreadable: two fit alike.
    """
    shares = {}
    for encoding in encodings:
        letters = [
            char for char in words.decode(encoding, errors="replace").lower() if char > "\x7f" and char.isalpha()
        ]
        known = _FREQUENT_LETTERS.get(encoding, "")
        shares[encoding] = sum(char in known for char in letters) / max(len(letters), 1)
    ranked = sorted(encodings, key=lambda encoding: -shares[encoding])
    if shares[ranked[0]] < _MIN_FREQUENT or shares[ranked[0]] - shares[ranked[1]] < _MIN_LEAD:
        raise _doubtful(ranked)
    return ranked[0]


def _latin(words: bytes, is_central_language: bool) -> str:
    """Return which of the Latin encodings: the one in which all letters are those of one language.

    Args:
        is_central_language: what `charset-normalizer` takes it for, where that tells more than one or none.
    """
    fitting = [encoding for encoding in _ALPHABETS if _fits_alphabet(words, encoding)]
    if ("cp1250" in fitting and "cp1252" in fitting) or not fitting:
        fitting = ["cp1250"] if is_central_language else ["cp1252"]
    return fitting[0]


def _fits_alphabet(words: bytes, encoding: str) -> bool:
    try:
        text = words.decode(encoding).lower()
    except UnicodeDecodeError:
        return False
    letters = {char for char in text if char > "\x7f" and char.isalpha() and char not in "ªº"}
    return any(letters <= set(alphabet) for alphabet in _ALPHABETS[encoding]) and not (
        encoding == "cp1252" and _SIGN_IN_WORD.search(text)
    )


def _east_asian(data: bytes, matches: list[str]) -> str | None:
    """Return the encoding of Chinese, Japanese or Korean in which most characters are frequent ones.

    Raises:
        SubtitlesUnreadable: two fit alike.
    """
    if not matches or not any(encoding in _FREQUENT for encoding in matches[:2]):
        return None
    shares = {encoding: share for encoding in _FREQUENT if (share := _frequent_share(data, encoding)) > 0.0}
    for japanese in ("cp932", "euc_jp"):  # no other language has so many kana
        if shares.get(japanese, 0.0) >= _MIN_KANA:
            return japanese
    ranked = sorted((share, encoding) for encoding, share in shares.items() if encoding not in ("cp932", "euc_jp"))
    if not ranked or ranked[-1][0] < _MIN_FREQUENT:
        return None
    best, rivals = ranked[-1][1], [name for share, name in ranked[:-1] if ranked[-1][0] - share < _MIN_LEAD]
    if (best == "gb18030" and rivals == ["cp949"]) or (best == "cp949" and "gb18030" in rivals):
        # Hangul's rows are among the frequent Chinese ones: all in them is Korean, and Korean has spaces.
        best, rivals = "cp949" if b" " in data.strip() else "gb18030", []
    if rivals:
        raise _doubtful([best, *rivals])
    return best


def _frequent_share(data: bytes, encoding: str) -> float:
    """Return the share of a text's characters of two bytes that are frequent in a language; 0 if it cannot be that."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return 0.0
    low, high = _FREQUENT[encoding]
    codes = [int.from_bytes(char.encode(encoding), "big") for char in text if char > "\x7f"]
    letters = [code for code in codes if not 0xA1A1 <= code <= 0xA3FE and not 0x8140 <= code <= 0x81FC]  # no marks
    return sum(low <= code <= high for code in letters) / len(letters) if letters else 0.0


def _unknown() -> SubtitlesUnreadable:
    return SubtitlesUnreadable("the transcript is in an encoding that is not known; save it as UTF-8")


def _doubtful(encodings: list[str]) -> SubtitlesUnreadable:
    names = " or ".join(_NAMES[encoding] for encoding in encodings[:4])
    return SubtitlesUnreadable(f"the transcript is not in UTF-8 and may be {names}; save it as UTF-8")
