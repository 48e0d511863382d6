"""Abbreviations and units that the grammars of languages other than English lack."""

from __future__ import annotations

import re
from collections.abc import Sequence

from f5_worker.text.expand.common import Replacement, alternatives
from f5_worker.text.expand.words import UNSPACED_WORDS
from f5_worker.text.sentences import stop_ends_sentence

_ABBREVIATIONS = {
    "de": """
        z. B. = zum Beispiel; d. h. = das heißt; u. a. = unter anderem; usw. = und so weiter; etc. = et cetera;
        bzw. = beziehungsweise; ca. = circa; evtl. = eventuell; inkl. = inklusive; vgl. = vergleiche; Mio. = Millionen;
        Mrd. = Milliarden; Prof. = Professor; Tel. = Telefon; Str. = Straße; Abb. = Abbildung;
        Kap. = Kapitel""",
    "es": "EE. UU. = Estados Unidos; etc. = etcétera; p. ej. = por ejemplo; núm. = número; pág. = página",
    "fr": """
        p. ex. = par exemple; etc. = et cetera; c.-à-d. = c'est-à-dire; env. = environ; Tél. = Téléphone;
        tél. = téléphone; chap. = chapitre; vol. = volume; cf. = confer; Cf. = Confer""",
    "it": "p. es. = per esempio; pag. = pagina; pagg. = pagine; tel. = telefono",
    "pt": """
        Sr. = Senhor; Sra. = Senhora; Srta. = Senhorita; Dr. = Doutor; Dra. = Doutora; Prof. = Professor;
        Profa. = Professora; etc. = et cetera; p. ex. = por exemplo; pág. = página; págs. = páginas; tel. = telefone;
        Av. = Avenida""",
}
# (s): where the number is not one.
_UNITS = {
    "es": "°C = grado(s) Celsius",
    "fr": """
        km/h = kilomètre(s) à l'heure; m² = mètre(s) carré(s); km² = kilomètre(s) carré(s);
        km = kilomètre(s); kg = kilo(s); cm = centimètre(s); mm = millimètre(s);
        m = mètre(s); g = gramme(s); mg = milligramme(s); ml = millilitre(s); cl = centilitre(s); L = litre(s);
        l = litre(s); ha = hectare(s); To = téraoctet(s);
        min = minute(s); Go = gigaoctet(s); Mo = mégaoctet(s); £ = livre(s); °C = degré(s) Celsius""",
    "it": "°C = gradi Celsius; m² = metri quadrati; km² = chilometri quadrati",
    "ja": """
        km/h = キロメートル毎時; km = キロメートル; kg = キログラム; cm = センチメートル; mm = ミリメートル;
        mg = ミリグラム; ml = ミリリットル; GB = ギガバイト; MB = メガバイト; m = メートル;
        g = グラム; °C = 度; ℃ = 度""",
    "pt": "°C = grau(s) Celsius; km/h = quilômetro(s) por hora; m = metro(s)",
    "zh": "km/h = 公里每小时; m = 米",
}


def short_forms(language: str) -> Sequence[tuple[str, Replacement]]:
    """Return the rules of a language, as those of `rules.py`."""
    rules: list[tuple[str, Replacement]] = []
    if abbreviations := _pairs(_ABBREVIATIONS.get(language, "")):
        short = alternatives(abbreviations).replace(r"\ ", " ?")
        named = {_unspaced(short): name for short, name in abbreviations.items()}
        rules.append((rf"(?<![\w.-])(?:{short})(?=[\s,;:)]|$)", lambda match: _name(match, named)))
    if units := _pairs(_UNITS.get(language, "")):
        space = "" if language in UNSPACED_WORDS else " "
        rules.append(
            (
                rf"(?<![A-Za-z\d.,])(\d+(?:[.,]\d+)*) ?({alternatives(units)})(?![A-Za-z0-9/²³'’-])",
                lambda match: f"{match[1]}{space}{_agreeing(units[match[2]], match[1])}",
            )
        )
    return rules


def _pairs(table: str) -> dict[str, str]:
    pairs = (entry.split(" = ") for entry in " ".join(table.split()).split("; ") if entry)
    return {short: name for short, name in pairs}


def _unspaced(short: str) -> str:
    return short.replace(" ", "")


def _name(match: re.Match[str], named: dict[str, str]) -> str:
    """Return what an abbreviation stands for; one that ends its sentence keeps the full stop."""
    ends = match[0][0].islower() and stop_ends_sentence(match.string, match.end())
    return named[_unspaced(match[0])] + "." * ends


def _agreeing(unit: str, number: str) -> str:
    return unit.replace("(s)", "" if number == "1" else "s")
