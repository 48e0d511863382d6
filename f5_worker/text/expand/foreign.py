"""Numbers of languages other than English: integers, decimals, percentages and amounts of money.

Of a date or a time each number is read by itself; ordinals and numbers with letters (1er, 5km) stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from f5_worker.text.expand.numbers import MAX_DIGITS, Reading, cardinal, money, spelled, whole, year_in

_LONG_DIGITS = 7  # this long and without separators it is not an amount, but a number to dial or to type
_YEARS = range(1100, 2000)
_CURRENCIES = {"€": "EUR", "$": "USD", "£": "GBP"}


class LanguageRules(NamedTuple):
    """How a language writes and says numbers. The words are here, since num2words lacks or mistakes some.

    decimal: the sign before decimals.
    thousands: what may separate groups of three digits.
    percent: with {} for the number.
    currencies: those that num2words names in this language.
    converter: the library's own code where it differs.
    in_hundreds: years are nineteen hundred, not a thousand nine hundred.
    """

    decimal: str
    thousands: str
    minus: str
    point: str
    percent: str
    currencies: str = ""
    converter: str = ""
    in_hundreds: bool = False


# Without Amharic, where num2words 0.5.14 fails or hangs above a hundred, Kannada and Telugu, where it ends at 10^10,
# and Chinese, Japanese and Korean, whose numbers are written between characters without a space.
LANGUAGES = {
    "ar": LanguageRules(".", ",", "سالب", "فاصلة", "{} بالمئة"),
    "az": LanguageRules(",", ".", "mənfi", "vergül", "{} faiz"),
    "be": LanguageRules(",", " ", "мінус", "коска", "{} працэнтаў", "EUR USD"),
    "bn": LanguageRules(".", ",", "ঋণাত্মক", "দশমিক", "{} শতাংশ"),
    "ca": LanguageRules(",", ".", "menys", "coma", "{} per cent", "EUR USD GBP"),
    "ce": LanguageRules(",", " ", "минус", "запятая", "{} процент"),
    "cs": LanguageRules(",", " ", "mínus", "celá", "{} procent"),
    "cy": LanguageRules(".", ",", "minws", "pwynt", "{} y cant", "EUR USD GBP"),
    "da": LanguageRules(",", ".", "minus", "komma", "{} procent", in_hundreds=True),
    "de": LanguageRules(",", ".", "minus", "Komma", "{} Prozent", "EUR USD GBP", in_hundreds=True),
    "eo": LanguageRules(",", " ", "minus", "komo", "{} procentoj", "EUR USD GBP"),
    "es": LanguageRules(",", ".", "menos", "coma", "{} por ciento", "EUR USD GBP"),
    "fa": LanguageRules(".", ",", "منفی", "ممیز", "{} درصد"),
    "fi": LanguageRules(",", " ", "miinus", "pilkku", "{} prosenttia", "EUR USD GBP"),
    "fr": LanguageRules(",", " ", "moins", "virgule", "{} pour cent", "EUR USD"),
    "he": LanguageRules(".", ",", "מינוס", "נקודה", "{} אחוז", "EUR USD"),
    "hu": LanguageRules(",", " ", "mínusz", "egész", "{} százalék"),
    "id": LanguageRules(",", ".", "minus", "koma", "{} persen"),
    "is": LanguageRules(",", ".", "mínus", "komma", "{} prósent"),
    "it": LanguageRules(",", ".", "meno", "virgola", "{} per cento", "EUR USD GBP"),
    "kk": LanguageRules(",", " ", "минус", "бүтін", "{} пайыз", "USD", "kz"),
    "lt": LanguageRules(",", " ", "minus", "kablelis", "{} procentų", "EUR USD GBP"),
    "lv": LanguageRules(",", " ", "mīnus", "komats", "{} procenti", "EUR USD"),
    "nl": LanguageRules(",", ".", "min", "komma", "{} procent", "EUR USD GBP", in_hundreds=True),
    "no": LanguageRules(",", " ", "minus", "komma", "{} prosent", in_hundreds=True),
    "pl": LanguageRules(",", " ", "minus", "przecinek", "{} procent", "EUR USD"),
    "pt": LanguageRules(",", ".", "menos", "vírgula", "{} por cento", "EUR USD"),
    "ro": LanguageRules(",", ".", "minus", "virgulă", "{} la sută"),
    "ru": LanguageRules(",", " ", "минус", "запятая", "{} процент/процента/процентов", "EUR USD"),
    "sk": LanguageRules(",", " ", "mínus", "celých", "{} percent", "EUR"),
    "sl": LanguageRules(",", ".", "minus", "celih", "{} odstotkov"),
    "sr": LanguageRules(",", ".", "minus", "zapeta", "{} posto", "EUR"),
    "sv": LanguageRules(",", " ", "minus", "komma", "{} procent"),
    "tet": LanguageRules(",", ".", "menus", "vírgula", "{} porsentu"),
    "tg": LanguageRules(",", " ", "минус", "вергул", "{} фоиз", "EUR USD"),
    "th": LanguageRules(".", ",", "ลบ", "จุด", "{} เปอร์เซ็นต์"),
    "tr": LanguageRules(",", ".", "eksi", "virgül", "yüzde {}"),
    "uk": LanguageRules(",", " ", "мінус", "кома", "{} відсоток/відсотки/відсотків", "EUR USD GBP"),
    "vi": LanguageRules(",", ".", "âm", "phẩy", "{} phần trăm"),
}
_ALIASES = {"nb": "no", "nn": "no"}


def foreign(text: str, language: str) -> Iterator[Reading]:
    """Yield what is read otherwise than it is written, in order; nothing in a language without rules."""
    code = _ALIASES.get(language, language)
    if code in LANGUAGES:
        yield from ((*match.span(), _read(match, code)) for match in _pattern(code).finditer(text))


@lru_cache(maxsize=len(LANGUAGES))
def _pattern(code: str) -> re.Pattern[str]:
    rules = LANGUAGES[code]
    other = "," if rules.decimal == "." else "."
    number = rf"(?:\d{{1,3}}(?:{re.escape(rules.thousands)}\d{{3}}){{1,4}}(?!\d)|\d+)"
    # The other sign is taken for a decimal point too, unless three digits follow: 3.14 is written everywhere.
    decimals = rf"(?:(?:{re.escape(rules.decimal)}(?P<d>\d+)|{re.escape(other)}(?P<o>\d{{1,2}}))(?![.,]?\d))?"
    listed = r"(?P<listed>(?<=\d[.,]))?"  # of 1,2,3 none is a decimal
    sign = r"(?:(?<![^\s(\[\"'“‘«])(?P<sign>[-+]))?"
    before, after = r"(?:(?P<before>[€$£]) ?)?", r"(?: ?(?P<after>[%€$£])(?!\d))?"
    date = r"\d{1,2}(?P<joint>[./-])\d{1,2}(?P=joint)\d{2,4}|\d{4}-\d{2}-\d{2}"
    parts = rf"(?P<parts>{date}|\d{{1,2}}:[0-5]\d)(?![^\W_]|[.,:/-]\d)"
    # Small letters after the full stop tell an ordinal from the end of a sentence; in German, these nouns.
    nouns = "Jan|Feb|März|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez|Jahrhundert|Klasse|Stock|Platz|Geburtstag"
    end = rf"(?![^\W_]|\. (?:{nouns}|[a-zà-ÿа-яёіїєґ]))"
    return re.compile(
        rf"(?<![^\W_])(?:{parts}|{sign}{before}{listed}(?P<n>{number})(?(listed)|{decimals}){after}{end})"
    )


def _read(match: re.Match[str], code: str) -> str:
    rules, converter = LANGUAGES[code], LANGUAGES[code].converter or code
    if match["parts"]:
        return " ".join(cardinal(int(part), converter) for part in re.findall(r"\d+", match["parts"]))
    digits = "".join(char for char in match["n"] if char.isdecimal())
    decimals = match["d"] or match["o"] or ""
    minus = {"-": f"{rules.minus} ", "+": "plus "}.get(match["sign"] or "", "")
    coin = match["before"] or match["after"] or ""
    if _CURRENCIES.get(coin) in rules.currencies.split() and len(digits) <= MAX_DIGITS and len(decimals) <= 2:
        return minus + money(Decimal(f"{int(digits)}.{decimals or 0}"), _CURRENCIES[coin], converter)
    words = minus + _number(match, digits, converter, rules.in_hundreds)
    if decimals:
        words += f" {rules.point} {spelled(decimals, converter)}"
    if match["after"] == "%":
        words = _percent(rules.percent, digits, bool(decimals)).format(words)
    return " ".join(filter(None, [match["before"], words, coin if match["after"] == coin != "%" else ""]))


def _number(match: re.Match[str], digits: str, converter: str, in_hundreds: bool) -> str:
    """Read an integer, a year, or a number to dial."""
    is_bare = digits == match.group()
    if is_bare and len(digits) >= _LONG_DIGITS:
        return spelled(digits, converter)
    if is_bare and in_hundreds and len(digits) == 4 and int(digits) in _YEARS:
        return year_in(int(digits), converter)
    return whole(digits, converter)


def _percent(forms: str, digits: str, has_decimals: bool) -> str:
    """Return the percent phrase. East Slavic nouns follow the number: one, two to four and decimals, others."""
    frame, *others = forms.split("/")
    if not others:
        return frame
    few, many = others
    last, tens = int(digits[-1]), int(digits[-2:]) // 10
    if has_decimals:
        return "{} " + few
    if tens == 1 or last == 0 or last > 4:
        return "{} " + many
    return frame if last == 1 else "{} " + few
