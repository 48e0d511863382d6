"""A reimplementation of torch's parser of PYTORCH_CUDA_ALLOC_CONF, for each release.

Follows c10/cuda/CUDAAllocatorConfig.cpp (up to 2.9) and, from 2.10 on, also c10/core/AllocatorConfig.{h,cpp},
including their quirks: the verdict has to be torch's own, also where torch is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from f5_worker.boot.alloc_conf.numbers import NotANumber, stod, stoi, stoul, stoull
from f5_worker.boot.alloc_conf.options import MODERN, Kind, Option, lookup

TorchVerdict = Literal["ok", "reject", "abort"]

_SEPARATORS = re.compile(r"([,:\[\]])")
_ISSPACE = " \t\n\v\f\r"
_OUT_OF_BOUNDS = "Index out of bounds in ConfigTokenizer"
_UNCLOSED = "Expected closing bracket ']' in ConfigTokenizer but reached end of config"


class Rejected(Exception):
    """The error that torch would raise; the text is torch's own."""


@dataclass(frozen=True)
class ParseOutcome:
    """Torch's verdict on a value: `ok`, `reject` (an exception or a crash) or `abort` (SIGABRT).

    `message` is torch's error text; `notes` are about parts that torch accepts but reads differently than they look.
    """

    verdict: TorchVerdict
    message: str = ""
    notes: tuple[str, ...] = ()


def judge(value: str, release: int) -> ParseOutcome:
    """Return what torch 2.`release` does with `value` as the value of the environment variable."""
    text = value.split("\0")[0]  # the end of the string for getenv
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
    """Split at `, : [ ]` and drop white space; before 2.10, only the space counts as white space."""
    dropped = _ISSPACE if release >= MODERN else " "
    table = str.maketrans("", "", dropped)
    return [token for token in _SEPARATORS.split(text.translate(table)) if token]


def _backend_at_load(text: str) -> str:
    """Return the allocator that the library's static initialiser chooses before 2.10; it never raises an error."""
    for option in re.split(r"[ \t\n\v\f\r,]+", text):
        pair = re.split(":+", option)
        if len(pair) >= 2 and pair[0] == "backend" and pair[1] in ("native", "cudaMallocAsync"):
            return pair[1]
    return "native"


def _scan_at_load(tokens: list[str]) -> str:
    """Return the allocator that the static initialiser chooses from 2.10 on.

    It reads key by key up to `backend`; an error here, such as too few tokens, ends the process.
    """
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
    """A position in a token list."""

    tokens: list[str]
    position: int = 0

    def more(self) -> bool:
        """Return whether there are tokens left."""
        return self.position < len(self.tokens)

    def peek(self) -> str:
        """Return the next token."""
        if not self.more():
            raise Rejected(_OUT_OF_BOUNDS)
        return self.tokens[self.position]

    def take(self) -> str:
        """Return the next token and move past it."""
        token = self.peek()
        self.position += 1
        return token

    def skip_value(self) -> None:
        """Move past `:` and the value after it, a list up to its first `]` (ConfigTokenizer::skipKey)."""
        self.take()
        if self.take() != "[":
            return
        while self.more():
            if self.take() == "]":
                return
        raise Rejected(_UNCLOSED)


