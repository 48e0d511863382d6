"""Dates in figures, of languages other than English: the third of October, not three, ten."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from f5_worker.text.expand.numbers import cardinal
from f5_worker.text.expand.ordinals import GERMAN_MONTHS, day_ordinal, german_day

DATE = (
    r"\d{1,2}(?P<joint>[./-])\d{1,2}(?P=joint)\d{2,4}|\d{1,2}\. \d{1,2}\. \d{4}"
    r"|\d{4}(?P<jointed>[./-])\d{1,2}(?P=jointed)\d{1,2}"
)
_LAST_DAY = 31


class DateRules(NamedTuple):
    """How a language says a date.

    frame: with {} for day, month and year.
    first: the first day of a month, if unlike the others.
    ordinals: days are ordinals.
    """

    frame: str
    months: list[str]
    first: str = ""
    ordinals: bool = False


_SPANISH = "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"
_FRENCH = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre"
_ITALIAN = "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre"
_PORTUGUESE = "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro"
_DUTCH = "januari februari maart april mei juni juli augustus september oktober november december"
_DANISH = "januar februar marts april maj juni juli august september oktober november december"
_NORWEGIAN = "januar februar mars april mai juni juli august september oktober november desember"
_SWEDISH = "januari februari mars april maj juni juli augusti september oktober november december"
_HINDI = "जनवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर"
_FINNISH = "tammi helmi maalis huhti touko kesä heinä elo syys loka marras joulu"
_DATES = {
    "da": DateRules("{} {} {}", _DANISH.split(), ordinals=True),
    "de": DateRules("{} {} {}", GERMAN_MONTHS),
    "es": DateRules("{} de {} de {}", _SPANISH.split(), first="primero"),
    "fi": DateRules("{} {}kuuta {}", _FINNISH.split(), ordinals=True),
    "fr": DateRules("{} {} {}", _FRENCH.split(), first="premier"),
    "hi": DateRules("{} {} {}", _HINDI.split()),
    "it": DateRules("{} {} {}", _ITALIAN.split(), first="primo"),
    "nl": DateRules("{} {} {}", _DUTCH.split()),
    "no": DateRules("{} {} {}", _NORWEGIAN.split(), ordinals=True),
    "pt": DateRules("{} de {} de {}", _PORTUGUESE.split(), first="primeiro"),
    "sv": DateRules("{} {} {}", _SWEDISH.split(), ordinals=True),
}


def date(match: re.Match[str], code: str, read_year: Callable[[str], str]) -> str | None:
    """Read what DATE matched, the day before the month; None if it is no date, or the months are not known."""
    rules = _DATES.get(code)
    if rules is None:
        return None
    first, second, third = re.findall(r"\d+", match[0])
    year, month, day = (first, second, third) if len(first) == 4 else (third, second, first)
    if int(month) > len(rules.months) >= int(day):
        month, day = day, month
    if not (1 <= int(month) <= len(rules.months) and 1 <= int(day) <= _LAST_DAY):
        return None
    return rules.frame.format(_day(match, int(day), code), rules.months[int(month) - 1], read_year(year))


def _day(match: re.Match[str], day: int, code: str) -> str:
    rules = _DATES[code]
    if code == "de":
        return german_day(day, match.string, match.start())
    if day == 1 and rules.first:
        return rules.first
    return day_ordinal(day, code) if rules.ordinals else cardinal(day, code)
