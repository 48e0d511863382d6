"""What English readers make of figures, signs and abbreviations. The order of RULES matters: the special first.

Dates with slashes are read the American way, month first. A number of four digits from 1100 to 2099 that stands
alone is a year. Seven digits and more without a separator, telephone numbers, and what follows `code`, `PIN` and
the like are read digit by digit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from f5_worker.text.numbers import CURRENCIES, Reader, pattern

Match = re.Match[str]
Read = Callable[[Match, Reader], str | None]

_N = pattern("en")
_OPEN = r"(?<![\w.,/])"  # nothing that the number is a part of
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August"),
    *("September", "October", "November", "December"),
)
_MONTH_OF: Mapping[str, str] = {name[:3].lower(): name for name in _MONTHS}
_MONTH = r"(?P<month>Jan(?:uary|\.)?|Feb(?:ruary|\.)?|Mar(?:ch|\.)?|Apr(?:il|\.)?|May|June?|July?|Aug(?:ust|\.)?|" + (
    r"Sept?(?:ember|\.)?|Oct(?:ober|\.)?|Nov(?:ember|\.)?|Dec(?:ember|\.)?)"
)
_DAY = r"(?P<day>[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>1[1-9]\d\d|20\d\d)"
_SCALE = r"thousand|million|billion|trillion"
_SHORT_SCALE: Mapping[str, str] = {"k": "thousand", "m": "million", "bn": "billion", "b": "billion"}
_UNITS: Mapping[str, tuple[str, str]] = {
    "km/h": ("kilometre per hour", "kilometres per hour"),
    "km": ("kilometre", "kilometres"),
    "cm": ("centimetre", "centimetres"),
    "mm": ("millimetre", "millimetres"),
    "m": ("metre", "metres"),
    "kg": ("kilogram", "kilograms"),
    "mg": ("milligram", "milligrams"),
    "g": ("gram", "grams"),
    "lbs": ("pound", "pounds"),
    "lb": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "ft": ("foot", "feet"),
    "mph": ("mile per hour", "miles per hour"),
    "ml": ("millilitre", "millilitres"),
    "TB": ("terabyte", "terabytes"),
    "GB": ("gigabyte", "gigabytes"),
    "MB": ("megabyte", "megabytes"),
    "kB": ("kilobyte", "kilobytes"),
    "KB": ("kilobyte", "kilobytes"),
    "GHz": ("gigahertz", "gigahertz"),
    "MHz": ("megahertz", "megahertz"),
    "kHz": ("kilohertz", "kilohertz"),
    "Hz": ("hertz", "hertz"),
    "ms": ("millisecond", "milliseconds"),
    "min": ("minute", "minutes"),
    "hrs": ("hour", "hours"),
    "kW": ("kilowatt", "kilowatts"),
    "s": ("second", "seconds"),
    "h": ("hour", "hours"),
}
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_PARTS: Mapping[int, tuple[str, str]] = {
    2: ("half", "halves"),
    3: ("third", "thirds"),
    4: ("quarter", "quarters"),
    5: ("fifth", "fifths"),
    6: ("sixth", "sixths"),
    8: ("eighth", "eighths"),
    10: ("tenth", "tenths"),
}
_ROMAN: Mapping[str, int] = {"I": 1, "V": 5, "X": 10, "L": 50}
_RULERS = (
    "Henry|Louis|Charles|George|Edward|Elizabeth|James|William|Richard|John|Paul|Pius|Benedict|Philip|Frederick|"
    "Napoleon|Catherine|Ivan|Nicholas|Leo|Gregory"
)
_SYMBOLS: Mapping[str, str] = {".": "dot", "/": "slash", "-": "dash", "_": "underscore", "@": "at", "+": "plus"}


def _number(written: str, reader: Reader) -> str | None:
    minus = written.startswith("-")
    said = reader.number(written.lstrip("-"))
    return f"minus {said}" if minus and said else said


def _spelled(written: str) -> str:
    return " ".join(_DIGITS[int(char)] for char in written if char.isdecimal())


def _grouped(match: Match, reader: Reader) -> str | None:
    """Digit by digit, the groups set apart as a speaker sets them apart."""
    groups = [_spelled(group) for group in re.split(r"\D+", match[0]) if group]
    return ("plus " if match[0].startswith("+") else "") + ", ".join(groups)


def _address(match: Match, reader: Reader) -> str | None:
    """An address or an e-mail, sign by sign."""
    plain = match[0].removeprefix("https://").removeprefix("http://").rstrip("/")
    return " ".join(_word(part, reader) for part in re.findall(r"[^\W\d_]+|\d+|[^\w\s]|_", plain))


def _word(part: str, reader: Reader) -> str:
    if part.isdecimal():
        return (reader.number(part) if len(part) < 5 else None) or _spelled(part)
    return _SYMBOLS.get(part, part)


def _points(match: Match, reader: Reader) -> str | None:
    """Versions and the like: 2.8.3."""
    return " point ".join(reader.number(part) or part for part in match[0].split("."))


def _year(written: str, reader: Reader) -> str | None:
    said = reader.say(int(written), to="year")
    return said.replace(" and ", " ") if said else None


def _date(match: Match, reader: Reader) -> str | None:
    parts = match.groupdict()
    month, day, year = parts["month"], int(parts["day"]), parts.get("year")
    name = _MONTHS[int(month) - 1] if month.isdecimal() else _MONTH_OF[month[:3].lower()]
    said = f"{name} {reader.say(day, to='ordinal')}"
    return f"{said}, {_year(year, reader)}" if year else said


def _time(match: Match, reader: Reader) -> str | None:
    hour, minute, half = int(match["hour"]), match.groupdict().get("minute"), match["half"]
    said = str(reader.say(hour))
    if minute and minute != "00":
        said += f" {'oh ' if minute[0] == '0' else ''}{reader.say(int(minute))}"
    elif not half:
        said += " o'clock" if 1 <= hour <= 12 else " hundred hours" if hour else " hours"
    if half:
        said += f" {half.lower()} m"
    ends = half and match[0].endswith(".") and _sentence_ends(match)
    return said + "." if ends else said


def _sentence_ends(match: Match) -> bool:
    """Whether a full stop behind an abbreviation is a sentence's as well."""
    return re.match(r"\s*(?:$|\s[\"'(]?[A-Z])", match.string[match.end() :][:8]) is not None


