"""torch's own reading of PYTORCH_CUDA_ALLOC_CONF, release by release.

Follows c10/cuda/CUDAAllocatorConfig.cpp (to 2.9) and c10/core/AllocatorConfig.{h,cpp} beside it (from 2.10),
with their quirks: an answer that is right where torch is wrong would be of no use here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from f5_worker.boot.alloc_conf.numbers import NotANumber, stod, stoi, stoul, stoull
from f5_worker.boot.alloc_conf.options import MODERN, Kind, Option, lookup

Answer = Literal["ok", "reject", "abort"]

_SEPARATORS = re.compile(r"([,:\[\]])")
_ISSPACE = " \t\n\v\f\r"
_END = "Index out of bounds in ConfigTokenizer"
ASKS_NO_DRIVER = 13  # torch 2.13; before, `backend:cudaMallocAsync` asks the driver for its version
_UNCLOSED = "Expected closing bracket ']' in ConfigTokenizer but reached end of config"


class Rejected(Exception):
    """What torch would raise; the text is torch's own."""


@dataclass(frozen=True)
class ParseOutcome:
    """What torch would do with a value: `ok`, `reject` (an exception or a crash) or `abort` (SIGABRT)."""

    verdict: Answer
    says: str = ""
    notes: tuple[str, ...] = ()


def judge(value: str, release: int) -> ParseOutcome:
    """What torch 2.`release` does with `value`, as if it stood in the environment."""
    text = value.split("\0")[0]  # getenv ends there
    tokens = tokenize(text, release)
    if release < MODERN:
        backend = _backend_at_load(text)
    else:
        try:
            backend = _scan_at_load(tokens)
        except Rejected as error:
            # Raised inside a static initialiser of libc10_cuda.so: std::terminate.
            return ParseOutcome("abort", str(error))
    parser = _Parser(tokens, release, backend)
    try:
        parser.parse()
    except (Rejected, NotANumber) as error:
        return ParseOutcome("reject", str(error))
    return ParseOutcome("ok", notes=tuple(dict.fromkeys(parser.notes)))


def tokenize(text: str, release: int) -> list[str]:
    """Split at `, : [ ]`; before 2.10 only the space counts as white space."""
    dropped = _ISSPACE if release >= MODERN else " "
    table = str.maketrans("", "", dropped)
    return [token for token in _SEPARATORS.split(text.translate(table)) if token]


def _backend_at_load(text: str) -> str:
    """The allocator chosen by the library's static initialiser before 2.10, which never complains."""
    for option in re.split(r"[ \t\n\v\f\r,]+", text):
        pair = re.split(":+", option)
        if len(pair) >= 2 and pair[0] == "backend" and pair[1] in ("native", "cudaMallocAsync"):
            return pair[1]
    return "native"


def _scan_at_load(tokens: list[str]) -> str:
    """The same from 2.10 on: key by key up to `backend`; running off the end ends the process."""
    cursor = _Cursor(tokens)
    while cursor.more():
        if cursor.take() == "backend":
            cursor.take()
            return "cudaMallocAsync" if cursor.take() == "cudaMallocAsync" else "native"
        cursor.skip_value()
        if cursor.more():
            cursor.take()
    return "native"


@dataclass
class _Cursor:
    tokens: list[str]
    at: int = 0

    def more(self) -> bool:
        return self.at < len(self.tokens)

    def peek(self) -> str:
        if not self.more():
            raise Rejected(_END)
        return self.tokens[self.at]

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def skip_value(self) -> None:
        """`:` and the value behind it, a list up to its first `]` (ConfigTokenizer::skipKey)."""
        self.take()
        if self.take() != "[":
            return
        while self.more():
            if self.take() == "]":
                return
        raise Rejected(_UNCLOSED)


