"""A written-to-spoken grammar: two transducers of NeMo-text-processing, run with kaldifst.

The tagger turns a text into tokens, `tokens { money { currency: "dollars" integer_part: "five" } }`; the verbalizer
turns a token into words. As the libraries do, the verbalizer is offered the fields of a token in every order, until it
takes one. Unlike them, this keeps for each token the part of the text that the tagger read for it.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

Fields = list[tuple[str, Any]]  # of a token, in order: a string, True, or fields again

_TOKEN = re.compile(rb"tokens \{ (.*?) ?\}(?= *tokens \{| *$)", re.DOTALL)
_FIELD = re.compile(r' *(?:(?P<end>\})|(?P<key>\w+) *(?:(?P<open>\{)|: *(?:"(?P<text>.*?)"(?= |$)|(?P<true>\w+))))')
_IN_ORDER = "preserve_order"  # a token with this key is in the order in which it is said
_CACHED_TOKENS = 2048
_MAX_FIELDS = 5  # 120 orders; no token of the grammars has more


class Expansion(NamedTuple):
    """What is said instead of a part of the text, `[begin, end)`."""

    begin: int
    end: int
    said: str


class _Transducer(NamedTuple):
    fst: Any
    outputs: list[bytes]  # of its labels


class Grammar:
    """A language's tagger and verbalizer.

    Args:
        tagger, verbalizer: paths of OpenFst files. An input label is a byte; what an output label stands for is in the
            JSON file beside it.
    """

    def __init__(self, tagger: Path, verbalizer: Path) -> None:
        import kaldifst

        self._fst = kaldifst
        self._tagger, self._verbalizer = (self._load(path) for path in (tagger, verbalizer))
        self._said = lru_cache(_CACHED_TOKENS)(self._verbalize)

    def read(self, text: str) -> list[Expansion]:
        """Return what is said otherwise than it is written, in order; nothing where the grammar does not accept it.

        Takes time linear in the length of the text, some 0.1 ms a letter and more a digit.
        """
        readings = []
        for begin, end, token in self._tokens(text):
            said = self._said(token)
            if said is not None and said != text[begin:end]:
                readings.append(Expansion(begin, end, said))
        return readings

    def _load(self, path: Path) -> _Transducer:
        outputs = [output.encode("latin-1") for output in json.loads(path.with_suffix(".json").read_bytes())]
        return _Transducer(self._fst.StdVectorFst.read(str(path)), outputs)

    def _path(self, text: str, transducer: _Transducer) -> Any | None:
        """Return the best path of a text through a transducer, None if there is none."""
        lattice = self._fst.compose(self._fst.make_linear_acceptor(list(text.encode())), transducer.fst)
        return self._fst.shortest_path(lattice) if lattice.start >= 0 else None

    def _tokens(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield `(begin, end, token)` for each token; white space around it is left out."""
        path = self._path(text, self._tagger)
        if path is None:
            return
        tagged, read = bytearray(), list[int]()  # per byte of the output how many of the input were read before
        state, n_read = path.start, 0
        while arcs := list(self._fst.ArcIterator(path, state)):
            (arc,) = arcs
            n_read += arc.ilabel != 0
            tagged += self._tagger.outputs[arc.olabel]
            read += [n_read] * (len(tagged) - len(read))
            state = arc.nextstate
        read.append(n_read)
        written = text.encode()
        for match in _TOKEN.finditer(bytes(tagged)):
            before = len(written[: read[match.start()]].decode(errors="ignore"))
            own = written[read[match.start()] : read[match.end()]].decode(errors="ignore")
            begin = before + len(own) - len(own.lstrip())
            yield begin, begin + len(own.strip()), match[1].decode(errors="ignore")

    def _verbalize(self, token: str) -> str | None:
        """Return the words of a token, None if the verbalizer takes it in no order."""
        for ordered in _orders(_parse(token)):
            path = self._path(ordered, self._verbalizer)
            if path is not None:
                _, _, labels, _ = self._fst.get_linear_symbol_sequence(path)
                said = b"".join(self._verbalizer.outputs[label] for label in labels)
                return " ".join(said.decode(errors="ignore").split())
        return None


def _parse(token: str) -> Fields:
    """Return the fields of a token's text."""
    levels: list[Fields] = [[]]
    for match in _FIELD.finditer(token):
        if match["end"]:
            levels.pop()
        elif match["open"]:
            inner: Fields = []
            levels[-1].append((match["key"], inner))
            levels.append(inner)
        else:
            levels[-1].append((match["key"], True if match["text"] is None else match["text"]))
    return levels[0]


def _orders(fields: Fields) -> Iterator[str]:
    """Yield the fields as text in every order."""
    is_ordered = len(fields) > _MAX_FIELDS or any(key == _IN_ORDER for key, _ in fields)
    for ordered in [fields] if is_ordered else itertools.permutations(fields):
        for parts in itertools.product(*(list(_texts(key, value)) for key, value in ordered)):
            yield "".join(parts)


def _texts(key: str, value: str | bool | Fields) -> Iterator[str]:
    if isinstance(value, list):
        yield from (f" {key} {{ {inner}}} " for inner in _orders(value))
    else:
        yield f'{key}: "{value}" ' if isinstance(value, str) else f"{key}: true "