def _code(match: Match, reader: Reader) -> str | None:
    return _spelled(match[0])


def _money(match: Match, reader: Reader) -> str | None:
    currency = CURRENCIES[match["sign"]]
    scale = match.groupdict().get("scale")
    if scale:
        unit = {"USD": "dollars", "EUR": "euros", "GBP": "pounds", "JPY": "yen"}[currency]
        return f"{reader.number(match['n'])} {_SHORT_SCALE.get(scale.lower(), scale)} {unit}"
    said = reader.money(match["n"], currency)
    return said if said is None or said.startswith("one euro") else said.replace(" euro", " euros")


def _temperature(match: Match, reader: Reader) -> str | None:
    scale = {"C": " Celsius", "F": " Fahrenheit", "": ""}[match["scale"] or ""]
    return f"{_number(match['n'], reader)} degrees{scale}"


def _unit(match: Match, reader: Reader) -> str | None:
    one, many = _UNITS[match["unit"]]
    return f"{_number(match['n'], reader)} {one if match['n'] == '1' else many}"


def _ordinal(match: Match, reader: Reader) -> str | None:
    return reader.say(int(match["n"]), to="ordinal")


def _decade(match: Match, reader: Reader) -> str | None:
    said = _year(match["n"], reader)
    return None if said is None else said[:-1] + "ies" if said.endswith("y") else said + "s"


def _fraction(match: Match, reader: Reader) -> str | None:
    upper, lower = int(match["n"]), int(match["d"])
    if lower in _PARTS and 0 < upper < lower:
        return f"{reader.say(upper)} {_PARTS[lower][upper > 1]}"
    return f"{reader.say(upper)} {reader.say(lower)}"


