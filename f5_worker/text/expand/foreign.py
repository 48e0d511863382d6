"""Numbers of languages other than English: integers, decimals, percentages, amounts of money, times and dates.

Of a date or a time in a language whose words for it are not known, each number is read by itself. Numbers with letters
(1er, 5km) stay, and so do ordinals of languages that have none in `ordinals`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from f5_worker.text.expand.clock import clock_pattern, time_of_day
from f5_worker.text.expand.dates import DATE, date
from f5_worker.text.expand.indic import COINS, HINDI_ORDINAL, INDIC, Coin, hindi_ordinal
from f5_worker.text.expand.numbers import MAX_DIGITS, Reading, agreeing, cardinal, money, spelled, whole, year_in
from f5_worker.text.expand.ordinals import ordinal_pattern, point_ordinal

_LONG_DIGITS = 7  # this long and without separators it is not an amount, but a number to dial or to type
_YEARS = range(1100, 2000)
_BEFORE_CHARS = 16  # before a time
_NEVER = r"(?!)"
_IN_LAKHS = (*INDIC, "bn")  # 12,34,567
_CURRENCIES = {"€": "EUR", "$": "USD", "£": "GBP"}


class LanguageRules(NamedTuple):
    """How a language writes and says numbers. The words are here, since num2words lacks or mistakes some.

    decimal: the sign before decimals.
    thousands: what may separate groups of three digits.
    percent: with {} for the number; forms for one, few and many.
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
    plus: str = "plus"


# Without Amharic, where num2words 0.5.14 fails or hangs above a hundred, Kannada, where it ends at 10^10, and
# Chinese, Japanese and Korean, whose numbers are written between characters without a space.
LANGUAGES = {
    "ar": LanguageRules(".", ",", "سالب", "فاصلة", "{} بالمئة"),
    "az": LanguageRules(",", ".", "mənfi", "vergül", "{} faiz"),
    "be": LanguageRules(",", " ", "мінус", "коска", "{} працэнтаў", "EUR USD", plus="плюс"),
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
    "gu": LanguageRules(".", ",", "માઈનસ", "દશાંશ", "{} ટકા", plus="પ્લસ"),
    "he": LanguageRules(".", ",", "מינוס", "נקודה", "{} אחוז", "EUR USD"),
    "hi": LanguageRules(".", ",", "माइनस", "दशमलव", "{} प्रतिशत", in_hundreds=True, plus="प्लस"),
    "hu": LanguageRules(",", " ", "mínusz", "egész", "{} százalék"),
    "id": LanguageRules(",", ".", "minus", "koma", "{} persen"),
    "is": LanguageRules(",", ".", "mínus", "komma", "{} prósent"),
    "it": LanguageRules(",", ".", "meno", "virgola", "{} per cento", "EUR USD GBP"),
    "kk": LanguageRules(",", " ", "минус", "бүтін", "{} пайыз", "USD", "kz"),
    "lt": LanguageRules(",", " ", "minus", "kablelis", "{} procentų", "EUR USD GBP"),
    "lv": LanguageRules(",", " ", "mīnus", "komats", "{} procenti", "EUR USD"),
    "ml": LanguageRules(".", ",", "മൈനസ്", "ദശാംശം", "{} ശതമാനം", plus="പ്ലസ്"),
    "mr": LanguageRules(".", ",", "उणे", "दशांश", "{} टक्के", plus="प्लस"),
    "nl": LanguageRules(",", ".", "min", "komma", "{} procent", "EUR USD GBP", in_hundreds=True),
    "no": LanguageRules(",", " ", "minus", "komma", "{} prosent", in_hundreds=True),
    "pl": LanguageRules(",", " ", "minus", "przecinek", "{} procent", "EUR USD"),
    "pt": LanguageRules(",", ".", "menos", "vírgula", "{} por cento", "EUR USD"),
    "ro": LanguageRules(",", ".", "minus", "virgulă", "{} la sută"),
    "ru": LanguageRules(",", " ", "минус", "запятая", "{} процент/{} процента/{} процентов", "EUR USD", plus="плюс"),
    "sk": LanguageRules(",", " ", "mínus", "celých", "{} percent", "EUR"),
    "sl": LanguageRules(",", ".", "minus", "celih", "{} odstotkov"),
    "sr": LanguageRules(",", ".", "minus", "zapeta", "{} posto", "EUR"),
    "sv": LanguageRules(",", " ", "minus", "komma", "{} procent"),
    "ta": LanguageRules(".", ",", "மைனஸ்", "புள்ளி", "{} சதவீதம்", plus="பிளஸ்"),
    "te": LanguageRules(".", ",", "మైనస్", "దశాంశం", "{} శాతం", plus="ప్లస్"),
    "tet": LanguageRules(",", ".", "menus", "vírgula", "{} porsentu"),
    "tg": LanguageRules(",", " ", "минус", "вергул", "{} фоиз", "EUR USD"),
    "th": LanguageRules(".", ",", "ลบ", "จุด", "{} เปอร์เซ็นต์"),
    "tr": LanguageRules(",", ".", "eksi", "virgül", "yüzde {}"),
    "uk": LanguageRules(",", " ", "мінус", "кома", "{} відсоток/{} відсотки/{} відсотків", "EUR USD GBP", plus="плюс"),
    "vi": LanguageRules(",", ".", "âm", "phẩy", "{} phần trăm"),
}
_ALIASES = {"nb": "no", "nn": "no"}


