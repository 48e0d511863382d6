"""What the grammars read wrong for speech, rewritten to what they read right: `5M views` to `5 million views`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from f5_worker.text.expand.common import MONARCHS, ROMAN, Replacement, alternatives, arabic, common_rules, dialled
from f5_worker.text.expand.german import GERMAN_NUMBER, MONTH_OF, german_number
from f5_worker.text.expand.library import grammar
from f5_worker.text.expand.romance import ROMANCE
from f5_worker.text.expand.short_forms import short_forms
from f5_worker.text.expand.words import converted
from f5_worker.text.sentences import stop_ends_sentence

Rule = tuple[re.Pattern[str], Replacement]

_SCALES = {"k": "thousand", "m": "million", "b": "billion", "bn": "billion", "t": "trillion"}
_DECADES = "tens twenties thirties forties fifties sixties seventies eighties nineties".split()
_TITLES = (
    "Mr Mister Mrs Missus Ms Miz Dr Doctor Prof Professor Rev Reverend Gen General Capt Captain Lt Lieutenant "
    "Col Colonel Mt Mount Sgt Sergeant Sen Senator Gov Governor"
).split()
_BEFORE_NUMBERS = "no number nos numbers vol volume fig figure ch chapter p page pp pages ext extension".split()
_WORDS = "e.g. for~example i.e. that~is approx. approximately vs. versus vs versus etc. et~cetera".split()
_UNITS = (
    "GB gigabyte MB megabyte TB terabyte KB kilobyte kHz kilohertz ms millisecond h hour m metre mm millimetre "
    "g gram MW megawatt fps frame~per~second"
).split()
_STREETS = {"Dr": "Drive", "St": "Street", "Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road"}
_INVARIABLE = "kilohertz"
_PLURAL_COINS = {"$": "dollars", "£": "pounds", "€": "euros"}
_COINS = {"EUR": "€", "USD": "$", "GBP": "£"}
_COUNTED = "seconds? minutes? hours? days? weeks? months? years? people men women times more other".replace(" ", "|")
# Four digits before a plural are a count, 1986 friends, but not after or before such words: in 1986 settlers came.
_BEFORE_YEARS = frozenset(
    """about after and before by during early fall from in into late mid of or per since spring summer the than this
    till to until version winter year years a an his her its their our my your""".split()
)
_AFTER_YEARS = frozenset(
    """as does elections figures finals games has is its less models olympics plus primaries profits results sales this
    always was""".split()
)
_YEARS = range(1100, 2100)
_MONTHS = "January February March April May June July August September October November December".split()
_JAPANESE_COINS = {"$": "ドル", "¥": "円", "￥": "円", "€": "ユーロ", "£": "ポンド"}
_CHINESE_COINS = {"￥": "元", "¥": "元", "$": "美元", "€": "欧元"}
_HINDI_ORDINALS = {"1ले": "पहले", "2रे": "दूसरे", "3रे": "तीसरे", "4थे": "चौथे", "6ठे": "छठे"}


def _named(pairs: Sequence[str]) -> dict[str, str]:
    return {short: name.replace("~", " ") for short, name in zip(pairs[::2], pairs[1::2], strict=True)}


def _spaced(digits: str) -> str:
    return " ".join(char for char in digits if char.isdigit())


def _unit(match: re.Match[str]) -> str:
    name = _named(_UNITS)[match[2]]
    first, _, rest = name.partition(" ")
    plural = "" if match[1] == "1" or name in _INVARIABLE else "s"
    return f"{match[1]} {first}{plural}{' ' * bool(rest)}{rest}"


def _word(match: re.Match[str]) -> str:
    said = _cased(_named(_WORDS)[match[1].lower()], match[1])
    return said + "." * (match[1].endswith("c.") and stop_ends_sentence(match.string, match.end()))


def _count(match: re.Match[str]) -> str:
    before, number, after = match.groups()
    is_hundreds = number.endswith("00")  # fifteen hundred metres
    is_year = int(number) in _YEARS and (not before or not before.islower() or before.lower() in _BEFORE_YEARS)
    if is_hundreds or is_year or after in _AFTER_YEARS:
        return match[0]
    return f"{before} {int(number):,}" if before else f"{int(number):,}"


def _count_of(match: re.Match[str]) -> str:
    """Read 2^10 is 1024 as an amount: no year is so far away."""
    return match[0] if int(match[2]) in _YEARS else _count(match)


def _dated(match: re.Match[str]) -> str:
    return f"{match[1]}{_MONTHS[int(match[2]) - 1]} {int(match[3])}"


def _hashtag(match: re.Match[str]) -> str:
    return "hashtag " + re.sub(r"(?<=[a-z])(?=[A-Z\d])|(?<=\d)(?=[A-Z])|_", " ", match[1])


def _range(match: re.Match[str]) -> str:
    low, high = int(match[1]), int(match[2])
    is_range = high > low or (len(match[1]) <= 2 and len(match[2]) <= 2) or len(match[1]) == 4
    return f"{match[1]} to {match[2]}" if is_range else match[0]


def _japanese_time(match: re.Match[str]) -> str:
    hour, minute, second = (int(part or 0) for part in match.groups())
    return f"{hour}時" + f"{minute}分" * bool(minute or second) + f"{second}秒" * bool(second)


def _german_time(match: re.Match[str]) -> str:
    hour, minute, second = int(match[1]), int(match[2]), match[3] and int(match[3])
    if hour > 24 or minute > 59:
        return f"{hour} {minute}"
    if second:
        return f"{hour} Uhr {minute} und {second if second != 1 else 'eine'} Sekunde{'n' * (second != 1)}"
    return f"{hour} Uhr {minute}" if minute else f"{hour} Uhr"


def _chinese_amount(match: re.Match[str]) -> str:
    """Read a number with decimals by itself: with a currency, the grammar loses its thousands."""
    own = grammar("zh")
    sign, number = match[1] or match[3] or "", match[2] or match[4]
    read = own.read(number) if own else []
    return f"{read[0].said}{_CHINESE_COINS.get(match[3], '')}" if read else f"{sign}{number}"


# In this order; each is tried in every sentence of its language.
_TABLE: dict[str, Sequence[tuple[str, Replacement]]] = {
    "en": (
        # words
        (rf"\b({alternatives(_named(_TITLES))})\b\.?(?= (?:[A-Z]|& M|and M))", lambda m: _named(_TITLES)[m[1]]),
        (
            r"(?:(?<=[a-z] )|(?=\w+ \w+\.? (?:in|is|was|near|at|on|to|with)\b))"
            r"\b([A-Z][a-z]+|\d+(?:st|nd|rd|th)) (Dr|St|Ave|Blvd|Rd)\b\.?(?= [a-z]|[,;.]|$)",
            lambda m: f"{m[1]} {_STREETS[m[2]]}",
        ),
        (rf"(?<!\w)((?i:{alternatives(_named(_WORDS))}))(?=[\s,;:)]|$)", _word),
        (
            rf"\b(?!No\. ?\d+ (?:{_COUNTED})\b)(?i:({'|'.join(_BEFORE_NUMBERS[::2])}))\. ?(?=\d)",
            lambda m: _cased(_named(_BEFORE_NUMBERS)[m[1].lower()], m[1]) + " ",
        ),
        (
            rf"\b({MONARCHS}) ({ROMAN}(?!\w)|[IVX](?=[,;:!?]|\.(?! ?[a-z])|'s|$)|[VX](?= [a-z]))",
            lambda m: f"{m[1]} the {_ordinal(arabic(m[2]))}",
        ),
        (rf"(?<=[a-z] )(?<!\bI )({ROMAN})(?!\w)|(?<=PART )([IVXL]+)(?!\w)", lambda m: str(arabic(m[1] or m[2]))),
        (r"(?<=\d) ?/ ?(?=\d+(?:\.\d+)? ?=)", " divided by "),
        (r"(?<=\w )/(?= \w)", "slash"),
        (
            r"\b(Chapter|Part|Volume|Book|Act|Scene|Section|Phase|War|Bowl) ([IVX]|(?=L)[IVXL]+)\b",
            lambda m: f"{m[1]} {arabic(m[2])}",
        ),
        (r"\b(Apt|Apartment|Room|Gate|Seat|Unit|Flat|Suite|Row)(\.?) (\d+)([A-Z])\b", r"\1\2 \3 \4"),
        (r"(?<![\w.,])10(00?)s\b", lambda m: "thousands" if m[1] == "00" else "hundreds"),
        # numbers to dial or to type
        (r"\b((?:[Cc]all|[Dd]ial|[Pp]hone|[Tt]ext|[Rr]ing) )(\d{3,6})(?![\d-])", lambda m: m[1] + _spaced(m[2])),
        (
            r"(?i)\b((?:code|pin|otp|passcode|password)(?: is)?:? )([a-z]{0,4})(\d{3,8})\b",
            lambda m: f"{m[1]}{m[2]} {_spaced(m[3])}".replace("  ", " "),
        ),
        (r"(?<![\d-])\(?(\d{3})\)?[ .](\d{3})[ .-](\d{4})(?![\d-])", r"\1-\2-\3"),
        (r"(?<![\d-])(?!\d00-\d000)(\d{3})-(\d{4})(?![\d-])", lambda m: f"{_spaced(m[1])}, {_spaced(m[2])}"),
        (r"(?<!\d)((?:\d{4}[ -]){3})(\d{4})(?!\d)", lambda m: ", ".join(map(_spaced, f"{m[1]}{m[2]}".split()))),
        (r"(?<![\d.,])(?<!\d )(\d{1,3})((?: \d{3})* 000)(?= [a-z])", lambda m: m[0].replace(" ", ",")),
        (r"\b[1-9]\d{3,11}000\b(?<!\d{13})(?![,.:/-]\d)", lambda m: f"{int(m[0]):,}"),
        (r"(?<![\w.,$€£/:#-])[1-9]\d{4,8}(?= (?:[a-z]{2,}s|people|men|women|children)\b)", lambda m: f"{int(m[0]):,}"),
        (
            r"(?:\b([A-Za-z]+) )?(?<![\w.,$£€/:#'-])([1-9]\d{3})(?= ([a-z]{2,}s|people|men|women|children)\b)",
            _count,
        ),
        (r"(?<![\w-])\d{1,5}(?:-\d{1,7}){3,}(?![\w-])", lambda m: dialled(m[0], "en")),
        # arithmetic and signs
        (r"(?<=\d) ?- ?(?=\d+(?:\.\d+)? ?=)", " minus "),
        (r"(?<=\d) \* (?=\d)|(?<=\d)\*(?=[\d*]+ ?=)", " times "),
        (r"(?<=[\w)]) < (?=[\w(-])", " is less than "),
        (r"(?<=[\w)]) > (?=[\w(-])", " is greater than "),
        (r"(?<== )([^\W\d_]{2})²(?!\w)", r"\1 squared"),
        (r"(?<!\w)#([A-Za-z]\w*)", _hashtag),
        (r" ?× ?(?=\d)|(?<=\d)x(?=\d)(?! ?\d*x)", lambda m: " times " if "×" in m[0] else " by "),
        (r" ?÷ ?(?=\d)", " divided by "),
        (r"(?<=\d\.\d)x\b", " x"),
        (r"√ ?(?=\d)", "the square root of "),
        (r"#(?=\d)", "number "),
        (r"~ ?(?=\d)", "approximately "),
        (r"(?<=\w)&(?=\w)", " and "),
        (r"\bv(?=\d+\.\d)", "version "),
        (r"(?<![\d.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\d.])", r"\1 point \2 point \3"),
        (r"(?<![\d/])(\d+)/\1(?![\d/])", lambda m: f"{m[1]} out of 10" if m[1] == "10" else f"{m[1]} {m[1]}"),
        (r"(?<![\d/.])(24/7|9/11)(?![\d/])", lambda m: m[1].replace("/", " ")),
        (r"(?<![\d/.])(\d+)/10(?![\d/])", r"\1 out of 10"),
        # times, dates, decades
        (r"\b(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?Z?(?![\w:])", r"\1 at \2"),
        (r"(?<![\d/])((?:19|20)\d\d)/(\d\d)(?![\d/])", r"\1 \2"),
        (rf"\b({'|'.join(_MONTHS)}) (\d\d?)-(\d\d?)(?![\d-])", lambda m: f"{m[1]} {m[2]} to {_ordinal(int(m[3]))}"),
        (r"\b((?:[Oo]n|[Uu]ntil|[Ss]ince|[Dd]ue|[Dd]ated) )(0?[1-9]|1[0-2])/(0?[1-9]|[12]\d|3[01])(?![\d/])", _dated),
        (r"(?<![\d:])(\d{1,2}):(\d)(?![\d:])", r"\1 to \2"),
        (r"(?<![\d:])00:00(?![\d:])", "midnight"),
        (r"(?<![\d:])(1[3-9]|2[0-3]):00(?![\d:])", r"\1 hundred"),
        (r"(?<![\d:])(\d{1,2})-(\d{1,2}) ?([ap]m)\b", r"\1\3 to \2\3"),
        (r"(?<![\d/])(1[3-9]|2\d|3[01])/(\d{1,2})/(\d{2,4})(?![\d/])", r"\2/\1/\3"),
        (r"(?<=\d0)'(?=s\b)", ""),
        (r"\b((?:for|in|after|within|under|over|about|every|than|takes|took) \d+)s\b", r"\1 seconds"),
        (r"(?<![\d$£€.,])(20)?'?([1-9])0s\b", lambda m: ("twenty " if m[1] else "") + _DECADES[int(m[2]) - 1]),
        (r"(?<=\d)(st|nd|rd|th)-(?=[a-z])", r"\1 "),
        # money
        (r"(?<=\d)/(month|year|day|week|hour|minute|person)\b", r" per \1"),
        (r"(?<=\d)¢", " cents"),
        (r"€ ?(\d+),(\d\d)(?!\d)", r"€\1.\2"),
        (r"(?<![\w.])-(?=[$£€]\d)", "minus "),
        (r"([$£€])(\d[\d,.]*)-(?=\d)", r"\1\2-\1"),
        (r"(\d[\d,.]*)(?: (EUR|USD|GBP)\b| ?([€£$])(?!\d))", lambda m: f"{m[3] or _COINS[m[2]]}{m[1]}"),
        (r"\b(EUR|USD|GBP) ?(?=\d)", lambda m: _COINS[m[1]]),
        (r"([$£€])(\d+(?:\.\d+)?)[kK]\b", lambda m: f"{m[2]} thousand {_PLURAL_COINS[m[1]]}"),
        # amounts
        (r"(?<![\w.])(\d)['’](\d{1,2})(?:[\"”]|'')", r"\1 foot \2"),
        (r"(?<=\d)( ?(?:ft|foot|feet)\.? \d{1,2}) ?in\b", r"\1 inches"),
        (r"(?<=\d)x(?= (?:[a-z]+er|more|less)\b)", " times"),
        (r"\b([248])K(?= (?:video|tv|TV|monitor|screen|resolution|display|footage|camera|stream))", r"\1 K"),
        (r"(?<=\d)m (?=(?!tall|long|wide|high|deep|away|from|of|to|and|or|in|on|at|by|x )[a-z]{4,})", " million "),
        (r"(?<![\w.,$£€])(\d+(?:\.\d+)?)(M|B|bn)\b", lambda m: f"{m[1]} {_SCALES[m[2].lower()]}"),
        (r"(?<![\w.,$£€])(\d{2,}|\d+\.\d+|\d(?=[kK] [a-z]{5,}))[kK]\b", r"\1 thousand"),
        (r"(?<=\d)(?:-| )?(km|kg|min|sec|hr|hrs)\.(?= [a-z])", r" \1"),
        (r"(?<=\d)-(km|kg|m)(?= [a-z])", lambda m: " " + {"km": "kilometer", "kg": "kilogram", "m": "meter"}[m[1]]),
        (r"(?<=\d) ?km/h\b", " kilometers per hour"),
        (r"(?<![\w.,$£€])(\d+) s\b|(?<![\w.,$£€])(\d*[1-9])s\b", lambda m: f"{m[1] or m[2]} seconds"),
        (rf"(?<![\w.,$£€])(\d+(?:[.,]\d+)*) ?({alternatives(_named(_UNITS))})(?![\w/²³])", _unit),
        (r"(?<![\w.,/$£€-])(\d{1,4})\s?[-–]\s?(\d{1,4})(?![\w/-]|[.,:]\d| ?=)", _range),
        (r"(?<![-–]\d)(?<=\d) ?= ?(?=[-√\d])|(?<=\w) = (?=[\w√-])", " equals "),
        (r"\b(is|are|equals|has|only|exactly) ([1-9]\d{3})(?![\w/:-]|[.,]\d)()", _count_of),
    ),
    "de": (
        (r"(?<=[a-zäöüß])str\.(?= ?\d| [a-zäöü])", "straße"),
        (r"(?<![\w.,])(\d0)er\b", lambda m: f"{converted(int(m[1]), 'de')}er"),
        (r"(?<![\d.,:/€$£-])1[1-9]\d\d(?![\d:/-]|[.,]\d)", lambda m: converted(int(m[0]), "de", "year")),
        (r"(?<=\d\.)\s?-\s?(?=\d{1,3}\. )|(?<=\d\d)-(?=\d{1,2}[:.]\d\d\b)", " bis "),
        (rf"(?<=\d\. )(?i:({'|'.join(MONTH_OF)}))\.(?= \d| [a-zäöü])", lambda m: MONTH_OF[m[1].title()]),
        (r"(?<![\d.,])\d{1,3}(?:\.\d{3})+(?![\d.])", lambda m: m[0].replace(".", "")),
        (r"\bS\. ?(?=\d)", "Seite "),
        (r"\b([IVX]+)\.(?= (?:Weltkrieg|Quartal)\b)", lambda m: f"{arabic(m[1])}."),
        (GERMAN_NUMBER, german_number),
        (r"(?<=onen )€|(?<=rden )€", "Euro"),
        (r"(\d[\d.,]*) ?([€$£])", r"\2\1"),
        (
            r"(?<![\d:])(\d{1,2}):(\d{2})(?::(\d{2}))?(?![\d:])(?: (?:Uhr|h)\b)?(?! ?(?:min|Min|Std|Stunden))",
            _german_time,
        ),
        (r"(?<![\d:])(\d{1,2})\.([0-5]\d)() Uhr\b", _german_time),
    ),
    "hi": (
        (r"[०-९]", lambda m: str(int(m[0]))),
        (r"(?<![\d,])\d{1,3}(?:,\d{2,3})+(?![\d,])", lambda m: m[0].replace(",", "")),
        (r"(?<![\w.])-(?=\d+\b(?!-))", "माइनस "),
        (r"(?<!\w)\+(?=\d{1,5}\b(?! ?\d))", "प्लस "),
        (r"(?<!\w)(1ले|2रे|3रे|4थे|6ठे)(?!\w)", lambda m: _HINDI_ORDINALS[m[1]]),
        (r"(?<=\d) ?%", " प्रतिशत"),
        (r"(?<!\d)(\d{1,2}):00 बजे", r"\1 बजे"),
        (r"([₹$€£]\d+\.\d)(?!\d)", r"\g<1>0"),
    ),
    "ja": (
        (r"([$¥￥€£]) ?(\d+(?:,\d{3})*(?:\.\d+)?)", lambda m: f"{m[2]}{_JAPANESE_COINS[m[1]]}"),
        (r"(\d{4})/(\d{1,2})/(\d{1,2})", lambda m: f"{m[1]}年{int(m[2])}月{int(m[3])}日"),
        (r"\bR\.(\d+)", r"令和\1年"),
        (r"[(（]([月火水木金土日])[)）]", r"\1曜日"),
        (r"[(（]([月火水木金土日])[〜~]([月火水木金土日])[)）]", r"\1曜日から\2曜日"),
        (r"(?<=[\w%％])\s?[〜~～]\s?(?=\D{0,3}\d)", "から"),
        (r"(?<![\d:])(\d{1,2}):(\d{2})(?::(\d{2}))?(?![\d:])", _japanese_time),
        (r"(?<=\d) (?=\d+/\d)", "荷"),
        (r"(√?)(\d+)/(√?)(\d+)", lambda m: f"{m[4]}分の{'ルート' * bool(m[1] or m[3])}{m[2]}"),
        (r"(?<![\dA-Za-z)])[-−](?=[\d√])", "マイナス"),
        (r"√(?=\d)", "ルート"),
    ),
    "zh": (
        (r"(?<=\d),(?=\d{3}(?!\d))", ""),
        (r"([￥¥$€]?)(\d{4,}\.\d+)(?=[元块圆]|[美欧日]元|英镑)|([￥¥$€])(\d{4,}\.\d+)", _chinese_amount),
    ),
}


@lru_cache
def rules(language: str) -> Sequence[Rule]:
    """Return a language's rules: patterns, and what replaces their matches."""
    table = [*short_forms(language), *common_rules(language), *_TABLE.get(language, ROMANCE.get(language, ()))]
    return [(re.compile(pattern), replacement) for pattern, replacement in table]


def _cased(word: str, like: str) -> str:
    return word.capitalize() if like[0].isupper() else word


def _ordinal(value: int) -> str:
    ending = "th" if value in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value}{ending}"