@dataclass
class _Parser:
    """One reading of a token list; `notes` holds what torch accepts but does not mean what it looks like."""

    tokens: list[str]
    release: int
    backend: str
    notes: list[str] = field(default_factory=list)
    large_segment_mb: int = 20

    def __post_init__(self) -> None:
        self.modern = self.release >= MODERN
        self.cursor = _Cursor(self.tokens)
        self.seen: dict[str, float] = {}

    def parse(self) -> None:
        if not self.modern:
            self._pass(lambda option: True)
            return
        self._large_segment_first()
        self._pass(lambda option: option.shared)
        self._pass(lambda option: not option.shared)
        self._warn_about_combinations()

    def _pass(self, owns: Callable[[Option], bool]) -> None:
        self.cursor.at = 0
        while self.cursor.more():
            key = self.cursor.take()
            option = lookup(key, self.release)
            if option is None:
                raise Rejected(self._unknown(key))
            if owns(option):
                self._pair(option)
            else:
                self.cursor.skip_value()
            if self.cursor.more():
                self._expect(",")

    def _large_segment_first(self) -> None:
        # AllocatorConfig.cpp, parseArgs: every token of that name, wherever it stands, raises the floor of
        # the *_split_* options before they are read.
        if lookup("large_segment_size_mb", self.release) is None:
            return
        while self.cursor.more():
            if self.cursor.take() == "large_segment_size_mb":
                self._expect(":")
                self.large_segment_mb = self._integer("large_segment_size_mb")
                if self.large_segment_mb <= 10:
                    raise Rejected("CachingAllocator option large_segment_size_mb must be > 10 MB")

    def _pair(self, option: Option) -> None:
        self._expect(":")
        read: dict[Kind, Callable[[str], None]] = {
            Kind.BOOL: self._bool,
            Kind.MEGABYTES: self._megabytes,
            Kind.FRACTION: self._fraction,
            Kind.THREADS: self._threads,
            Kind.ROUNDUP: self._roundup,
            Kind.BACKEND: self._backend,
            Kind.RESERVE: self._reserve,
            Kind.RESERVES: self._reserves,
        }
        read[option.kind](option.name)

    # -- tokens ------------------------------------------------------------------------------------

    def _expect(self, separator: str) -> None:
        if self.modern:
            # checkToken returns whether it matched, and nobody looks at the answer.
            found = self.cursor.take()
            if found != separator:
                self.notes.append(f"{found!r} stands where {separator!r} belongs; older releases refuse it")
        elif not self.cursor.more() or self.cursor.take() != separator:
            raise Rejected(f"Error parsing CachingAllocator settings, expected {separator}")

    def _value(self, missing: str) -> str:
        if not self.modern and not self.cursor.more():
            raise Rejected(missing)
        return self.cursor.take()

    def _integer(self, key: str) -> int:
        token = self._value(f"Error, expecting {key} value")
        number, rest = (stoull if self.modern else stoi)(token)
        self._note_number(key, token, number, rest)
        return number % 2**64

    def _number(self, key: str) -> float:
        token = self._value(f"Error, expecting {key} value")
        number, rest = stod(token)
        self._note_number(key, token, number, rest)
        return number

    def _note_number(self, key: str, token: str, number: float, rest: str) -> None:
        if rest:
            self.notes.append(f"{key}:{token} is read as {number:g}; torch ignores {rest!r}")
        elif token.lstrip().startswith("-"):
            self.notes.append(f"{key}:{token} is negative, which torch wraps to a huge number")

    def _unknown(self, key: str) -> str:
        if self.modern:
            return f"Unrecognized key '{key}' in Accelerator allocator config."
        return f"Unrecognized CachingAllocator option: {key}"

    # -- values ------------------------------------------------------------------------------------

    def _bool(self, key: str) -> None:
        expected = f"Expected a single True/False argument for {key.replace('hip', 'cuda')}"
        token = self._value(expected)
        if token in ("True", "False"):
            return
        if self.modern:
            where = f"at index {self.cursor.at - 1} in ConfigTokenizer"
            expected = f"Expected 'True' or 'False' {where} but got '{token}'"
        raise Rejected(expected)

    def _megabytes(self, key: str) -> None:
        size_mb = self._integer(key)
        self.seen[key] = size_mb
        if key == "pinned_reserve_segment_size_mb" and size_mb == 0:
            raise Rejected("Pinned reserve segment size has to be greater than 0")
        if key not in ("max_split_size_mb", "max_non_split_rounding_mb"):
            return
        # "> 20" became ">= large_segment_size_mb" (20 unless set) with the move to AllocatorConfig.cpp.
        if size_mb < (self.large_segment_mb if self.modern else 21):
            limit = f">= {self.large_segment_mb}" if self.modern else "> 20"
            raise Rejected(f"CachingAllocator option {key} too small, must be {limit}")

    def _fraction(self, key: str) -> None:
        number = self._number(key)
        if key == "per_process_memory_fraction":
            if not 0 <= number <= 1:
                raise Rejected("per_process_memory_fraction is invalid, set it in [0.0, 1.0]")
        elif not 0 < number < 1:
            if self.modern:
                raise Rejected("garbage_collect_threshold is invalid, set it in (0.0, 1.0)")
            size = "big" if number > 0 else "small"
            raise Rejected(f"garbage_collect_threshold too {size}, set it 0.0~1.0")

    def _threads(self, key: str) -> None:
        threads = self._integer(key)
        got = f", got {threads}" if self.modern else ""
        if not _power_of_2(threads):
            raise Rejected(f"Number of register threads has to be power of 2{got or ' '}")
        if threads > 128:
            raise Rejected(f"Number of register threads should be less than or equal to 128{got}")

    def _backend(self, key: str) -> None:
        name = self._value("Error parsing backend value")
        if name not in ("native", "cudaMallocAsync"):
            raise Rejected("Unknown allocator backend, options are native and cudaMallocAsync")
        # Before 2.13 a driver is asked before the two readings are compared, so that is where our knowledge ends.
        if name != self.backend and not (name == "cudaMallocAsync" and self.release < ASKS_NO_DRIVER):
            raise Rejected("Allocator backend parsed at runtime != allocator backend parsed at load time")
        if name != "native":
            self.notes.append(f"{key}:{name} makes torch ignore the options of its native allocator")

    def _roundup(self, key: str) -> None:
        if self.cursor.more() and self.cursor.peek() == "[":
            self.cursor.take()
            self._roundup_list(key)
        elif not _power_of_2(self._integer(key)):
            raise Rejected(f"For roundups, the {self._divisions()} has to be power of 2 ")

    def _roundup_list(self, key: str) -> None:
        while self.cursor.more():
            interval = self.cursor.take()
            if interval == "]":
                return
            self._expect(":")
            division = self._integer(key)
            if not _power_of_2(division) and (division or self.release < 4):
                off = " or 0 to disable roundup" if self.release >= 4 else ""
                raise Rejected(f"For roundups, the {self._divisions()} has to be power of 2{off} ")
            if interval != ">" and not _power_of_2((stoull if self.modern else stoul)(interval)[0]):
                raise Rejected("For roundups, the intervals have to be power of 2 ")
            if not self.cursor.more() and self.release < 7:
                raise Rejected("Segmentation fault (torch reads past a list without closing ']')")
            if (self.modern or self.cursor.more()) and self.cursor.peek() == "]":
                continue
            self._expect(",")
        if self.modern:
            raise Rejected(_UNCLOSED)
        self.notes.append(f"{key}: the list has no closing ']', which aborts torch >= 2.10")

    def _divisions(self) -> str:
        return "divisions" if self.release >= 4 else "divisons"  # torch's own spelling

    def _reserve(self, key: str) -> None:
        # parseReserveSpec warns and keeps the default; only here is a bad value harmless.
        token = self.cursor.take()
        try:
            size, rest = stod(token[:-1] if token[-1] in "gG" else token)
        except NotANumber:
            size, rest = 0.0, ""
        if rest or not 0 < size < float("inf"):
            self.notes.append(f"{key}: torch ignores {token!r}, which is neither like 0.5 nor like 40G")

    def _reserves(self, key: str) -> None:
        self._expect("[")
        while self.cursor.peek() != "]":
            self.cursor.take()
            self._expect(":")
            self._reserve(key)
            if self.cursor.peek() == ",":
                self.cursor.take()
        self.cursor.take()

    def _warn_about_combinations(self) -> None:
        rounded, cached = "pinned_max_round_threshold_mb", "pinned_max_cached_size_mb"
        if self.seen.get(rounded, 0) > self.seen.get(cached, float("inf")):
            self.notes.append(f"{rounded} is larger than {cached}: what lies between is never rounded up")


def _power_of_2(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
