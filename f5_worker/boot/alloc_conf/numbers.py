"""std::stoi, std::stoull and std::stod with the rules of glibc: leading blanks and trailing text are accepted."""

from __future__ import annotations

import math
import re
from decimal import Decimal

_BLANK = r"[ \t\n\v\f\r]*"
_INTEGER = re.compile(rf"{_BLANK}([+-]?)([0-9]+)")
_DECIMAL = re.compile(rf"{_BLANK}([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_HEXADECIMAL = re.compile(rf"{_BLANK}([+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?)")
_SPECIAL = re.compile(rf"{_BLANK}([+-]?(?:inf(?:inity)?|nan(?:\([0-9A-Za-z_]*\))?))", re.IGNORECASE)
_SMALLEST_NORMAL = 2.2250738585072014e-308


class NotANumber(Exception):
    """The text is not a number, or out of range. The message is the C++ function's name, as in the C++ exception."""


def stoi(text: str) -> tuple[int, str]:
    """Return a 32-bit integer and the unread rest of the text."""
    number, rest = _integer(text, "stoi")
    if not -(2**31) <= number < 2**31:
        raise NotANumber("stoi")
    return number, rest


def stoul(text: str, function: str = "stoul") -> tuple[int, str]:
    """Return a 64-bit unsigned integer and the unread rest of the text; a negative number wraps."""
    number, rest = _integer(text, function)
    if abs(number) >= 2**64:
        raise NotANumber(function)
    return number % 2**64, rest


def stoull(text: str) -> tuple[int, str]:
    """Do the same as `stoul`, with another name in the error: both have 64 bits on every platform with CUDA."""
    return stoul(text, "stoull")


def stod(text: str) -> tuple[float, str]:
    """Return a double and the unread rest of the text; overflow and inexact underflow are errors."""
    for pattern in (_HEXADECIMAL, _SPECIAL, _DECIMAL):
        match = pattern.match(text)
        if match:
            break
    else:
        raise NotANumber("stod")
    word = match[1]
    if pattern is _HEXADECIMAL:
        number = _from_hexadecimal(word)
    elif pattern is _SPECIAL:
        return float(word.split("(")[0]), text[match.end() :]
    else:
        number = float(word)
        if math.isinf(number) or _lost_in_underflow(number, word):
            raise NotANumber("stod")
    return number, text[match.end() :]


def _integer(text: str, function: str) -> tuple[int, str]:
    match = _INTEGER.match(text)
    if not match:
        raise NotANumber(function)
    digits = match[2].lstrip("0") or "0"
    if len(digits) > 20:  # out of range for every type, and int() refuses more than 4300 digits
        raise NotANumber(function)
    return int(match[1] + digits), text[match.end() :]


def _from_hexadecimal(word: str) -> float:
    try:
        number = float.fromhex(word)
    except OverflowError:
        raise NotANumber("stod") from None
    mantissa = re.split("[pP]", word)[0]
    if number == 0 and re.search("[1-9a-fA-F]", mantissa.partition("x")[2] or mantissa.partition("X")[2]):
        raise NotANumber("stod")
    return number


def _lost_in_underflow(number: float, word: str) -> bool:
    """Return whether strtod sets ERANGE, and std::stod throws: the result is below the normal range and not exact."""
    if abs(number) >= _SMALLEST_NORMAL:
        return False
    if number == 0:
        return re.search("[1-9]", re.split("[eE]", word)[0]) is not None
    return Decimal(number) != Decimal(word)
