"""Ordinals written as a number and a full stop, told from numbers that end a sentence.

In German every noun has a capital letter, so what stands before decides, and words that begin sentences.
"""

from __future__ import annotations

import re

from f5_worker.text.expand.numbers import ordinal

GERMAN_MONTHS = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()
_BEFORE_CHARS = 48
_LAST_DAY = 31  # of the library's Danish and Norwegian, those above are not all words
_MISSPELLED = {("da", 30): "tredivte", ("da", 31): "enogtredivte", ("no", 13): "trettende", ("sv", 20): "tjugonde"}

# Before a word, a comma or another ordinal; in German, where the words around decide, also at the end.
_GERMAN_DATE = (
    r"(?:(?<=\b[Aa]m )|(?<=\b[Vv]om )|(?<=\b[Zz]um )|(?<=\b[Bb]is ))"
    r"(?:0?[1-9]|[12]\d|3[01])\. ?(?:0?[1-9]|1[0-2])\.(?! ?\d)"
)
_GERMAN = rf"{_GERMAN_DATE}|\d{{1,3}}\.(?= ?[^\W\d_]|[,!?)\"”“»]|(?: | ?[-/] ?)\d{{1,2}}\. |\s*$|\n)"
_SMALL = r"\d{1,2}\.(?= [a-zà-ÿğışřűő])"
_HUNGARIAN_MONTHS = "január február március április május június július augusztus szeptember október november december"
_PATTERNS = {
    "da": _SMALL,
    "de": _GERMAN,
    # Finnish ordinals follow the case of the noun: these are nominative, or a month of a date.
    "fi": r"\d{1,2}\.(?= (?:\w{4,6}kuuta|kerros|kerta|luokka|päivä|sija|vuosi)\b)",
    "hu": "".join(rf"(?<!{month} )" for month in _HUNGARIAN_MONTHS.split()) + _SMALL,  # október harmadika
    "no": _SMALL,
    "tr": _SMALL,
}

# Nouns that have a rank before them, also without an article.
_RANKED = frozenset(
    """
    Januar Februar März April Mai Juni Juli August September Oktober November Dezember
    Jan Feb Mär Apr Jun Jul Aug Sep Sept Okt Nov Dez
    Jahrhundert Jahrtausend Klasse Stock Stockwerk Etage Obergeschoss Platz Geburtstag Jahrestag Mal Kapitel
    Auflage Weltkrieg Liga Bundesliga Semester Quartal Runde Spieltag Lebensjahr Halbzeit Akt Szene Staffel Advent
    FC SC
    """.lower().split()
)
_FIRST_IN_SENTENCES = frozenset(
    """
    Aber Alle Alles Als Also Am An Auch Auf Aus Bald Bei Beim Bis Bitte Da Dabei Damals Danach Dann Das Dass Dazu Dem
    Den Denn Der Des Deshalb Die Dies Diese Dieser Dieses Doch Dort Du Durch Ein Eine Einen Einem Einer Einige Er Es
    Für Gestern Heute Hier Ich Ihr Ihre Im In Ja Jede Jeder Jedes Jetzt Kein Keine Man Manche Mein Meine Mit Nach Nein
    Nicht Noch Nun Nur Ob Obwohl Oder Ohne Sein Seine Seit Sie So Später Trotzdem Um Und Unser Unsere Unter Viele Vom
    Von Vor Wann War Warum Was Weil Wenn Wer Wie Wir Wo Zu Zum Zur Zuerst Über
    """.split()
)
_PREPOSITIONS = frozenset(
    """
    ab an auf aus außerhalb bei gegenüber hinter in innerhalb laut mit nach neben seit statt trotz unter von vor
    während wegen zu zwischen über
    """.split()
)
_BEFORE_DATES = frozenset("ab bis gegen nach seit von vor".split())  # bis dritten Oktober
_FEMININE = re.compile(
    r"(?:ung|heit|keit|schaft|tion|tät|klasse|etage|runde|liga|woche|stunde|auflage|seite|stufe|frau|hälfte|staffel"
    r"|folge|halbzeit|minute|sekunde|person|ausgabe|reihe|stelle|nacht|sinfonie|welle|phase|saison|strophe|szene)$"
)
_NEUTER = re.compile(
    r"(?:jahr|hundert|tausend|kapitel|kind|mal|buch|spiel|tor|semester|quartal|geschoss|werk|haus|drittel|viertel|bein"
    r"|chen|lein|album|lied|bild|gebot|reich|treffen|ziel|auto|foto|team|thema|stück|heft|blatt|wort|tier|land|dorf|zimmer"
    r"|fenster|konzert|projekt|ment|ium|eum|datum|zentrum)$"
)
_ENDED = frozenset("am beim dem den des im vom zum zur".split())  # the third is dritten after these
_PLAIN = frozenset("ans aufs das die durchs fürs ins ums diese dieses jede jedes jene jenes welche welches".split())
_DATIVE = frozenset("am dem vom zum".split())  # before a number on its own these tell a date
_POSSESSIVE = re.compile(r"(?:k?ein|mein|dein|sein|ihr|unser|eue?r)(e|em|en|er|es)?")
_DETERMINED = re.compile(r"(?:dies|jed|jen|welch)(er|em|en)")
# The determiner and the word before it; ordinals of the same noun may stand between: vom 1. bis 5. Mai.
_DETERMINER = re.compile(
    r"(?:([^\W\d_]+),? )?(?<![^\W_])([^\W\d_]+) (?:\d{1,3}\.(?:,| -|-|/| und| oder| bis| bzw\.)? ?)*$"
)
_ABBREVIATIONS = {month[:3].lower(): month for month in GERMAN_MONTHS} | {"sept": "September"}
_ABBREVIATED_MONTH = re.compile(rf" ({'|'.join(_ABBREVIATIONS)})\.(?= \d| [a-zäöü])", re.IGNORECASE)
_UNTIL = re.compile(r" ?- ?(?=\d{1,3}\. )")  # 1.-5. Mai
_NEXT = re.compile(r" ?([^\W\d_]+)")


