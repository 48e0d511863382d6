"""The pieces that are spoken, in a directory beside the audiobook: what is there is not spoken again.

A piece is two files named by a hash of its job, so by everything that decides its sound: the audio, and what was told
of it. Both are written beside their places and renamed, the audio first: a piece whose second file is there is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from f5_worker.storage import files

VERSION = 1  # of what a piece's files mean
_OUTSIDE_THE_SOUND = frozenset({"timings", "delivery", "voices_key"})


@dataclass(frozen=True)
class SpokenWord:
    """A word of the text and when it is spoken."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class SpokenPiece:
    """What is known of a piece that is spoken.

    Attributes:
        n_samples: its length at 24 kHz.
        engine_s: seconds that the worker's device took for it.
        words: None if they were not asked for; aligned: whether their times were measured.
        voices: the recordings of the voices that spoke it; empty where that is not known.
    """

    n_samples: int
    engine_s: float
    model: str
    warnings: tuple[str, ...] = ()
    words: tuple[SpokenWord, ...] | None = None
    aligned: bool = False
    voices: str = ""


def piece_key(job: Mapping[str, Any]) -> str:
    """Return the name of a job's piece: a hash of what decides its sound."""
    sound = {name: value for name, value in job.items() if name not in _OUTSIDE_THE_SOUND}
    text = json.dumps([VERSION, sound], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class PieceStore:
    """A directory of spoken pieces.

    Attributes:
        voices: the recordings of the voices that speak now: pieces of others are not found. Empty: all are.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.voices = ""

    def find(self, key: str, *, with_words: bool) -> SpokenPiece | None:
        """Return a piece; None if it is not spoken yet, or without the times of words that are wanted."""
        try:
            known = json.loads((self.directory / f"{key}.json").read_text(encoding="utf-8"))
            words = known["words"]
            piece = SpokenPiece(
                **{
                    **known,
                    "warnings": tuple(known["warnings"]),
                    "words": None if words is None else tuple(SpokenWord(**word) for word in words),
                }
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        is_there = self.audio_path(key).is_file() and (piece.words is not None or not with_words)
        return piece if is_there and self.voices in ("", piece.voices) else None

    def save(self, key: str, audio: bytes, piece: SpokenPiece) -> None:
        """Store a piece, spoken by `voices`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        files.write(self.audio_path(key), audio)
        known = asdict(replace(piece, voices=self.voices))
        files.write(self.directory / f"{key}.json", json.dumps(known, ensure_ascii=False).encode())

    def remove(self, key: str) -> None:
        """Remove a piece."""
        (self.directory / f"{key}.json").unlink()
        self.audio_path(key).unlink()

    def audio_path(self, key: str) -> Path:
        """Return the path of a piece's audio."""
        return self.directory / f"{key}.flac"