@dataclass
class _Parser:
    """The parser of one token list; `notes` are about parts that torch accepts but reads differently than they look."""

    tokens: list[str]
    release: int
    backend: str
    notes: list[str] = field(default_factory=list)
    large_segment_mb: int = 20

    def __post_init__(self) -> None:
        self.modern = self.release >= MODERN
        self.cursor = _Cursor(self.tokens)
        self.sizes_mb: dict[str, int] = {}

    def parse(self) -> None:
        """Parse all tokens, in as many passes as torch does.

        Raises:
            Rejected, NotANumber: torch would raise an error.
        """
        if not self.modern:
            self._pass(lambda option: True)
            return
        self._read_large_segment_first()
        self._pass(lambda option: option.shared)
        self._pass(lambda option: not option.shared)
        self._note_combinations()

    def _pass(self, reads: Callable[[Option], bool]) -> None:
        """Go through all pairs and read the values of the options for which `reads` is true."""
        self.cursor.position = 0
        while self.cursor.more():
            key = self.cursor.take()
            option = lookup(key, self.release)
            if option is None:
                raise Rejected(self._unknown_key_message(key))
            if reads(option):
                self._read_value(option)
            else:
                self.cursor.skip_value()
            if self.cursor.more():
                self._expect(",")

    def _read_large_segment_first(self) -> None:
        # AllocatorConfig.cpp, parseArgs: every token of that name, in any position, raises the lower limit of
        # the *_split_* options before they are read.
        if lookup("large_segment_size_mb", self.release) is None:
            return
        while self.cursor.more():
            if self.cursor.take() == "large_segment_size_mb":
                self._expect(":")
                self.large_segment_mb = self._integer("large_segment_size_mb")
                if self.large_segment_mb <= 10:
                    raise Rejected("CachingAllocator option large_segment_size_mb must be > 10 MB")

    def _read_value(self, option: Option) -> None:
        self._expect(":")
        readers: dict[Kind, Callable[[str], None]] = {
            Kind.BOOL: self._bool,
            Kind.MEGABYTES: self._megabytes,
            Kind.FRACTION: self._fraction,
            Kind.THREADS: self._threads,
            Kind.ROUNDUP: self._roundup,
            Kind.BACKEND: self._backend,
            Kind.RESERVE: self._reserve,
            Kind.RESERVES: self._reserves,
        }
        readers[option.kind](option.name)

    def _expect(self, separator: str) -> None:
        if self.modern:
            # checkToken returns whether the token matched, and its callers ignore the result.
            found = self.cursor.take()
            if found != separator:
                self.notes.append(f"there is {found!r} in place of {separator!r}; older releases refuse it")
        elif not self.cursor.more() or self.cursor.take() != separator:
            raise Rejected(f"Error parsing CachingAllocator settings, expected {separator}")

    def _take_value(self, missing_message: str) -> str:
        if not self.modern and not self.cursor.more():
            raise Rejected(missing_message)
        return self.cursor.take()

    def _integer(self, key: str) -> int:
        token = self._take_value(f"Error, expecting {key} value")
        number, rest = (stoull if self.modern else stoi)(token)
        self._note_number(key, token, number, rest)
        return number % 2**64

    def _number(self, key: str) -> float:
        token = self._take_value(f"Error, expecting {key} value")
        number, rest = stod(token)
        self._note_number(key, token, number, rest)
        return number

    def _note_number(self, key: str, token: str, number: float, rest: str) -> None:
        if rest:
            self.notes.append(f"{key}:{token} is read as {number:g}; torch ignores {rest!r}")
        elif token.lstrip().startswith("-"):
            self.notes.append(f"{key}:{token} is negative; torch wraps it to a huge number")

    def _unknown_key_message(self, key: str) -> str:
        if self.modern:
            return f"Unrecognized key '{key}' in Accelerator allocator config."
        return f"Unrecognized CachingAllocator option: {key}"

    def _bool(self, key: str) -> None:
        expected = f"Expected a single True/False argument for {key.replace('hip', 'cuda')}"
        token = self._take_value(expected)
        if token in ("True", "False"):
            return
        if self.modern:
            where = f"at index {self.cursor.position - 1} in ConfigTokenizer"
            expected = f"Expected 'True' or 'False' {where} but got '{token}'"
        raise Rejected(expected)

    def _megabytes(self, key: str) -> None:
        size_mb = self._integer(key)
        self.sizes_mb[key] = size_mb
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
        name = self._take_value("Error parsing backend value")
        if name not in ("native", "cudaMallocAsync"):
            raise Rejected("Unknown allocator backend, options are native and cudaMallocAsync")
        # Before 2.13, torch asks the driver for its version first; without a driver that is an error as well.
        if name != self.backend:
            raise Rejected("Allocator backend parsed at runtime != allocator backend parsed at load time")
        if name != "native":
            self.notes.append(f"{key}:{name} makes torch ignore the options of its native allocator")

    def _roundup(self, key: str) -> None:
        if self.cursor.more() and self.cursor.peek() == "[":
            self.cursor.take()
            self._roundup_list(key)
        elif not _power_of_2(self._integer(key)):
            raise Rejected(f"For roundups, the {self._divisions_word()} has to be power of 2 ")

    def _roundup_list(self, key: str) -> None:
        while self.cursor.more():
            interval = self.cursor.take()
            if interval == "]":
                return
            self._expect(":")
            division = self._integer(key)
            if not _power_of_2(division) and (division or self.release < 4):
                off = " or 0 to disable roundup" if self.release >= 4 else ""
                raise Rejected(f"For roundups, the {self._divisions_word()} has to be power of 2{off} ")
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

    def _divisions_word(self) -> str:
        return "divisions" if self.release >= 4 else "divisons"  # torch's own spelling

    def _reserve(self, key: str) -> None:
        # parseReserveSpec warns and keeps the default: these are the only options for which a bad value is harmless.
        token = self.cursor.take()
        try:
            size, rest = stod(token[:-1] if token[-1] in "gG" else token)
        except NotANumber:
            size, rest = 0.0, ""
        if rest or not 0 < size < float("inf"):
            self.notes.append(f"{key}: torch ignores {token!r}, which has neither the form 0.5 nor the form 40G")

    def _reserves(self, key: str) -> None:
        self._expect("[")
        while self.cursor.peek() != "]":
            self.cursor.take()
            self._expect(":")
            self._reserve(key)
            if self.cursor.peek() == ",":
                self.cursor.take()
        self.cursor.take()

    def _note_combinations(self) -> None:
        rounded, cached = "pinned_max_round_threshold_mb", "pinned_max_cached_size_mb"
        if self.sizes_mb.get(rounded, 0) > self.sizes_mb.get(cached, float("inf")):
            self.notes.append(f"{rounded} is larger than {cached}: sizes between them are never rounded up")


def _power_of_2(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
