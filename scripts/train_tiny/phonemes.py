"""Find the phonemes of every text, and the position of each character among them.

espeak joins words ("of the" becomes one group), so words and groups are matched by a small dynamic
programme; inside a word, characters are spread evenly over its phonemes.

    python -m scripts.train_tiny.phonemes --texts texts.txt --voice en_US-joe-medium.onnx.json --out items.jsonl.xz
"""

from __future__ import annotations

import argparse
import json
import lzma
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from scripts.train_tiny.prose import VOCABS

MARKS = ".,;:!?"
QUOTES = '"()«»'


@dataclass(frozen=True)
class Item:
    """One text, its phonemes, and for each character the (fractional) phoneme where it starts."""

    text: str
    phonemes: list[str]
    char_start: list[float]


class Phonemizer:
    """espeak-ng through piper-tts."""

    def __init__(self, language: str = "en-us") -> None:
        from piper.phonemize_espeak import EspeakPhonemizer

        self._espeak, self.language = EspeakPhonemizer(), language
        self.word = lru_cache(200_000)(self._word)

    def sentences(self, text: str) -> list[str]:
        """Return the phonemes of a text, a space between its sentences."""
        parts = self._espeak.phonemize(self.language, text)
        spoken = [phoneme for index, part in enumerate(parts) for phoneme in ([" "] if index else []) + part]
        return [phoneme for phoneme in spoken if phoneme != "-"]  # espeak's mark of a liaison, which no model knows

    def _word(self, word: str) -> int:
        parts = self._espeak.phonemize(self.language, word)
        return max(1, sum(mark not in MARKS + " ˈˌ" for part in parts for mark in part))

    def item(self, text: str) -> Item | None:
        """Return a text with its phonemes; None if they cannot be matched."""
        phonemes = self.sentences(text)
        if not phonemes:
            return None
        groups = _groups(phonemes)
        words = _spans(text)
        matched = _match([self.word(text[a:b]) for a, b in words], [b - a for a, b in groups])
        if matched is None:
            return None
        starts = _char_starts(text, words, groups, matched, len(phonemes))
        return Item(text, phonemes, starts)


def _groups(phonemes: list[str]) -> list[tuple[int, int]]:
    """Return the runs of phonemes between spaces and marks."""
    groups, start = [], None
    for index, phoneme in enumerate([*phonemes, " "]):
        if phoneme in MARKS + " ":
            if start is not None:
                groups.append((start, index))
            start = None
        elif start is None:
            start = index
    return groups


def _spans(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of every run of characters between spaces and marks."""
    spans, start = [], None
    for index, char in enumerate(text + " "):
        if char in MARKS + QUOTES + " ":
            if start is not None:
                spans.append((start, index))
            start = None
        elif start is None:
            start = index
    return spans


def _match(words: list[int], groups: list[int]) -> list[tuple[int, int, int, int]] | None:
    """Return the cheapest pairing of runs of 1-3 words with runs of 1-3 groups: (word, end, group, end)."""
    best: dict[tuple[int, int], tuple[float, tuple[int, int] | None]] = {(0, 0): (0.0, None)}
    for i in range(len(words) + 1):
        for j in range(len(groups) + 1):
            if (i, j) not in best:
                continue
            for di, dj in ((1, 1), (2, 1), (3, 1), (1, 2), (1, 3)):
                if i + di > len(words) or j + dj > len(groups):
                    continue
                gap = abs(sum(words[i : i + di]) - sum(groups[j : j + dj]))
                cost = best[i, j][0] + gap + 0.5 * (di + dj - 2)
                if cost < best.get((i + di, j + dj), (np.inf, None))[0]:
                    best[i + di, j + dj] = (cost, (i, j))
    at: tuple[int, int] | None = (len(words), len(groups))
    if not words or at not in best:
        return None
    steps = []
    while at is not None and best[at][1] is not None:
        i, j = best[at][1]  # type: ignore[misc]
        steps.append((i, at[0], j, at[1]))
        at = (i, j)
    return steps[::-1]


def _char_starts(
    text: str,
    words: list[tuple[int, int]],
    groups: list[tuple[int, int]],
    matched: list[tuple[int, int, int, int]],
    total: int,
) -> list[float]:
    known_chars, known_phonemes = [], []
    for word, word_end, group, group_end in matched:
        known_chars += [words[word][0], words[word_end - 1][1]]
        known_phonemes += [groups[group][0], groups[group_end - 1][1]]
    known_chars.append(len(text))
    known_phonemes.append(total)
    positions = np.interp(np.arange(len(text)), known_chars, known_phonemes)
    return [round(float(p), 3) for p in np.maximum.accumulate(positions)]


def piper_ids(phonemes: list[str], id_map: dict[str, list[int]]) -> list[int] | None:
    """Return Piper's input: ^ _ then every phoneme followed by _ and $; None for an unknown phoneme."""
    ids = [id_map["^"][0], id_map["_"][0]]
    for phoneme in phonemes:
        if phoneme not in id_map:
            return None
        ids += [id_map[phoneme][0], id_map["_"][0]]
    return [*ids, id_map["$"][0]]


def prepare(texts: list[str], id_map: dict[str, list[int]], language: str = "en-us") -> list[dict[str, Any]]:
    """Return a record with all that the synthesis needs for each text; positions in tenths of a phoneme."""
    phonemizer = Phonemizer(language)
    records = []
    for text in texts:
        if set(text) - set(VOCABS[language]):
            continue
        item = phonemizer.item(text)
        if item and piper_ids(item.phonemes, id_map):
            places = [round(10 * start) for start in item.char_start]
            records.append({"text": text, "phonemes": "".join(item.phonemes), "char_start": places})
    return records


def save_items(records: list[dict[str, Any]], path: Path) -> None:
    """Write items as compressed JSON lines."""
    path.write_bytes(lzma.compress("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records).encode()))


def load_items(path: Path, id_map: dict[str, list[int]]) -> list[dict[str, Any]]:
    """Read what `save_items` wrote, and add Piper's input."""
    items = [json.loads(line) for line in lzma.decompress(path.read_bytes()).decode().splitlines()]
    for item in items:
        item["ids"] = piper_ids(list(item["phonemes"]), id_map)
        item["char_start"] = [place / 10 for place in item["char_start"]]
    return items


def main() -> None:
    """Write the items as compressed JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--voice", type=Path, required=True, help="the Piper voice's .onnx.json")
    parser.add_argument("--language", choices=list(VOCABS), default="en-us")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    id_map = json.loads(args.voice.read_text())["phoneme_id_map"]
    records = prepare(args.texts.read_text().splitlines(), id_map, args.language)
    save_items(records, args.out)
    print(f"{len(records)} items")


if __name__ == "__main__":
    main()
