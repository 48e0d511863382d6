"""Names of voices: which ones can be given, which one a file or an upload gets, which spellings mean the same.

A voice that is added has a plain name, `my_voice`. A file put into the directory or the bucket keeps its own name, in
any script; spellings that differ in case or normal form find it, too, and so does the plain name made from its own.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping

from f5_worker.audio.formats import INPUT_EXTENSIONS
from f5_worker.errors import InvalidInput
from f5_worker.schema.requests import VOICE_NAME

# Preferred first: those with times. Clips have INPUT_EXTENSIONS, also preferred first: those that lost least.
TRANSCRIPT_EXTENSIONS = ("srt", "vtt", "ass", "ssa", "ttml", "dfxp", "smi", "sbv", "lrc", "csv", "tsv", "txt")
MAX_PLAIN_CHARS = 64
MAX_COMPARED_CHARS = 255  # the longest name of a file
MAX_NEAREST, MIN_LIKENESS = 5, 0.4  # of names that may be meant; a first name is that like to the whole one
HASH_CHARS = 8

_NAME = re.compile(VOICE_NAME)
# Controls, line ends, and bytes of another encoding: no list, log line or response can carry them.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Turkish has a dotted and a dotless i in both cases; other languages' capital I is the first one's.
_ONE_I = str.maketrans({"ı": "i", "\u0307": None})
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)  # of emoji in colour or not


def is_name(name: str) -> bool:
    """Return True if a voice may be added under this name."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raise if a voice may not be added under this name.

    Raises:
        InvalidInput: with what a name is.
    """
    if not is_name(name):
        raise InvalidInput("a voice's name is 1 to 64 small letters, digits, - and _, and does not begin with - or _")


def extension(file: str) -> str:
    """Return the extension of a file's name in small letters, without the dot."""
    return file.rpartition(".")[2].lower() if "." in file else ""


def stem_of(file: str) -> str:
    """Return a file's name without directories and without the extension of a recording or a transcript."""
    file = file.replace("\\", "/").rpartition("/")[2]
    return file.rpartition(".")[0] if extension(file) in (*INPUT_EXTENSIONS, *TRANSCRIPT_EXTENSIONS) else file


def clip_name(file: str) -> str:
    """Return the name of a recording's voice: without its extension, NFC. Another name is returned as it is."""
    return _composed(file.rpartition(".")[0] if extension(file) in INPUT_EXTENSIONS else file)


def plain_name(stem: str) -> str:
    """Return a valid name made from any: `My Voice` -> `my_voice`. Different names may give the same."""
    mapped = _mapped(stem)
    if not any(char.isalnum() for char in mapped):  # of another script altogether
        return f"voice-{_hash(stem)}"
    return mapped.lstrip("-_")[:MAX_PLAIN_CHARS]


def listed_name(stem: str) -> str:
    """Return the name under which a file's voice is listed: the plain one in ASCII, else its own.

    Also plain are names with unprintable characters, as on a volume that was written under another encoding.
    """
    return plain_name(stem) if stem.isascii() or _UNPRINTABLE.search(stem) else _composed(stem)


def listed_names(stems: Iterable[str]) -> dict[str, str]:
    """Return the listed name of each stem, no two the same: the second of two is listed under its full name."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for stem in sorted(stems, key=lambda stem: (stem != listed_name(stem), stem)):
        name = listed_name(stem)
        if name in taken:
            name = _with_hash(name, stem) if _UNPRINTABLE.search(stem) else stem
        names[stem] = name
        taken.add(name)
    return names


def upload_names(original: str) -> tuple[str, ...]:
    """Return the names under which an uploaded voice may be stored, preferred first.

    The plain name serves where it keeps the beginning and all letters of the original; the other is that of this
    original alone. `аnn` with a Cyrillic letter would otherwise be `nn`, and `ä` would be `a`.
    """
    plain = plain_name(original)
    own = _with_hash(plain, original)
    keeps_all = original.isascii() and original[:1].isalnum() and len(original) <= MAX_PLAIN_CHARS
    return (plain, own) if keeps_all or not _has_plain_letters(original) else (own,)


def former_name(name: str) -> str | None:
    """Return the plain name that earlier versions gave a voice of this name; None if it could be another's."""
    if "/" in name or "\\" in name or not name.strip():
        return None
    bare = _bare(name.strip())
    if _has_plain_letters(name) and not (bare.isascii() and bare[0].isalnum()):
        return None
    return plain_name(name)


class Spellings:
    """The voices of a place by every spelling of their names, the closest first.

    Args:
        names: the listed name of each full name.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._exact = {**names, **{listed: listed for listed in names.values()}}
        self._composed: dict[str, str] = {}
        self._folded: dict[str, str] = {}
        self._plain: dict[str, str] = {}
        for full, listed in names.items():
            self._composed.setdefault(_composed(full), listed)
            self._folded.setdefault(fold(full), listed)
            self._plain.setdefault(plain_name(full), listed)

    def find(self, name: str) -> str | None:
        """Return the listed name of the voice that is meant; None if there is none."""
        return (
            self._exact.get(name)
            or self._composed.get(_composed(name))
            or self._folded.get(fold(name))
            or self._plain.get(former_name(name) or "")
        )


def fold(name: str) -> str:
    """Return a form that is equal for names that differ only in case, normal form, spaces or invisible characters."""
    if name.isascii():
        return " ".join(name.casefold().split())
    visible = "".join(
        char for char in name if unicodedata.category(char) != "Cf" and ord(char) not in _VARIATION_SELECTORS
    )
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", visible).casefold())
    return " ".join(unicodedata.normalize("NFC", folded.translate(_ONE_I)).split())


def nearest_names(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that may be meant by one that is not known, the nearest first."""
    folded = {fold(known): known for known in names}
    given = fold(name[:MAX_COMPARED_CHARS])
    return [folded[near] for near in difflib.get_close_matches(given, folded, MAX_NEAREST, MIN_LIKENESS)]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def _bare(name: str) -> str:
    """Return a name without accents and other marks."""
    return "".join(char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char))


def _mapped(stem: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "-", re.sub(r"\s", "_", _bare(stem).lower().strip()))


def _has_plain_letters(name: str) -> bool:
    return any(char.isalnum() for char in _mapped(name))


def _with_hash(plain: str, original: str) -> str:
    return f"{plain[: MAX_PLAIN_CHARS - HASH_CHARS - 1]}-{_hash(original)}"


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:HASH_CHARS]
