"""Read what no grammar does: integers, decimals, percentages, money, times, dates; of languages in `languages.json`.

The table has what num2words lacks: how a language writes numbers, and the words around them. Where it has no words for
times or dates, their numbers are read one by one. Numbers with letters (1er, 5km) stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from f5_worker.text.expand.clock import clock_pattern, time_of_day
from f5_worker.text.expand.grammar import Expansion
from f5_worker.text.expand.words import INDIC, MAX_DIGITS, agreeing, converted, money, spelled, whole

_LONG_DIGITS = 7  # this long and without separators it is not an amount, but a number to dial or to type
_YEARS = range(1100, 2000)
_BEFORE_CHARS = 16  # before a time
_NEVER = r"(?!)"
_IN_LAKHS = (*INDIC, "bn")  # 12,34,567
UNSPACED = ("ja", "zh", "ko")  # numbers stand between letters
_CURRENCIES = {"€": "EUR", "$": "USD", "£": "GBP"}
_DATE = (
    r"\d{1,2}(?P<joint>[./-])\d{1,2}(?P=joint)\d{2,4}|\d{1,2}\. \d{1,2}\. \d{4}"
    r"|\d{4}(?P<jointed>[./-])\d{1,2}(?P=jointed)\d{1,2}"
)
_ALIASES = {"nb": "no", "nn": "no"}


@cache
def languages() -> Mapping[str, Mapping[str, Any]]:
    """Return how each language writes and says numbers.

    Without Amharic, where num2words 0.5.14 fails or hangs above a hundred, and Kannada, where it ends at 10^10.
    """
    table: Mapping[str, Mapping[str, Any]] = json.loads(files(__package__).joinpath("languages.json").read_bytes())
    return table


def numbers(text: str, language: str) -> Iterator[Expansion]:
    """Yield what is read otherwise than it is written, in order; nothing in a language without rules."""
    code = _ALIASES.get(language, language)
    if code not in languages():
        return
    for match in _pattern(code).finditer(text):
        said = _read(match, code)
        if said is not None:
            yield Expansion(*match.span(), said)


@cache
def _pattern(code: str) -> re.Pattern[str]:
    rules = languages()[code]
    other = "," if rules["decimal"] == "." else "."
    in_lakhs = r"(?:,\d{2}){0,6}" if code in _IN_LAKHS else ""
    number = rf"(?:\d{{1,3}}{in_lakhs}(?:{re.escape(rules['thousands'])}\d{{3}}){{1,4}}(?!\d)|\d+)"
    # The other sign is taken for a decimal point too, unless three digits follow: 3.14 is written everywhere.
    decimals = rf"(?:(?:{re.escape(rules['decimal'])}(?P<d>\d+)|{re.escape(other)}(?P<o>\d{{1,2}}))(?![.,]?\d))?"
    listed = r"(?P<listed>(?<=\d[.,]))?"  # of 1,2,3 none is a decimal
    sign = r"(?:(?<![^\s(\[\"'“‘«])(?P<sign>[-+]))?"
    coins = "€$£" + "".join(rules.get("coins", ()))
    before, after = rf"(?:(?P<before>[{coins}]) ?)?", rf"(?: ?(?P<after>[%{coins}])(?!\d))?"
    clock = rf"(?P<clock>{clock_pattern(rules.get('clock')) or _NEVER})(?P<until>-(?=\d))?"
    parts = rf"(?P<parts>(?P<date>{_DATE})|\d{{1,2}}:[0-5]\d)(?![^\W_]|[.,:/-]\d)"
    ordinal = rf"(?P<ordinal>{rules.get('ordinal', _NEVER)})"
    if code in UNSPACED:
        return re.compile(rf"(?<![A-Za-z]){sign}{before}{listed}(?P<n>{number})(?(listed)|{decimals}){after}", re.ASCII)
    # Small letters after the full stop tell an ordinal, which is not read in every language, from a sentence's end.
    end = r"(?![^\W_]|\. [a-zà-ÿа-яёіїєґ])"
    return re.compile(
        rf"(?<![^\W_])(?:{clock}|{parts}|{ordinal}|"
        rf"{sign}{before}{listed}(?P<n>{number})(?(listed)|{decimals}){after}{end})"
    )


def _read(match: re.Match[str], code: str) -> str | None:
    rules, groups = languages()[code], match.groupdict()
    converter = rules.get("converter", code)
    if groups.get("clock"):
        before = match.string[max(0, match.start() - _BEFORE_CHARS) : match.start()]
        return time_of_day(groups["clock"], before, rules["clock"], code) + " -" * bool(groups["until"])
    if groups.get("ordinal"):
        return _ordinal(int(match[0].rstrip(".")), code)
    if groups.get("parts"):
        words = _date(match[0], code) if groups["date"] else None
        return words or " ".join(whole(str(int(part)), converter) for part in re.findall(r"\d+", match[0]))
    digits = "".join(str(int(char)) for char in match["n"] if char.isdecimal())
    decimals = match["d"] or match["o"] or ""
    minus = {"-": f"{rules['minus']} ", "+": f"{rules['plus']} "}.get(match["sign"] or "", "")
    coin = match["before"] or match["after"] or ""
    if _CURRENCIES.get(coin) in rules.get("currencies", ()) and len(digits) <= MAX_DIGITS and len(decimals) <= 2:
        return minus + money(Decimal(f"{int(digits)}.{decimals or 0}"), _CURRENCIES[coin], converter)
    if coin in rules.get("coins", ()) and len(decimals) <= 2:
        return minus + _coins(digits, decimals, rules["coins"][coin], code)
    words = minus + _number(match[0], digits, code)
    if decimals:
        words += f" {rules['point']} {spelled(decimals, converter)}"
    if match["after"] == "%":  # East Slavic nouns follow the number: decimals have that of two to four
        words = agreeing(rules["percent"], 2 if decimals else int(digits[-2:]), code).format(words)
    said = " ".join(filter(None, [match["before"], words, coin if match["after"] == coin != "%" else ""]))
    return said.replace(" ", "") if code == "ja" else said


def _number(written: str, digits: str, code: str) -> str:
    """Read an integer, a year, or a number to dial."""
    rules = languages()[code]
    converter = rules.get("converter", code)
    is_bare = written == digits
    if is_bare and len(digits) >= _LONG_DIGITS and code not in UNSPACED:
        return spelled(digits, converter)
    return _year(digits, code) if is_bare else whole(digits, converter)


def _year(digits: str, code: str) -> str:
    rules = languages()[code]
    in_hundreds = rules.get("years_in_hundreds") and len(digits) == 4 and int(digits) in _YEARS and code not in INDIC
    converter = rules.get("converter", code)
    return converted(int(digits), converter, "year") if in_hundreds else whole(digits, converter)


def _date(written: str, code: str) -> str | None:
    """Read a date, the day before the month; None if it is not one, or the months are not known."""
    rules = languages()[code].get("date")
    first, second, third = re.findall(r"\d+", written)
    year, month, day = (first, second, third) if len(first) == 4 else (third, second, first)
    if int(month) > 12 >= int(day):
        month, day = day, month
    if rules is None or not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return None
    said = _ordinal(int(day), code) if rules.get("ordinals") else converted(int(day), code)
    frame: str = rules["frame"]
    return frame.format(said, rules["months"].split()[int(month) - 1], _year(year, code))


def _ordinal(value: int, code: str) -> str | None:
    known: str | None = languages()[code].get("ordinals", {}).get(str(value))
    # The library's Danish and Norwegian above the last day of a month are not all words.
    return None if not value or (value > 31 and code in ("da", "no")) else known or converted(value, code, "ordinal")


def _coins(digits: str, decimals: str, forms: list[str], code: str) -> str:
    amounts = zip((digits, decimals.ljust(2, "0")), forms, strict=True)
    said = [
        agreeing(form, int(amount), code).format(whole(str(int(amount)), code))
        for amount, form in amounts
        if int(amount)
    ]
    return " ".join(said) or forms[0].split("/")[-1].format(converted(0, code))
