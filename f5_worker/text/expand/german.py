"""German ordinals and dates in figures, which the grammar puts into no case: am dritten Oktober, der dritte Mann.

Every noun has a capital letter, so the words before a number and a full stop decide whether it is an ordinal or the end
of a sentence, and words that begin sentences.
"""

from __future__ import annotations

import re

from f5_worker.text.expand.words import converted

_MONTHS = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()
MONTH_OF = {month[:3]: month for month in _MONTHS} | {"Sept": "September"}
_YEAR = r"(?P<year>\d{4}|\d\d)"
# A date; or an ordinal before a word, a comma or another ordinal, or at the end.
GERMAN_NUMBER = (
    r"(?<![\w.,])(?:(?P<day>0?[1-9]|[12]\d|3[01])\. ?(?P<month>0?[1-9]|1[0-2])\."
    rf"(?: ?{_YEAR}(?![\d:/-]|[.,]\d)|(?! ?\d)))"
    r"|(?<![\w.,$€£])(?P<ordinal>\d{1,7})\.(?= ?[^\W\d_]|[,!?)/\"”“»]|"
    r" \d{1,2}\. |\s*$)"
)
# Nouns that have a rank before them, also without an article.
_RANKED = frozenset(
    f"""{" ".join([*_MONTHS, *MONTH_OF])}
    Jahrhundert Jahrtausend Klasse Stock Stockwerk Etage Obergeschoss Platz Geburtstag Jahrestag Mal Kapitel
    Auflage Weltkrieg Liga Bundesliga Semester Quartal Runde Spieltag Lebensjahr Halbzeit Akt Szene Staffel Advent
    FC SC""".lower().split()
)
_FIRST_IN_SENTENCES = frozenset(
    """Aber Alle Alles Als Also Am An Auch Auf Aus Bald Bei Beim Bis Bitte Da Dabei Damals Danach Dann Das Dass Dazu Dem
    Den Denn Der Des Deshalb Die Dies Diese Dieser Dieses Doch Dort Du Durch Ein Eine Einen Einem Einer Einige Er Es
    Für Gestern Heute Hier Ich Ihr Ihre Im In Ja Jede Jeder Jedes Jetzt Kein Keine Man Manche Mein Meine Mit Nach Nein
    Nicht Noch Nun Nur Ob Obwohl Oder Ohne Sein Seine Seit Sie So Später Trotzdem Um Und Unser Unsere Unter Viele Vom
    Von Vor Wann War Warum Was Weil Wenn Wer Wie Wir Wo Zu Zum Zur Zuerst Über""".split()
)
_PREPOSITIONS = frozenset(
    """ab an auf aus außerhalb bei gegenüber hinter in innerhalb laut mit nach neben seit statt trotz unter von vor
    während wegen zu zwischen über""".split()
)
_FEMININE = re.compile(
    r"(?:ung|heit|keit|schaft|tion|tät|klasse|etage|runde|liga|woche|stunde|auflage|seite|stufe|frau|hälfte|staffel"
    r"|folge|halbzeit|minute|sekunde|person|ausgabe|reihe|stelle|nacht|sinfonie|welle|phase|saison|strophe|szene)$"
)
_NEUTER = re.compile(
    r"(?:jahr|hundert|tausend|kapitel|kind|mal|buch|spiel|tor|semester|quartal|geschoss|werk|haus|drittel|viertel|bein"
    r"|chen|lein|album|lied|bild|gebot|reich|treffen|ziel|auto|foto|team|thema|stück|heft|blatt|wort|tier|land|dorf|zimmer"
    r"|fenster|konzert|projekt|ment|ium|eum|datum|zentrum)$"
)
_WEAK_EN = re.compile(
    r"am|beim|dem|den|des|im|vom|zum|zur|(?:dies|jed|jen|welch)e[mn]|(?:k?ein|[mds]ein|ihr|unser|eue?r)e[mnrs]"
)
_WEAK_E = re.compile(
    r"ans|aufs|das|die|durchs|fürs|ins|ums|(?:dies|jed|jen|welch)es?|(?:k?ein|[mds]ein|ihr|unser|eue?r)e"
)
_WEAK_DER = re.compile(r"der|(?:dies|jed|jen|welch)er")
_STRONG = re.compile(r"k?ein|[mds]ein|ihr|unser|euer")
_BEFORE_DATES = frozenset("ab bis gegen nach seit von vor".split())  # bis dritten Oktober
# The determiner and the word before it; ordinals of the same noun may stand between: vom 1. bis 5. Mai.
_DETERMINER = re.compile(
    r"(?:([^\W\d_]+),? )?(?<![^\W_])([^\W\d_]+) "
    r"(?:(?:\d{1,3}\.|[^\W\d_]{3,}(?:te|ste)[nrs]?)(?:,| -|-|/| und| oder| bis| bzw\.)* ?)*$"
)
_PART = (
    r"(?:eins?|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf|hundert|tausend|und"
    r"|\w{2,6}zehn|\w{2,6}(?:zig|ßig))"
)
_NUMBER = re.compile(rf"\b{_PART}(?: {_PART})+(?:s?te[rnms]?)?\b")
_COMPOUND = re.compile(r" (?:hundert|tausend|und)")
_BEFORE_CHARS = 48
_NOUN = re.compile(r" ?([^\W\d_]+)\.?")


