"""Capitals and single letters, for models that learned neither.

A model that never saw a sentence in capitals makes noise of it, and one that never heard a letter's name swallows `B B
C`. What is a property of the checkpoint is told by its `text.json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from f5_worker.text.sentences import sentence_ends
from f5_worker.text.spans import SourceMappedText


class _Language(NamedTuple):
    """Letters and capitals of a language.

    Attributes:
        names: of the letters, as they sound to a reader of the language; said so, a recogniser writes the letters.
        single: the single letters that are no words.
        initials: spelled although they could be read as words.
        small_text: as well, but not in a sentence in capitals.
        words: short ones that look like initials.
        word_letters: capital letters that are words in a sentence in capitals.
        elision: what joins a word before it.
    """

    names: dict[str, str]
    single: re.Pattern[str]
    initials: frozenset[str]
    small_text: frozenset[str]
    words: frozenset[str]
    word_letters: str
    elision: re.Pattern[str]


def _named(names: str) -> dict[str, str]:
    """Return the names of A to Z; ~ is a space within one."""
    return dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (name.replace("~", " ") for name in names.split()), strict=True))


_ALONE = r"(?<![\w'’.&-])", r"(?![\w'’&-]|\.\w)"
_ENGLISH = _Language(
    names=_named(
        "ay bee see dee ee eff gee aitch eye jay kay ell em en oh pee cue are ess tee you vee double-you ex why zee"
    ),
    # In a row also those that are words.
    single=re.compile(rf"{_ALONE[0]}[A-Za-z](?: [A-Za-z])+{_ALONE[1]}|{_ALONE[0]}[B-HJ-Zb-hj-z]{_ALONE[1]}"),
    initials=frozenset(
        """
        USA UAE UK EU UN AI API FAQ FBI CIA IBM IRS ISP URL USB UFO CEO CIO COO CTO CFO IPO ATM IOU DIY GPA GPU CPU SUV
        VIP ETA ECG EKG EEG ICU ADHD EPA IMF NSA NYU UCLA USSR USAF HIV LED GOP MIT NIH SEC AKA DOB DOA UTC SOS IEEE OMG
        FYI
        """.split()
    ),
    small_text=frozenset("IT US AM ID IQ OS UI LA PA MA AC AI IP".split()),
    words=frozenset(
        """
        NASA NATO OPEC AIDS UNESCO UNICEF JPEG NO OK ALL THE AND YOU ME MY WE HE SHE IS ARE DO GO SO TO TOO OF ON IN AT
        UP OUT OFF IF OR AN AS BE BY OLD OUR WHO WHY HOW SAY SEE DAY ONE TWO ANY MAY OWN WAY TRY HI HEY OH AH UH ASK BUY
        EAT FLY GUY KEY LAY LIE PAY TEA USE YET EGG EYE AGE AIR ART ICE ADD ARM END FEW NEW NOW WOW LOW BOY TOY JOY BYE
        """.split()
    ),
    word_letters="A",
    elision=re.compile(r"(?!)"),
)
_FRENCH = _Language(
    # A single vowel is no word that a voice learns, so each is written as a word that sounds alike.
    names=_named(
        "ah bé cé dé eu effe gé ache hi ji ka elle emme enne oh pé cu erre esse té hu vé double~vé ixe hi~grec zède"
    ),
    single=re.compile(rf"{_ALONE[0]}[B-XZ]{_ALONE[1]}"),  # A, and Y at the beginning of a question, are words
    initials=frozenset("RATP RER PIB BEP HEC SAV VIP SUV SOS ADSL".split()),
    small_text=frozenset(),
    words=frozenset(
        """
        OK OUI ON OU OÙ ET EST EN AU AUX UN UNE LE LA LES DE DU DES CE CES SA SES MA MES TA TES NE NI SI SE ME TE TU IL
        ILS ELLE JE MOI TOI LUI EUX QUE QUI QUOI DEUX TROP TOUT TOUS TRÈS PLUS BIEN ICI LÀ EAU ÂGE AMI ANS ART AIR ÎLE
        ÉTÉ FEU JEU LIEU PEU VU VUE RUE BUT AÏE HÉ OH AH EH HA BAH ÇA VA VAS FAUT PEUT VEUT DIT FAIT ONT SONT AI AS
        AVEC SANS SOUS DANS PAR POUR CAR MAIS DONC OR
        """.split()
    ),
    word_letters="AÀYÔ",
    elision=re.compile(r"(?:[cdjlmnst]|qu)['’]", re.IGNORECASE),
)
_LANGUAGES = {"en": _ENGLISH, "fr": _FRENCH}
_TITLES = frozenset("MR MRS MS DR PROF ST JR SR".split())
_SYLLABLE = re.compile(r"[BCDFGHJKLMNPRSTVWYZ][AEIOU][BCDFGHKLMNPRSTVWXYZ]")
_LETTERS = re.compile(r"[^\W\d_]+")
_CAPITAL_WORD = re.compile(r"(?<![\w'’])[^\W\d_]+(?:['’][^\W\d_]+)*(?!\w)")
_APOSTROPHE = re.compile("['’]")
_CAPITALS = re.compile(r"[A-ZÀ-ÞΑ-ΩА-Я]{2}")
_OPENING = re.compile(r"[.!?…\n]\W*$")
_PLURAL = re.compile(r"([A-Z]{2,})s")
_UNPRONOUNCEABLE = re.compile(r"[BCDFGHJKLMNPQRSTVWXZ]{4,}|^[BCDFGHJKLMNPQRSTVWXZ]+$|^[AEIOUY]+$")
_MAX_SPELLED = 6  # letters; longer words in capitals are words
# `U.S.A.`
_DOTTED = re.compile(r"(?<![\w'’.])(?:[A-Za-z]\.){2,}(?![^\W_])|(?<![\w'’.])(?:[A-Za-z]\.)+[A-Za-z](?![\w.])")
_ABBREVIATED = re.compile(r"e\.g|i\.e|a\.k\.a", re.IGNORECASE)


def capital_sentences(text: str, language: str = "en") -> Iterator[tuple[int, int]]:
    """Yield the span of each sentence of several words without a small letter; initials alone are none."""
    own = _LANGUAGES.get(language, _ENGLISH)
    begin = 0
    for end in [*_sentence_or_line_ends(text), len(text)]:
        cased = [word for word in _LETTERS.findall(text[begin:end]) if word.upper() != word.lower()]
        if all(map(str.isupper, cased)) and sum(len(word) > 1 and _is_word(word, own, True) for word in cased) >= 2:
            yield begin, end
        begin = end


def lower_capitals(text: SourceMappedText, language: str) -> SourceMappedText:
    """Write words in capitals in small letters, in sentences of them and in others; initials stay."""
    return text.replace(_lowered(text.text, language)) if _CAPITALS.search(text.text) else text


def _lowered(text: str, language: str) -> Iterator[tuple[int, int, str]]:
    own = _LANGUAGES.get(language, _ENGLISH)
    sentences = [*capital_sentences(text, language), (len(text), len(text))]
    index = 0
    for match in _CAPITAL_WORD.finditer(text):
        word = match[0]
        while sentences[index][1] <= match.start():
            index += 1
        in_capitals = sentences[index][0] <= match.start()
        is_word = _is_word(word, own, in_capitals) if len(word) > 1 else word in own.word_letters and in_capitals
        if word.isupper() and is_word:
            opens = _OPENING.search(text, max(0, match.start() - 4), match.start()) or not match.start()
            is_capital = opens or word in _TITLES or _APOSTROPHE.split(word)[0] == "I"
            yield match.start(), match.end(), word.capitalize() if is_capital else word.lower()


def spell_letters(text: SourceMappedText, language: str) -> SourceMappedText:
    """Write the names of letters for initials and single letters, `bee bee see`; only English and French have them."""
    own = _LANGUAGES.get(language)
    if own is None:
        return text
    dotted = text.sub(_DOTTED, lambda match: _spell_dotted(match, own))
    whole = dotted.sub(_CAPITAL_WORD, lambda match: _spell_word(match[0], own))
    return whole.sub(own.single, lambda match: " ".join(own.names[char.upper()] for char in match[0].split()))


def _spell_dotted(match: re.Match[str], own: _Language) -> str:
    if _ABBREVIATED.match(match[0]):
        return match[0]
    names = " ".join(own.names[char.upper()] for char in match[0] if char != ".")
    after = match.string[match.end() : match.end() + 2].strip()
    return names + ("." if match[0].endswith(".") and (not after or after[0].isupper()) else "")


def _spell_word(word: str, own: _Language) -> str:
    if elided := own.elision.match(word):
        return elided[0] + _spell_word(word[elided.end() :], own)
    if plural := _PLURAL.fullmatch(word):
        return word if _is_word(plural[1], own) else _names(plural[1], own) + "s"
    stem = _APOSTROPHE.split(word)[0]
    if len(stem) < 2 or not stem.isupper() or not stem.isascii() or _is_word(stem, own):
        return word
    return _names(stem, own) + word[len(stem) :].lower()


def _names(letters: str, own: _Language) -> str:
    return " ".join(own.names[char] for char in letters)


def _is_word(word: str, own: _Language, in_capitals: bool = False) -> bool:
    """Return False for initials, which are said letter by letter.

    Args:
        in_capitals: it stands in a sentence in capitals, where most short words are words.
    """
    stem = _APOSTROPHE.split(word)[0].upper()
    if stem in own.words or stem in _TITLES or (len(stem) == 1 and stem != word):
        return True
    if stem in own.initials or (stem in own.small_text and not in_capitals):
        return False
    if len(stem) <= _MAX_SPELLED and _UNPRONOUNCEABLE.search(stem):
        return False
    return len(stem) > 3 or in_capitals or _SYLLABLE.fullmatch(stem) is not None


def _sentence_or_line_ends(text: str) -> list[int]:
    lines = [match.end() for match in re.finditer(r"\n+", text)]
    return sorted({*lines, *(end for end in sentence_ends(text) if end < len(text))})