def _range(match: Match, reader: Reader) -> str | None:
    low, high = match["a"], match["b"]
    if re.fullmatch(_YEAR, low) and re.fullmatch(r"1[1-9]\d\d|20\d\d", high):
        return f"{_year(low, reader)} to {_year(high, reader)}"
    return f"{_number(low, reader)} to {_number(high, reader)}"


def _roman(match: Match, reader: Reader) -> str | None:
    values = [_ROMAN[char] for char in match["n"]]
    following = [*values[1:], 0]
    total = sum(-value if value < after else value for value, after in zip(values, following, strict=True))
    parts = match.groupdict()
    if ruler := parts.get("ruler"):
        return f"{ruler} the {reader.say(total, to='ordinal')}"
    return f"{parts['head']} {reader.say(total)}"


def _abbreviation(said: str) -> Read:
    """The words; a full stop that ends the sentence as well stays."""
    return lambda match, reader: said + ("." if match[0].endswith(".") and _sentence_ends(match) else "")


def _rule(expression: str, read: Read, flags: int = 0) -> tuple[re.Pattern[str], Read]:
    return re.compile(expression, flags), read


_HOUR = r"(?P<hour>1\d|2[0-3]|0?\d)"
_HALF = r"(?P<half>[ap])(?:\.m\.|m\b)"
_TITLE = r"(?=\s[A-Z])"