def foreign(text: str, language: str) -> Iterator[Reading]:
    """Yield what is read otherwise than it is written, in order; nothing in a language without rules."""
    code = _ALIASES.get(language, language)
    if code not in LANGUAGES:
        return
    for match in _pattern(code).finditer(text):
        reading = _read_ordinal(match, code) if match["ordinal"] else (*match.span(), _read(match, code))
        if reading:
            yield reading


@lru_cache(maxsize=len(LANGUAGES))
def _pattern(code: str) -> re.Pattern[str]:
    rules = LANGUAGES[code]
    other = "," if rules.decimal == "." else "."
    in_lakhs = r"(?:,\d{2}){0,6}" if code in _IN_LAKHS else ""
    number = rf"(?:\d{{1,3}}{in_lakhs}(?:{re.escape(rules.thousands)}\d{{3}}){{1,4}}(?!\d)|\d+)"
    # The other sign is taken for a decimal point too, unless three digits follow: 3.14 is written everywhere.
    decimals = rf"(?:(?:{re.escape(rules.decimal)}(?P<d>\d+)|{re.escape(other)}(?P<o>\d{{1,2}}))(?![.,]?\d))?"
    listed = r"(?P<listed>(?<=\d[.,]))?"  # of 1,2,3 none is a decimal
    sign = r"(?:(?<![^\s(\[\"'“‘«])(?P<sign>[-+]))?"
    coins = "€$£₹" if code in INDIC else "€$£"
    before, after = rf"(?:(?P<before>[{coins}]) ?)?", rf"(?: ?(?P<after>[%{coins}])(?!\d))?"
    clock = rf"(?P<clock>{clock_pattern(code) or _NEVER})(?P<until>-(?=\d))?"
    parts = rf"(?P<parts>(?P<date>{DATE})|\d{{1,2}}:[0-5]\d)(?![^\W_]|[.,:/-]\d)"
    ordinal = rf"(?P<ordinal>{HINDI_ORDINAL if code == 'hi' else ordinal_pattern(code) or _NEVER})"
    # Small letters after the full stop tell an ordinal, which is not read in every language, from a sentence's end.
    end = r"(?![^\W_]|\. [a-zà-ÿа-яёіїєґ])"
    return re.compile(
        rf"(?<![^\W_])(?:{clock}|{parts}|{ordinal}|"
        rf"{sign}{before}{listed}(?P<n>{number})(?(listed)|{decimals}){after}{end})"
    )


def _read_ordinal(match: re.Match[str], code: str) -> Reading | None:
    begin, end = match.span()
    if code == "hi":
        return begin, end, hindi_ordinal(match[0])
    ordinal = point_ordinal(match.string, begin, end, code)
    if ordinal:
        words, end = ordinal
        return begin, end, words
    return (begin, end - 1, whole(match[0][:-1], code)) if code == "de" else None


def _read(match: re.Match[str], code: str) -> str:
    rules, converter = LANGUAGES[code], LANGUAGES[code].converter or code
    if match["clock"]:
        before = match.string[max(0, match.start() - _BEFORE_CHARS) : match.start()]
        return time_of_day(match["clock"], before, code) + " -" * bool(match["until"])
    if match["parts"]:
        words = date(match, code, lambda year: _year(year, converter, rules.in_hundreds)) if match["date"] else None
        return words or " ".join(cardinal(int(part), converter) for part in re.findall(r"\d+", match["parts"]))
    digits = "".join(char for char in match["n"] if char.isdecimal())
    decimals = match["d"] or match["o"] or ""
    minus = {"-": f"{rules.minus} ", "+": f"{rules.plus} "}.get(match["sign"] or "", "")
    coin = match["before"] or match["after"] or ""
    if _CURRENCIES.get(coin) in rules.currencies.split() and len(digits) <= MAX_DIGITS and len(decimals) <= 2:
        return minus + money(Decimal(f"{int(digits)}.{decimals or 0}"), _CURRENCIES[coin], converter)
    if (code, coin) in COINS and len(decimals) <= 2:
        return minus + _indic_money(digits, decimals, COINS[code, coin], code)
    words = minus + _number(match, digits, converter, rules.in_hundreds)
    if decimals:
        words += f" {rules.point} {spelled(decimals, converter)}"
    if match["after"] == "%":
        words = _percent(code, digits, bool(decimals)).format(words)
    return " ".join(filter(None, [match["before"], words, coin if match["after"] == coin != "%" else ""]))


def _number(match: re.Match[str], digits: str, converter: str, in_hundreds: bool) -> str:
    """Read an integer, a year, or a number to dial."""
    is_bare = digits == match.group()
    if is_bare and len(digits) >= _LONG_DIGITS:
        return spelled(digits, converter)
    return _year(digits, converter, in_hundreds) if is_bare else whole(digits, converter)


def _year(digits: str, converter: str, in_hundreds: bool) -> str:
    is_in_hundreds = in_hundreds and len(digits) == 4 and int(digits) in _YEARS
    return year_in(int(digits), converter) if is_in_hundreds else whole(digits, converter)


def _indic_money(digits: str, decimals: str, coin: Coin, code: str) -> str:
    amounts = (digits, coin.whole), (decimals.ljust(2, "0"), coin.hundredth)
    said = [
        agreeing(forms, int(amount), code).format(whole(amount.lstrip("0") or "0", code))
        for amount, forms in amounts
        if int(amount)
    ]
    return " ".join(said) or coin.whole.split("/")[-1].format(cardinal(0, code))


def _percent(code: str, digits: str, has_decimals: bool) -> str:
    """Return the percent phrase. East Slavic nouns follow the number: decimals have that of two to four."""
    return agreeing(LANGUAGES[code].percent, 2 if has_decimals else int(digits[-2:]), code)
