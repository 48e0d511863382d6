"""Text to a checkpoint's vocabulary indices: upstream's tokens, which are characters, and pinyin for Chinese."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Upstream replaces characters that its vocabulary lacks (f5_tts/model/utils.py, `convert_char_to_pinyin`).
_SUBSTITUTES = str.maketrans({";": ",", "“": '"', "”": '"', "‘": "'", "’": "'"})
_NO_SPACE_AFTER = " :'\""
_QUOTES = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "‹": "'", "›": "'"})
# Latin letters that Unicode does not take apart.
_PLAIN_LETTERS = dict(pair.split("=") for pair in "æ=ae ð=d ø=o þ=th đ=d ħ=h ı=i ł=l œ=oe ß=ss".split())


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a checkpoint knows, token -> index. Index 0 is the space, and also encodes unknown tokens.

    characters: its tokens are the characters of a text; otherwise those of `tokenize`.
    """

    index: dict[str, int]
    characters: bool = False

    @classmethod
    def load(cls, path: Path, *, characters: bool = False) -> Vocabulary:
        """Read `vocab.txt`, one token a line, as upstream's `get_tokenizer` does, since models were trained so.

        The last of equal lines counts, and a last line without a newline loses its last character.
        """
        with path.open(encoding="utf-8") as lines:
            return cls({line[:-1]: number for number, line in enumerate(lines)}, characters)

    def __len__(self) -> int:
        return len(self.index)

    def tokens(self, text: str) -> list[str]:
        """Split a text as it was for the checkpoint's training."""
        return list(text.translate(_QUOTES)) if self.characters else tokenize(text)

    def encode(self, tokens: Iterable[str]) -> tuple[list[int], tuple[str, ...]]:
        """Return the indices of `tokens`, and the unknown tokens, each once, in order of appearance.

        An unknown Latin letter is encoded without its accent, as `e` for `é`.
        """
        indices, unknown = [], dict[str, None]()
        for token in tokens:
            if token in self.index:
                indices.append(self.index[token])
                continue
            unknown[token] = None
            indices += [self.index.get(letter, 0) for letter in _plain_letters(token)]
        return indices, tuple(unknown)


def _plain_letters(token: str) -> str:
    """Return the ASCII letters that a Latin letter is written with where it is missing; any other token as a space."""
    if len(token) != 1:
        return " "
    lower = token.lower()
    plain = _PLAIN_LETTERS.get(lower) or unicodedata.normalize("NFKD", lower)[0]
    if not (plain.isascii() and plain.isalpha()):
        return " "
    return plain.capitalize() if token.isupper() else plain


def tokenize(text: str) -> list[str]:
    """Split `text` into characters, Chinese ones into a space and their pinyin with tone number.

    Equal to upstream's `convert_char_to_pinyin([text])[0]`, quirks included, since models were trained so.
    A space is put before a word that follows another character without one ("a,b" stays, "one,two" does not).
    """
    import rjieba

    tokens: list[str] = []
    for piece in rjieba.cut(text.translate(_SUBSTITUTES)):
        n_bytes = len(piece.encode())
        if n_bytes == len(piece):
            if tokens and n_bytes > 1 and tokens[-1] not in _NO_SPACE_AFTER:
                tokens.append(" ")
            tokens.extend(piece)
        elif n_bytes == 3 * len(piece):
            tokens.extend(_three_byte_tokens(piece))
        else:
            tokens.extend(_mixed_tokens(piece))
    return tokens


def _three_byte_tokens(piece: str) -> Iterator[str]:
    """Yield the tokens of a run of three-byte characters, read together because tones influence each other."""
    for character, reading in zip(piece, _pinyin(piece), strict=False):
        yield from (" ", reading) if _is_chinese(character) else (reading,)


def _mixed_tokens(piece: str) -> Iterator[str]:
    """Yield the tokens of a run of characters of different lengths, each read alone."""
    for character in piece:
        yield from (" ", *_pinyin(character)) if _is_chinese(character) else (character,)


def _is_chinese(character: str) -> bool:
    return "\u3100" <= character <= "\u9fff"


def _pinyin(text: str) -> Sequence[str]:
    from pypinyin import Style, lazy_pinyin

    return lazy_pinyin(text, style=Style.TONE3, tone_sandhi=True)
