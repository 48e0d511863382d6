"""Times of day of languages other than English: siebzehn Uhr zwei, not siebzehn: zwei."""

from __future__ import annotations

import re
from typing import NamedTuple

from f5_worker.text.expand.numbers import agreeing, cardinal, ordinal

Ends = tuple[tuple[str, str], ...]
_HOUR = r"(?:[01०१]?\d|[2२][0-4०-४])"
_SIXTY = r"[0-5०-५]\d"
_POLISH_NOMINATIVE: Ends = (("drugi", "druga"), ("i", "ia"), ("y", "a"))
_POLISH_LOCATIVE: Ends = (("i", "iej"), ("y", "ej"))
_POLISH_PREPOSITION = re.compile(r"\b(?:o|od|do|po|około|godz\.|godzinie) $", re.IGNORECASE)


class ClockRules(NamedTuple):
    """How a language says a time of day. Frames have {} for the number, and a form for one, few and many, or fewer.

    hour: before minutes.
    minute: after the hour; `full` instead of both if the minutes are zero.
    exact: instead of `minute` before seconds, where thirty and five seconds would be thirty-five seconds.
    second: after the minutes.
    zero: said before minutes below ten.
    after: what is written after a time and said within it; a time with a point needs it.
    before: what is written before a time with a point.
    separator: written instead of the colon, also after a full hour.
    hour_ends, minute_ends, second_ends: endings of numbers where nouns are feminine or follow; ^ is the beginning.
        Those of seconds hold for `exact` minutes, too.
    """

    hour: str
    minute: str
    second: str
    full: str = ""
    zero: str = ""
    exact: str = ""
    after: str = ""
    before: tuple[str, ...] = ()
    separator: str = ""
    hour_ends: Ends = ()
    minute_ends: Ends = ()
    second_ends: Ends = ()


_NORDIC = ("kl. ", "klokken ", "klockan ")
_FRENCH = (("un", "une"),)
_HUNGARIAN = (("kettő", "két"),)
_RUSSIAN = (("один", "одна"), ("два", "две"))
_ROMANIAN = (("doisprezece", "douăsprezece"), ("doi", "două"))
_CLOCKS = {
    "ca": ClockRules(
        "{}",
        "i {}",
        "i {} segon/i {} segons",
        hour_ends=(("un", "una"), ("dos", "dues")),
        exact="i {} minut/i {} minuts",
    ),
    "cs": ClockRules(
        "{}",
        "{}",
        "a {} sekunda/a {} sekundy/a {} sekund",
        "{} hodina/{} hodiny/{} hodin",
        "nula",
        hour_ends=(("^dva", "dvě"),),
        second_ends=(("^dva", "dvě"),),
        after="hodin",
    ),
    "da": ClockRules("{}", "{}", "og {} sekund/og {} sekunder", zero="nul", before=_NORDIC),
    "de": ClockRules(
        "{} Uhr",
        "{}",
        "und {} Sekunde/und {} Sekunden",
        after="Uhr",
        hour_ends=(("^eins", "ein"),),
        second_ends=(("^eins", "eine"),),
    ),
    "es": ClockRules(
        "{}",
        "y {}",
        "y {} segundo/y {} segundos",
        hour_ends=(("uno", "una"),),
        second_ends=(("veintiuno", "veintiún"), ("uno", "un")),
        exact="y {} minuto/y {} minutos",
    ),
    "fi": ClockRules("{}", "{}", "ja {} sekunti/ja {} sekuntia", zero="nolla", before=("klo ", "kello ")),
    "fr": ClockRules(
        "{} heure/{} heures",
        "{}",
        "et {} seconde/et {} secondes",
        after="heures?",
        separator="h",
        hour_ends=_FRENCH,
        minute_ends=_FRENCH,
        second_ends=_FRENCH,
        exact="{} minute/{} minutes",
    ),
    "hi": ClockRules("{} बजकर", "{} मिनट", "{} सेकंड", "{} बजे", after="बजे"),
    "hu": ClockRules(
        "{} óra",
        "{} perc",
        "{} másodperc",
        hour_ends=_HUNGARIAN,
        minute_ends=_HUNGARIAN,
        second_ends=_HUNGARIAN,
        after="óra(?:kor)?",
    ),
    "id": ClockRules("{}", "lewat {}", "{} detik", before=("pukul ",), exact="lewat {} menit"),
    "it": ClockRules(
        "{}",
        "e {}",
        "e {} secondo/e {} secondi",
        hour_ends=(("^uno", "una"),),
        second_ends=(("^uno", "un"),),
        exact="e {} minuto/e {} minuti",
    ),
    "nl": ClockRules("{} uur", "{}", "en {} seconde/en {} seconden", after="uur"),
    "no": ClockRules("{}", "{}", "og {} sekund/og {} sekunder", zero="null", before=_NORDIC),
    "pl": ClockRules(
        "{}",
        "{}",
        "i {} sekunda/i {} sekundy/i {} sekund",
        zero="zero",
        exact="{} minuta/{} minuty/{} minut",
        second_ends=(("jeden", "jedna"), ("dwa", "dwie")),
    ),
    "pt": ClockRules(
        "{} hora/{} horas",
        "e {}",
        "e {} segundo/e {} segundos",
        separator="h",
        hour_ends=(("um", "uma"), ("dois", "duas")),
        exact="e {} minuto/e {} minutos",
        after="horas?",
    ),
    "ro": ClockRules(
        "{}",
        "și {}",
        "și {} secunde",
        hour_ends=_ROMANIAN,
        minute_ends=_ROMANIAN,
        second_ends=_ROMANIAN,
        exact="și {} minute",
    ),
    "ru": ClockRules(
        "{}",
        "{}",
        "{} секунда/{} секунды/{} секунд",
        "{} ноль ноль",
        "ноль",
        minute_ends=_RUSSIAN,
        second_ends=_RUSSIAN,
        exact="{} минута/{} минуты/{} минут",
    ),
    "sk": ClockRules(
        "{}",
        "{}",
        "a {} sekunda/a {} sekundy/a {} sekúnd",
        "{} hodina/{} hodiny/{} hodín",
        "nula",
        hour_ends=(("^jeden", "jedna"), ("^dva", "dve")),
        second_ends=(("^jeden", "jedna"), ("^dva", "dve")),
        after="hodín",
    ),
    "sv": ClockRules("{}", "{}", "och {} sekund/och {} sekunder", zero="noll", before=_NORDIC),
    "th": ClockRules("{} นาฬิกา", "{} นาที", "{} วินาที", after="น\\."),
    "tr": ClockRules("{}", "{}", "{} saniye", zero="sıfır", exact="{} dakika"),
    "vi": ClockRules("{} giờ", "{} phút", "{} giây"),
}