def german_number(match: re.Match[str]) -> str:
    """Read a match of GERMAN_NUMBER; a number that ends its sentence keeps its full stop."""
    text, begin, end = match.string, match.start(), match.end()
    following = _NOUN.match(text, end)
    noun = following[1] if following else ""
    if match["day"]:
        said = f"{_stem(match['day'])}{_ending(text, begin, 'mai') or 'er'} {_MONTHS[int(match['month']) - 1]}"
        ends = not noun or noun in _FIRST_IN_SENTENCES
        return f"{said} {match['year']}" if match["year"] else f"{said}{'.' * ends}"
    if not int(match["ordinal"]):
        return match[0]
    ending = _ending(text, begin, noun)
    said = _stem(match["ordinal"]) + (ending or _strong(noun))
    if noun.lower() in _RANKED or text[end : end + 1] in (",", "/") or text[end + 1 : end + 2].isdecimal():
        return said
    is_item = not begin or text[begin - 1] == "\n"  # 1. kaufen
    if (noun[:1].islower() and not is_item) or (ending and noun and noun not in _FIRST_IN_SENTENCES):
        return said
    determiner = _determiner(text, begin)[1]
    if determiner in ("am", "dem", "vom", "zum") or (determiner == "der" and not noun) or match[0] == text.strip():
        return f"{said}."
    return f"{converted(int(match['ordinal']), 'de')}."  # the grammar takes 3. for an ordinal everywhere


def joined_numbers(words: str) -> str:
    """Write the parts of a number as one word: zwei tausend drei as zweitausenddrei."""
    return _NUMBER.sub(lambda match: match[0].replace(" ", "") if _COMPOUND.search(match[0]) else match[0], words)


def _stem(digits: str) -> str:
    return converted(int(digits), "de", "ordinal").removesuffix("e")


def _determiner(text: str, begin: int) -> tuple[str, str]:
    """Return the two words that stand before a number, the latter a determiner if there is one."""
    match = _DETERMINER.search(text[max(0, begin - _BEFORE_CHARS) : begin])
    return ((match[1] or "").lower(), match[2].lower()) if match else ("", "")


def _ending(text: str, begin: int, noun: str) -> str:
    """Return how an ordinal ends after the words before it; empty if they are no determiner."""
    before, determiner = _determiner(text, begin)
    if _WEAK_EN.fullmatch(determiner) or (determiner in _BEFORE_DATES and noun.lower() in _RANKED):
        return "en"
    if _WEAK_DER.fullmatch(determiner):
        return "e" if before not in _PREPOSITIONS and not _FEMININE.search(noun.lower()) else "en"
    if _WEAK_E.fullmatch(determiner):
        return "e"
    return _strong(noun) if _STRONG.fullmatch(determiner) else ""


def _strong(noun: str) -> str:
    """Return how an ordinal without a determiner ends in the nominative."""
    return "e" if _FEMININE.search(noun.lower()) else "es" if _NEUTER.search(noun.lower()) else "er"
