"""Rules for the Romance languages: gender, times, dates and money that their grammars read wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from f5_worker.text.expand.common import Replacement
from f5_worker.text.expand.words import converted
from f5_worker.text.sentences import stop_ends_sentence

_FRENCH = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()
_CAPITAL = "[A-ZÀ-ÖØ-ÞŒ]"
_ITALIAN = "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre".split()
_SPANISH_NUMBER = (
    r"(?<![\w.,:/€$£¥+-])(?<!\d )(\d{1,3}(?:\.\d{3})+|\d{1,7})"
    r"(?! ?[%°ºª€$£¥½-¾]|[\w/:-]|[.,]\w| \d)(?= ([a-záéíóúñü]+)|)"
)
_SPANISH_FEMININE = re.compile(r"(?:as?|[cs]i[oó]n(?:es)?|dad(?:es)?|vez|veces|noches?|mujer(?:es)?)$")
_SPANISH_MASCULINE = frozenset(
    """a era para cada hasta contra ya ahora entra había día días mapa mapas problema problemas programa programas
    sistema sistemas planeta planetas idioma idiomas tema temas va da está trabaja gana""".split()
)
_SPANISH_MONTHS = frozenset(
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split()
)
_FRENCH_TITLES = {"Mgr": "monseigneur", "Pr": "professeur", "Me": "maître"}
_UNIT = re.compile(r"[^aeiouáéíóúy]+")  # its grammar reads it
# Portuguese words that only look feminine.
_PORTUGUESE_MASCULINE = frozenset(
    "a para cada era da dia dias problema problemas programa programas sistema sistemas milhões bilhões".split()
)


def _spanish_number(match: re.Match[str]) -> str:
    """Read a match of _SPANISH_NUMBER; without a noun it is masculine."""
    value, noun = int(match[1].replace(".", "")), match[2] or ""
    has_gender = any(part % 1_000 >= 200 for part in (value, value // 1_000)) or (value % 10 == 1 and value % 100 != 11)
    is_hour = match.string[: match.start()].endswith(("la ", "las "))
    if not has_gender or is_hour or noun in _SPANISH_MONTHS or _UNIT.fullmatch(noun):
        return match[0]
    said = converted(value, "es")
    if _SPANISH_FEMININE.search(noun) and noun not in _SPANISH_MASCULINE:
        return re.sub("uno$", "una", re.sub("(cient|quinient)os", r"\1as", said))
    if value == 1:
        return match[0]
    return re.sub("veintiuno$", "veintiún", re.sub(" uno$", " un", said)) if noun.endswith("s") else said


def _in_words(months: Sequence[str], first: str) -> Callable[[re.Match[str]], str]:
    """Return what writes a date in figures with the name of its month."""

    def write(match: re.Match[str]) -> str:
        day, month = int(match[1]), int(match[2])
        if not (1 <= month <= 12 and 1 <= day <= 31):
            return match[0]
        return f"{first if day == 1 else day} {months[month - 1]} {match[3]}"

    return write


def _italian_ordinal(match: re.Match[str]) -> str:
    said = converted(int(match[2]), "it", "ordinal")
    return match[1] + (f"{said[:-1]}a" if match[3] == "ª" else said)


def _italian_fraction(match: re.Match[str]) -> str:
    over, under = int(match[1]), int(match[2])
    part = "mezzo" if under == 2 else converted(under, "it", "ordinal")
    return f"un {part}" if over == 1 else f"{over} {part[:-1]}i"


def _portuguese_feminine(match: re.Match[str]) -> str:
    said = converted(int(match[1]), "pt")
    return (
        match[0]
        if match[2] in _PORTUGUESE_MASCULINE
        else f"{re.sub('um$', 'uma', re.sub('dois$', 'duas', said))} {match[2]}"
    )


def _reais(match: re.Match[str]) -> str:
    amount, cents = int(match[1].replace(".", "")), int(match[2] or 0)
    parts = [f"{amount} {'real' if amount == 1 else 'reais'}"] if amount or not cents else []
    return " e ".join([*parts, *([f"{cents} centavo{'s' * (cents > 1)}"] if cents else [])])


def _french_time(match: re.Match[str]) -> str:
    hour, minute, second = int(match[1]), int(match[2] or 0), match[3] and int(match[3])
    said = f"{ {1: 'une', 21: 'vingt et une'}.get(hour, hour) } heure{'s' * (hour > 1)}"
    if second:
        return f"{said} {minute} minutes et {second} secondes"
    return f"{said} {minute}" if minute else said


def _french_era(match: re.Match[str]) -> str:
    said = {"av": "avant ", "apr": "après ", None: ""}[match[1]] + "Jésus-Christ"
    return said + "." * stop_ends_sentence(match.string, match.end())


ROMANCE: Mapping[str, Sequence[tuple[str, Replacement]]] = {
    "es": ((_SPANISH_NUMBER, _spanish_number),),
    "fr": (
        (r"(?<![\d.,])\d{1,3}(?:\.\d{3})+(?![\d.])", lambda m: m[0].replace(".", "")),
        (r"(?<![\d.,])(?<!\d )[1-9]\d{0,2}(?: \d{3})+(?![\d.]| \d)", lambda m: m[0].replace(" ", "")),
        (r"\b1(?:re|ère)(s?)\b", r"première\1"),
        (r"\b1ers\b", "premiers"),
        (r"\b2n(de?s?)\b", r"secon\1"),
        (r"\b[nN][°ºᵒ](s?) ?(?=\d)", r"numéro\1 "),
        (r"\b([Pp])(p?)\. ?(?=\d)", lambda m: f"{m[1]}age{'s' * bool(m[2])} "),
        (r"§ ?(?=\d)", "paragraphe "),
        (r"(?<=\d) ?‰", " pour mille"),
        (r"(?<=\w) ?& ?(?=\w)", " et "),
        (r"(?<![\w,.])(\d{1,2})([A-Z])(?![\w€$])", r"\1 \2"),
        (r"\b(?:(av|apr)\. )?J\.-C\.", _french_era),
        (r"(?<=\d) (?=[€$£](?!\d))", ""),
        (r"(?<=\d)-(?=\d{1,2} ?h)|(?<=h)-(?=\d{1,2} ?h)", " à "),
        (rf"\bD[rʳ]\.?(?= {_CAPITAL}|$)", "docteur"),
        (rf"\b(?:Mme|Mᵐᵉ)\.?(?= (?:{_CAPITAL}|l[ae] )|$)", "madame"),
        (rf"\b(?:Mlle|Mˡˡᵉ)\.?(?= {_CAPITAL}|$)", "mademoiselle"),
        (rf"\bM(mes|lles)(?= {_CAPITAL})", lambda m: {"mes": "mesdames", "lles": "mesdemoiselles"}[m[1]]),
        (rf"\bM\.(?= (?:{_CAPITAL}|l[ae] |l['’]|et mad))", "monsieur"),
        (rf"\bMM\.(?= (?:{_CAPITAL}|les ))", "messieurs"),
        (rf"\b(Mgr|Pr|M[eᵉ])\.?(?= {_CAPITAL}[a-zà-ÿœ])", lambda m: _FRENCH_TITLES[m[1].replace("ᵉ", "e")]),
        (rf"\bS(te?)(?=[- ]{_CAPITAL})", lambda m: {"t": "Saint", "te": "Sainte"}[m[1]]),
        (rf"\b(av\.|bd|blvd|boul\.)(?= {_CAPITAL})", lambda m: "avenue" if m[1] == "av." else "boulevard"),
        (r"(?<![\d:,])(\d{1,2})(?::| ?h ?)(\d{2})(?::(\d{2}))?(?![\d:])(?: heures?)?", _french_time),
        (r"(?<![\d:,])(\d{1,2})()() ?h\b", _french_time),
        (r"(?<![\d/])(\d{1,2})/(\d{1,2})/(\d{4})(?![\d/])", _in_words(_FRENCH, "premier")),
    ),
    "it": (
        (r"(?i)\b((?:il|al|nel|del|dal|un|ogni) )(\d{1,3})([°º])(?= ?[a-z])", _italian_ordinal),
        (r"(?<!\w)()(\d{1,3})(ª)(?!\w)", _italian_ordinal),
        (r"(?<![\d/.,])([1-9]\d?)/([2-9]|10)(?![\d/])", _italian_fraction),
        (r"\bn\. ?(?=\d)", "numero "),
        (r"(?<![\d.,])\d{1,3}(?:\.\d{3})+(?![\d.])", lambda m: m[0].replace(".", "")),
        (r"(?<![\d:])(\d):(?=\d\d(?![\d:]))", r"0\1:"),
        (r"(?<![\d/])(\d{1,2})/(\d{1,2})/(\d{4})(?![\d/])", _in_words(_ITALIAN, "primo")),
    ),
    "pt": (
        (
            r"R\$ ?(\d+(?:,\d+)?) (mil|(?:mi|bi)lh(?:ão|ões))\b",
            lambda m: f"{m[1]} {m[2]}{' de' * (m[2] != 'mil')} reais",
        ),
        (
            r"(?<![\w.,:/€$£+-])(\d?[12]|\d{1,2}0[12])(?<!1[12]) ([a-zãçéíóúâêô]+(?:as?|ões|dades?|eres))\b",
            _portuguese_feminine,
        ),
        (r"R\$ ?(\d{1,3}(?:\.\d{3})+|\d+)(?:,(\d\d))?(?![.,]?\d)", _reais),
        (r"\b[nN][°º] ?(?=\d)", "número "),
        (r"(?<![\d:])(\d{1,2}):(\d{2})(?![\d:])(?! d)", lambda m: f"{int(m[1])}h{m[2]}"),
    ),
}