_DURATION = r" ?(?:min|Min|Std|Stunden)"  # 1:30 min is how long something takes
_SHORT = re.compile(r"\d+:\d+")
# Juan 3:16 is a verse; in German, with capitals on all nouns and another sign in verses, Abfahrt 3:16 is a time.
_VERSE = re.compile(r"(?<![^\W_])[A-ZÀ-ÞА-Я][^\W\d_]+\.? $")


def clock_pattern(code: str) -> str | None:
    """Return the pattern of a time in a language, None if its words are not known."""
    rules = _CLOCKS.get(code)
    if rules is None:
        return None
    end = rf"(?![^\W_]|[.,:/]\d|{_DURATION})"
    spoken = f"{rules.after}|h" if rules.after else "h"
    forms = [rf"{_HOUR}:{_SIXTY}(?::{_SIXTY})?(?: ?(?:{spoken}))?{end}"]
    if rules.after:
        forms.append(rf"{_HOUR}(?:\.{_SIXTY})? ?(?:{rules.after}){end}")
    if rules.before:
        written = "|".join(f"(?<={word})" for word in map(re.escape, rules.before))
        forms.append(rf"(?:{written}){_HOUR}\.{_SIXTY}{end}")
    if rules.separator:
        forms.append(rf"{_HOUR} ?{rules.separator}(?: ?{_SIXTY})?{end}")
    return "|".join(forms)


def time_of_day(written: str, before: str, code: str) -> str:
    """Read a time that has the pattern of the language.

    Args:
        before: what stands before it.
    """
    if code != "de" and _SHORT.fullmatch(written) and _VERSE.search(before):
        return " ".join(cardinal(int(number), code) for number in written.split(":"))
    rules = _CLOCKS[code]
    hour, minute, second = (*map(int, re.findall(r"\d+", written)), 0, 0)[:3]
    hours = _polish_hour(hour, before) if code == "pl" else _ended(cardinal(hour, code), rules.hour_ends)
    if not minute and not second:
        return agreeing(rules.full or rules.hour, hour, code).format(hours)
    words = [agreeing(rules.hour, hour, code).format(hours)]
    if second and rules.exact:
        words.append(agreeing(rules.exact, minute, code).format(_ended(cardinal(minute, code), rules.second_ends)))
    else:
        minutes = _ended(cardinal(minute, code), rules.minute_ends)
        if rules.zero and minute < 10:
            minutes = f"{rules.zero} {minutes if minute else rules.zero}"
        words.append(agreeing(rules.minute, minute, code).format(minutes))
    if second:
        words.append(agreeing(rules.second, second, code).format(_ended(cardinal(second, code), rules.second_ends)))
    return " ".join(words)


def _polish_hour(hour: int, before: str) -> str:
    """Read an hour as an ordinal, feminine for godzina: siedemnasta; o siedemnastej."""
    if not hour:
        return cardinal(hour, "pl")
    ends = _POLISH_LOCATIVE if _POLISH_PREPOSITION.search(before) else _POLISH_NOMINATIVE
    return " ".join(_ended(word, ends) for word in ordinal(hour, "pl").split())


def _ended(words: str, ends: Ends) -> str:
    """Replace the ending of a number, the first that it has of those given."""
    for end, other in ends:
        if f"^{words}".endswith(end):
            return f"^{words}".removesuffix(end).removeprefix("^") + other
    return words
