"""scripts/audiobook/store.py: pieces by content, whole or not there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.audiobook.store import PieceStore, SpokenPiece, SpokenWord, piece_key

PIECE = SpokenPiece(24_000, 0.5, "m", ("w",), (SpokenWord("a", 0.0, 0.5),), True)
JOB = {"text": "Hello.", "voice": "ann", "seed": 1}


def test_a_piece_is_found_by_what_decides_its_sound(tmp_path: Path) -> None:
    store = PieceStore(tmp_path / "a" / "work")
    key = piece_key(JOB)
    assert store.find(key, with_words=False) is None
    store.save(key, b"sound", PIECE)
    assert store.find(key, with_words=True) == PIECE
    assert store.audio_path(key).read_bytes() == b"sound"
    assert len(list(store.directory.iterdir())) == 2
    assert piece_key({**JOB, "timings": "words", "voices_key": "secret"}) == key
    assert len({piece_key({**JOB, name: "x"}) for name in ("text", "voice", "seed", "quality", "language")}) == 5


def test_words_that_are_wanted_must_be_there(tmp_path: Path) -> None:
    store = PieceStore(tmp_path)
    store.save("k", b"sound", SpokenPiece(24_000, 0.5, "m"))
    assert store.find("k", with_words=False) is not None
    assert store.find("k", with_words=True) is None


def test_a_piece_of_a_voice_that_was_replaced_is_not_there(tmp_path: Path) -> None:
    store = PieceStore(tmp_path)
    store.save("of an unknown voice", b"sound", PIECE)
    store.voices = "first"
    store.save("k", b"sound", PIECE)
    spoken = replace(PIECE, voices="first")
    assert store.find("k", with_words=True) == spoken
    assert store.find("of an unknown voice", with_words=True) is None
    store.voices = "second"
    assert store.find("k", with_words=True) is None
    assert PieceStore(tmp_path).find("k", with_words=True) == spoken
    assert PieceStore(tmp_path).find("of an unknown voice", with_words=True) == PIECE
    store.remove("k")
    assert PieceStore(tmp_path).find("k", with_words=True) is None
    assert len(list(tmp_path.iterdir())) == 2


def test_two_runs_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Each writes beside the files under names of its own; with one name, some would rename what others write."""

    def save(n: int) -> None:
        for _ in range(20):
            PieceStore(tmp_path).save("k", b"sound" * n, PIECE)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(save, range(1, 9)))
    assert PieceStore(tmp_path).find("k", with_words=True) == PIECE
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"n_samples": 1}', b'{"words": [], "warnings": [], "x": 1}'])
def test_what_was_cut_off_is_not_there(tmp_path: Path, content: bytes) -> None:
    store = PieceStore(tmp_path)
    store.save("k", b"sound", PIECE)
    (tmp_path / "k.json").write_bytes(content)
    assert store.find("k", with_words=False) is None
    store.save("k", b"sound", PIECE)
    store.audio_path("k").unlink()
    assert store.find("k", with_words=False) is None
