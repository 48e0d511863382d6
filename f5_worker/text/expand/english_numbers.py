"""English numbers and signs: amounts, money, dates, times, telephone numbers and whatever else is written in digits."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

from f5_worker.text.expand import tables
from f5_worker.text.expand.english_words import NO_LETTER, Rule, Words, fraction, one_of, points, text_before
from f5_worker.text.expand.numbers import MAX_DIGITS, YEARS, cardinal, grouped, in_groups, ordinal, spelled, whole, year
from f5_worker.text.sentences import stop_ends_sentence

_NUMBER = r"(?:(?:\d{1,3}(?:,\d{3}){1,4}(?!,?\d)|\d+)(?:\.\d+)?|(?<![\w.])\.\d+)"
_SIGNED = r"(?:(?<![^\s(\[\"'“‘])(?P<sign>[-+]))?"
_END = r"(?![^\W_]|\.\d)"
_DASH = "[-–—]"
_HALF = r"(?:[aApP]\.[mM]\.|[aApP][mM](?![^\W_]))"
_MONTH = one_of([*tables.MONTHS, *tables.MONTH_ABBREVIATIONS])
_UNIT = (
    rf"(?:{one_of(tables.UNITS)}{NO_LETTER}(?:\.(?= [a-z]))?|%|°[CF]{NO_LETTER}|℃|℉|°|[²³]{NO_LETTER}|\+{NO_LETTER})"
)
_MEASURED = rf"(?P<unit>[ -]?{_UNIT})"
_SCALE = r"(?: (?P<long>thousand|million|billion|trillion)|(?P<short> ?(?:mn|bn|tn)|[kKmMbBT]))?"
_CURRENCY = rf"(?:[{''.join(tables.CURRENCY_SIGNS)}])"
_CODE = one_of(tables.CURRENCY_CODES)

_LONG_DIGITS = 7  # this long and without separators it is not an amount, but a number to dial or to type
_SCORE = 100  # 3-1, 9-5: read "to" although it does not rise
_FRACTION_BOTTOMS = {*range(2, 11), 12, 16, 20, 32, 64, 100}
_YEARS_AFTER_2000 = 70  # of two digits
_SPELLED_AFTER = re.compile(r"(?i:\b(?:code|otp|pin|ext|extension)(?:\.|:| is| number| no\.)?:? ?#?)$")
_MIN_CODE_DIGITS = 3
_AFTER_MONTH = re.compile(rf"\b{_MONTH}\.? $")
_AFTER_THE = re.compile(r"\b[Tt]he $")
_YEAR_EXPECTED = re.compile(rf"\b(?i:in|since|until|till|before|after|during|year|the|{_MONTH}),? $")
_COUNTED = re.compile(r" (?:[a-z]{2,30}[^\W\d_sui]s|people|men|women|children)(?!\w)")
_DECADE_EXPECTED = re.compile(r"(?:'|\b(?i:the|early|mid|late|his|her|their|my|our)[ -])$")


def _phone(match: re.Match[str]) -> str | None:
    runs = re.findall(r"\d+", match.group())
    if sum(map(len, runs)) < _LONG_DIGITS:
        return None
    plus = "plus " if match.group().startswith("+") else ""
    return plus + grouped(group for run in runs for group in (in_groups(run) if len(run) > 4 else [run]))


def _iso_date(match: re.Match[str]) -> str | None:
    return _date(int(match["y"]), int(match["m"]), int(match["d"]))


def _slash_date(match: re.Match[str]) -> str | None:
    """Read a date with the month first, as in the USA, unless that is not a month."""
    first, second, written = int(match["m"]), int(match["d"]), int(match["y"])
    month, day = (first, second) if first <= len(tables.MONTHS) else (second, first)
    if len(match["y"]) == 2:
        written += 2000 if written < _YEARS_AFTER_2000 else 1900
    return _date(written, month, day)


def _date(of_year: int, month: int, day: int) -> str | None:
    try:
        date(of_year, month, day)
    except ValueError:
        return None
    return f"{tables.MONTHS[month - 1]} {ordinal(day)}, {_bare(str(of_year))}"


def _clock(match: re.Match[str]) -> str | None:
    """Read a time of 24 hours, with or without seconds."""
    hour, minute, second = int(match["h"]), match["min"], match["s"]
    if hour > 23:
        return None
    if second:
        return f"{cardinal(hour)} {_sixtieths(minute)} {_sixtieths(second)}"
    if int(minute):
        return f"{cardinal(hour)} {_sixtieths(minute)}"
    return "midnight" if not hour else f"{cardinal(hour)} hundred" if hour > 12 else f"{cardinal(hour)} o'clock"


def _half_day(match: re.Match[str]) -> Words:
    """Read a time of 12 hours."""
    hour, minute = int(match["h"]), match["min"]
    if not 1 <= hour <= 12:
        return None
    words = f"{cardinal(hour)} {_sixtieths(minute)}" if minute and int(minute) else cardinal(hour)
    stop = match["half"].endswith(".") and stop_ends_sentence(match.string, match.end())
    half = f"{match['half'][0].upper()} M{'.' if stop else ''}"  # in small letters "a" would be the article
    return (words, half) if " " in match.group() else f"{words} {half}"


def _sixtieths(digits: str) -> str:
    return ("oh " if 0 < int(digits) < 10 else "") + cardinal(int(digits))


def _ratio(match: re.Match[str]) -> str:
    return f"{whole(match['a'])} to {whole(match['b'])}"


def _mixed_fraction(match: re.Match[str]) -> str | None:
    top, bottom = int(match["a"]), int(match["b"])
    if not 0 < top < bottom or bottom not in _FRACTION_BOTTOMS:
        return None
    return _and_part(match["whole"], top, bottom)


def _and_part(units: str, top: int, bottom: int) -> str:
    part = fraction(top, bottom)
    return f"{whole(units)} and {part.replace('one ', 'a ') if bottom in (2, 4) else part}"


def _fraction(match: re.Match[str]) -> str:
    """Read a fraction, a rating, or a pair (24/7, 50/50)."""
    top, bottom = int(match["a"]), int(match["b"])
    if 0 < top < bottom and bottom in _FRACTION_BOTTOMS and match["a"][0] != "0":
        return fraction(top, bottom)
    if top == bottom and 0 < top <= 10:
        return f"{cardinal(top)} out of {cardinal(bottom)}"
    return f"{whole(match['a'])} {whole(match['b'])}"


def _sign_fraction(match: re.Match[str]) -> str:
    return _and_part(match["whole"], *tables.FRACTIONS[match["part"]])


def _decade(match: re.Match[str]) -> str | None:
    digits = match["n"]
    if len(digits) == 2:
        return _plural(cardinal(int(digits))) if _DECADE_EXPECTED.search(text_before(match)) else None
    return _plural(_bare(digits))


def _plural(words: str) -> str:
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def _ordinal(match: re.Match[str]) -> str | None:
    digits = match["n"].replace(",", "")
    return ordinal(int(digits)) if len(digits) <= MAX_DIGITS else None


def _day_after_month(match: re.Match[str]) -> str | None:
    days = [int(day) for day in (match["d"], match["to"]) if day]
    if not _AFTER_MONTH.search(text_before(match)) or not all(1 <= day <= 31 for day in days):
        return None
    return " to ".join(map(ordinal, days))


def _day_before_month(match: re.Match[str]) -> str | None:
    if not 1 <= int(match["d"]) <= 31:
        return None
    the = "" if _AFTER_THE.search(text_before(match)) else "the "
    return f"{the}{ordinal(int(match['d']))}{'' if match['of'] else ' of'}"


def _code(match: re.Match[str]) -> str | None:
    expected = _SPELLED_AFTER.search(text_before(match))
    groups = re.findall(r"\d+", match.group())
    is_long = sum(map(len, groups)) >= _MIN_CODE_DIGITS
    return grouped(groups) if expected and (is_long or expected.group()[:3].lower() == "ext") else None


def _dimensions(match: re.Match[str]) -> str:
    return " by ".join(whole(number) for number in re.findall(r"\d+", match.group()))


def _range(match: re.Match[str]) -> Words:
    low, high = match["a"], match["b"]
    rises = _value(low) < _value(high)
    is_short_year = len(low) == 4 and len(high) == 2 and int(low) in YEARS and int(high) > int(low[2:])
    is_spaced = match["dash"] != match["dash"].strip()
    if rises or is_short_year:
        words = f"{_bare(low)} to {_bare(high)}"
    elif is_spaced:
        return None
    else:
        words = f"{_bare(low)} {'to ' if _value(low) < _SCORE else ''}{_bare(high)}"
    return _with_unit(match, words, is_one=False) if match["unit"] else words


def _value(written: str) -> float:
    return float(written.replace(",", ""))


def _money(match: re.Match[str]) -> str:
    groups = match.groupdict()
    currency = tables.CURRENCY_SIGNS.get(match["cur"]) or tables.CURRENCY_CODES[match["cur"].strip()]
    scale = tables.SCALES.get((match["long"] or match["short"] or "").strip(), "")
    amount = match["n"].replace(",", "")
    if groups.get("to"):
        return " ".join(filter(None, [_amount(amount), "to", _amount(match["to"]), scale, currency.many]))
    minus = {"-": "minus ", "+": "plus "}.get(groups.get("sign") or "", "")
    if scale:
        return f"{minus}{_amount(amount)} {scale} {currency.many}"
    return minus + _coins(amount, currency)


def _coins(amount: str, currency: tables.Currency) -> str:
    units, _, cents = amount.partition(".")
    if len(cents) != 2 or not currency.cent:
        return f"{_amount(amount)} {currency.one if amount == '1' else currency.many}"
    small = f"{cardinal(int(cents))} {currency.cent if int(cents) == 1 else currency.cents}"
    large = f"{_amount(units)} {currency.one if units == '1' else currency.many}"
    if not int(cents):
        return large
    return small if not units or not units.strip("0") else f"{large} and {small}"


def _quantity(match: re.Match[str]) -> Words:
    written, sign = match["n"], match["sign"]
    words = {"-": "minus ", "+": "plus "}.get(sign or "", "")
    if match["unit"]:
        return _with_unit(match, words + _amount(written), is_one=written == "1")
    if not sign and written.isdecimal() and len(written) >= _LONG_DIGITS:
        return grouped(in_groups(written))
    is_amount = sign or (_COUNTED.match(match.string, match.end()) and not _YEAR_EXPECTED.search(text_before(match)))
    return words + (_amount(written) if is_amount else _bare(written))


def _with_unit(match: re.Match[str], words: str, *, is_one: bool) -> Words:
    """Read a number and its unit: two words if there is a space between them; after a hyphen it is an adjective."""
    written = match["unit"]
    sign = written.lstrip(" -").rstrip(".")
    one, many = (tables.UNITS | tables.SIGNS_AFTER)[sign]
    name = one if is_one or written[0] == "-" else many
    return (words, name) if written[0] == " " else f"{words} {name}"


def _bare(written: str) -> str:
    """Read a number by itself: a year if it can be one."""
    is_year = len(written) == 4 and written.isdecimal() and int(written) in YEARS
    return year(int(written)) if is_year else _amount(written)


def _amount(written: str) -> str:
    digits, point, decimals = written.replace(",", "").partition(".")
    words = whole(digits) if digits else ""
    return f"{words} point {spelled(decimals)}".strip() if point else words


def _always(words: str) -> Callable[[re.Match[str]], str]:
    return lambda match: words


def _arithmetic(match: re.Match[str]) -> str:
    return tables.ARITHMETIC[match.group()]


def _versions(match: re.Match[str]) -> str:
    return points(match.group())


def _rules(*rules: tuple[str, Callable[[re.Match[str]], Words]]) -> tuple[Rule, ...]:
    return tuple(Rule(re.compile(pattern), read) for pattern, read in rules)


_NO_MORE = r"(?![^\W_]|[-.,:/]\d)"
_NTH = r"(?:st|nd|rd|th)"
_AMOUNT_SIGNED = rf"{_SIGNED}(?P<n>{_NUMBER})"
_PHONES = (
    r"\+\d{1,3}(?:[ .-]?(?:\(\d{2,4}\)|\d{2,4})){2,5}"
    r"|\(\d{3}\) ?\d{3}[-. ]\d{4}"
    r"|(?:1[-. ])?\d{3}([-. ])\d{3}\1\d{4}"
    r"|\d{3}-\d{2}-\d{4}"
    r"|\d{4}(?:[ -]\d{4}){2,3}"
    r"|0\d{2,4}(?:[ -]\d{3,4}){2}"
    r"|(?<=\b(?i:call|dial|ring) )\d{3}-\d{4}"
)
_COMMON_RULES = (
    (rf"(?:{_PHONES})(?![^\W_]|[-.]\d)", _phone),
    (
        rf"{_SIGNED}(?P<cur>{_CURRENCY}) ?(?P<n>{_NUMBER})(?:{_DASH}{_CURRENCY}?(?P<to>{_NUMBER}))?{_SCALE}{_END}",
        _money,
    ),
    (rf"{_AMOUNT_SIGNED}{_SCALE} ?(?P<cur>{_CURRENCY}(?!\d)|{_CODE}{NO_LETTER})", _money),
)
_QUANTITY = (rf"{_AMOUNT_SIGNED}(?:{_MEASURED}|{_END})", _quantity)

CODE_RULES = _rules((rf"(?P<cur>{_CODE}) ?(?P<n>{_NUMBER}){_SCALE}{_END}", _money))
NUMBER_RULES = _rules(
    *_COMMON_RULES,
    (rf"(?P<y>\d{{4}})-(?P<m>\d{{2}})-(?P<d>\d{{2}}){_NO_MORE}", _iso_date),
    (rf"(?P<m>\d{{1,2}})/(?P<d>\d{{1,2}})/(?P<y>\d{{4}}|\d{{2}}){_NO_MORE}", _slash_date),
    (rf"(?P<h>\d{{1,2}})(?::(?P<min>[0-5]\d))? ?(?P<half>{_HALF})", _half_day),
    (r"(?P<h>\d{1,2}):(?P<min>[0-5]\d)(?::(?P<s>[0-5]\d))?(?![^\W_]|[:.,]\d)", _clock),
    (r"(?P<a>\d{1,4}):(?P<b>\d{1,4})(?![^\W_]|[:.,]\d)", _ratio),
    (r"\d+(?:\.\d+){2,7}(?![^\W_])", _versions),
    (rf"(?P<whole>\d{{1,4}}) (?P<a>\d{{1,3}})/(?P<b>\d{{1,3}}){_NO_MORE}", _mixed_fraction),
    (rf"(?P<a>\d{{1,4}})/(?P<b>\d{{1,4}}){_NO_MORE}", _fraction),
    (rf"(?P<whole>\d{{1,9}}) ?(?P<part>{one_of(tables.FRACTIONS)}){NO_LETTER}", _sign_fraction),
    (rf"(?P<n>\d{{3}}0|\d0)['’]?s{NO_LETTER}", _decade),
    (rf"(?P<d>\d{{1,2}}){_NTH}?(?= (?P<of>of )?{_MONTH}(?!\w))", _day_before_month),
    (
        rf"(?P<d>\d{{1,2}}){_NTH}?(?:{_DASH}(?P<to>\d{{1,2}}){_NTH}?)?"
        rf"(?![^\W_]|[:/.]\d|,\d{{3}}(?!\d)|[ -]?{_UNIT})",
        _day_after_month,
    ),
    (rf"(?P<n>\d{{1,3}}(?:,\d{{3}}){{1,4}}|\d+){_NTH}{NO_LETTER}", _ordinal),
    (r"\d+(?:-\d+| \d{3,4}(?!\d)){0,5}(?![^\W_]|[.,%]\d)", _code),
    (rf"\d{{1,6}}(?:(?:[x×]| x )\d{{1,6}}){{1,3}}{NO_LETTER}", _dimensions),
    (rf"(?<!\d-)(?P<a>{_NUMBER})(?P<dash>{_DASH}| {_DASH} )(?P<b>{_NUMBER})(?:{_MEASURED}|{_NO_MORE})", _range),
    _QUANTITY,
)
SIGN_RULES = _rules(
    *_COMMON_RULES,
    _QUANTITY,
    (r"(?<![^\W_])[#№] ?(?=\d)", _always("number")),
    (r"(?<=[^\W_])&(?=[^\W_])|(?<=\s)&(?=\s)", _always("and")),
    (rf"(?<=\d){_DASH}(?=\d{{1,2}}(?::\d{{2}}| ?{_HALF}))", _always("to")),
    (r"(?<=[\d)] )[+=×÷](?= [-\d(])|(?<=\d)[+=×÷](?=\d)", _arithmetic),
)