def ordinal_pattern(code: str) -> str | None:
    """Return the pattern of what may be an ordinal in a language, None if it has none that could be read."""
    return _PATTERNS.get(code)


def point_ordinal(text: str, begin: int, end: int, code: str) -> tuple[str, int] | None:
    """Read `text[begin:end]`, digits and a full stop, and say where it ends: before the stop if that ends a sentence.

    Returns:
        None if it is not an ordinal, or not one that can be read.
    """
    if code == "de":
        return _german(text, begin, end)
    value = int(text[begin : end - 1])
    if value == 0 or (value > _LAST_DAY and code in ("da", "no")):
        return None
    return day_ordinal(value, code), end


def day_ordinal(value: int, code: str) -> str:
    """Write an ordinal of a language other than English and German, up to the last day of a month at least."""
    return _MISSPELLED.get((code, value)) or ordinal(value, code)


def german_day(value: int, text: str, begin: int) -> str:
    """Write the day of a date that stands at `text[begin]`: erster, or ersten after `am`."""
    return _stem(value) + (_ending(text, begin, GERMAN_MONTHS[0]) or "er")


def _german(text: str, begin: int, end: int) -> tuple[str, int] | None:
    value, _, month = text[begin : end - 1].partition(".")
    following = _NEXT.match(text, end)
    noun = following[1] if following else ""
    if month:  # am 3.10.
        words = f"{_stem(int(value))}en {GERMAN_MONTHS[int(month) - 1]}"
        return words, end - (not noun or noun in _FIRST_IN_SENTENCES)
    if not int(value):
        return None
    ending = _ending(text, begin, noun)
    said = _stem(int(value)) + (ending or _strong(noun))
    if abbreviated := _ABBREVIATED_MONTH.match(text, end):
        return f"{said} {_ABBREVIATIONS[abbreviated[1].lower()]}", abbreviated.end()
    if until := _UNTIL.match(text, end):
        return f"{said} bis", until.end()
    is_item = not begin or text[begin - 1] == "\n"  # 1. kaufen
    if noun.lower() in _RANKED or text[end : end + 1] in (",", "/"):
        return said, end
    if noun[:1].islower() and not is_item:
        return said, end
    if ending and noun and noun not in _FIRST_IN_SENTENCES:
        return said, end
    determiner = _determiner(text, begin)[1]
    if determiner in _DATIVE or (determiner == "der" and not noun) or end - begin == len(text):
        return said, end - 1
    return None


def _stem(value: int) -> str:
    return ordinal(value, "de").removesuffix("e")


def _determiner(text: str, begin: int) -> tuple[str, str]:
    """Return the two words that stand before a number, the latter a determiner if there is one."""
    match = _DETERMINER.search(text[max(0, begin - _BEFORE_CHARS) : begin])
    return ((match[1] or "").lower(), match[2].lower()) if match else ("", "")


def _ending(text: str, begin: int, noun: str) -> str:
    """Return how an ordinal ends after the words before it; empty if they are no determiner."""
    before, determiner = _determiner(text, begin)
    if determiner in _ENDED or (determiner in _BEFORE_DATES and noun.lower() in _RANKED):
        return "en"
    if determiner in _PLAIN:
        return "e"
    if determiner == "der" or (determiner.endswith("er") and _DETERMINED.fullmatch(determiner)):
        is_nominative = before not in _PREPOSITIONS and not _FEMININE.search(noun.lower())
        return "e" if is_nominative else "en"
    if _DETERMINED.fullmatch(determiner):
        return "en"
    possessive = _POSSESSIVE.fullmatch(determiner)
    if possessive is None:
        return ""
    if possessive[1]:
        return "e" if possessive[1] == "e" else "en"
    return "e" if _FEMININE.search(noun.lower()) else _strong(noun)


def _strong(noun: str) -> str:
    """Return how an ordinal without a determiner ends in the nominative."""
    if _FEMININE.search(noun.lower()):
        return "e"
    return "es" if _NEUTER.search(noun.lower()) else "er"