RULES: tuple[tuple[re.Pattern[str], Read], ...] = (
    _rule(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}\b", _address),
    _rule(r"\bhttps?://[\w.-]{1,200}(?:/[\w./-]{0,200})?(?<![.-])", _address),
    _rule(
        r"(?<![\w.-])(?:[\w-]{1,63}\.){1,4}(?:com|org|net|io|ai|dev|edu|gov|info)\b(?:/[\w./-]{0,200})?(?<![.-])",
        _address,
    ),
    _rule(rf"{_OPEN}\d{{1,4}}(?:\.\d{{1,4}}){{2,4}}(?![\w])(?!\.\d)", _points),
    _rule(rf"{_OPEN}{_YEAR}-(?P<month>1[0-2]|0[1-9])-(?P<day>[12]\d|3[01]|0[1-9])(?!\d)", _date),
    _rule(rf"{_OPEN}(?P<month>1[0-2]|0?[1-9])/(?P<day>[12]\d|3[01]|0?[1-9])/{_YEAR}(?![\d/])", _date),
    _rule(rf"\b{_MONTH} {_DAY}(?!\w)(?:,? {_YEAR}(?!\w))?", _date),
    _rule(rf"\b{_DAY} {_MONTH}(?!\w)(?:,? {_YEAR}(?!\w))?", _date),
    _rule(rf"{_OPEN}{_HOUR}:(?P<minute>[0-5]\d)(?!\d)(?!:\d)(?:\s?{_HALF})", _time, re.IGNORECASE),
    _rule(rf"{_OPEN}{_HOUR}:(?P<minute>[0-5]\d)(?P<half>)(?!\w)(?!:\d)", _time),
    _rule(rf"{_OPEN}{_HOUR}\s?{_HALF}", _time, re.IGNORECASE),
    _rule(r"(?<![\w.])\+\d{1,3}(?:[ -]\(?\d{1,4}\)?){2,5}(?!\w)", _grouped),
    _rule(r"(?<![\w.])\(?\d{3}\)?[ -]\d{3}[ -]\d{4}(?!\w)", _grouped),
    _rule(r"(?<![\w.-])\d{3}-\d{4}(?![\w-])", _grouped),
    _rule(r"(?<=\bcode )\d{2,12}(?!\w)|(?<=\bOTP )\d{2,12}(?!\w)|(?<=\bPIN )\d{2,12}(?!\w)", _code),
    _rule(r"(?<=\bcode is )\d{2,12}(?!\w)|(?<=\bPIN is )\d{2,12}(?!\w)|(?<=\bOTP is )\d{2,12}(?!\w)", _code),
    _rule(r"(?<=\bcode: )\d{2,12}(?!\w)|(?<=\bPIN: )\d{2,12}(?!\w)|(?<=\bOTP: )\d{2,12}(?!\w)", _code),
    _rule(rf"(?P<sign>[$€£¥])\s?(?P<n>{_N})(?:\s(?P<scale>{_SCALE})\b)", _money),
    _rule(rf"(?P<sign>[$€£¥])\s?(?P<n>{_N})(?P<scale>k|m|bn|b)\b", _money, re.IGNORECASE),
    _rule(rf"(?P<sign>[$€£¥])\s?(?P<n>{_N})(?!\w)", _money),
    _rule(rf"{_OPEN}(?P<n>{_N})\s?(?P<sign>[$€£¥])", _money),
    _rule(rf"{_OPEN}(?P<n>-?{_N})\s?%", lambda m, r: f"{_number(m['n'], r)} percent"),
    _rule(rf"{_OPEN}(?P<n>-?{_N})\s?°\s?(?P<scale>[CF]?)(?!\w)", _temperature),
    _rule(r"(?<!\w)(?P<n>1[1-9]\d0|20\d0)s\b", _decade),
    _rule(rf"{_OPEN}(?P<n>-?{_N})\s?(?P<unit>{_UNIT})(?![\w'/])", _unit),
    _rule(r"(?<![\w.,])(?P<n>\d{1,9})(?:st|nd|rd|th)\b", _ordinal),
    _rule(rf"{_OPEN}(?P<n>\d{{1,3}})/(?P<d>\d{{1,3}})(?![\w/])", _fraction),
    _rule(rf"{_OPEN}(?P<a>{_N})\s?-\s?(?P<b>{_N})(?![\w%-])", _range),
    _rule(rf"(?<!\w)#(?P<n>{_N})(?!\w)", lambda m, r: f"number {_number(m['n'], r)}"),
    _rule(r"(?<![\w.])\d{7,40}(?!\w)(?!\.\d)", _grouped),
    _rule(r"(?<![\w.,$€£-])(?P<n>1[1-9]\d\d|20\d\d)(?!\w|[.,]\d)", lambda m, r: _year(m["n"], r)),
    _rule(r"(?<![\w.,-])0\d{1,8}(?!\w|[.,]\d)", _code),
    _rule(rf"(?<![\w.-])(?P<n>-{_N})(?!\w)", lambda m, r: _number(m["n"], r)),
    _rule(r"(?<![\w.])\.(?P<n>\d{1,9})(?!\w|\.\d)", lambda m, r: f"point {_spelled(m['n'])}"),
    _rule(rf"(?<!\w)(?P<n>{_N})(?!\w)", lambda m, r: _number(m["n"], r)),
    _rule(r"\b(?P<head>Chapter|Part|Volume|Book|Act|World War) (?P<n>[IVXL]{1,6})\b", _roman),
    _rule(rf"\b(?P<ruler>{_RULERS}) (?P<n>[IVX]{{1,5}})\b", _roman),
    _rule(r"\bMr\.(?=\s)", lambda m, r: "Mister"),
    _rule(r"\bMrs\.(?=\s)", lambda m, r: "Missus"),
    _rule(rf"\bDr\.{_TITLE}", lambda m, r: "Doctor"),
    _rule(rf"\bProf\.{_TITLE}", lambda m, r: "Professor"),
    _rule(rf"\bSt\.{_TITLE}", lambda m, r: "Saint"),
    _rule(r"\bvs\.?(?=\s)", lambda m, r: "versus"),
    _rule(r"\be\.g\.", lambda m, r: "for example"),
    _rule(r"\bi\.e\.", lambda m, r: "that is"),
    _rule(r"\betc\.", _abbreviation("et cetera")),
    _rule(r"\bapprox\.", lambda m, r: "approximately"),
    _rule(r"\bNo\.(?=\s?\d)", lambda m, r: "number"),
    _rule(r"(?<=\s)&(?=\s)", lambda m, r: "and"),
)
