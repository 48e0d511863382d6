"""Broken caption files of every kind: read or refused, never a crash, and never a time among the words."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

from f5_worker.errors import SubtitlesUnreadable
from f5_worker.transcripts import library
from f5_worker.transcripts.library_child import read_captions
from f5_worker.transcripts.parse import parse_transcript
from tests.transcripts.samples import EXACT, STARTS

N_MUTANTS = 10_000
SIGNS = "0123456789:,.->[]{}<>&;\n\n \t\"'abcxyzé：\ufeff\u200b"
FILES = {**EXACT, **STARTS}
# Times as any of these formats writes them; a mutant may lose so many letters of one that nothing tells it any more.
TIME = re.compile(
    r"\d{1,2}[:;]\d\d[:;]\d\d[.,:;]\d\d|\d:\d\d[.,]\d{3}|\d\s?-->\s?\d|\d\}\{\d|\d\]\[\d|begin=|SYNC Start"
)
MAX_SHARE = 1e-3


def mutate(text: str, random: random.Random) -> str:
    """Return a text with one to six letters, lines or stretches changed, as editors, copying and downloads do."""
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        kind, length = random.randrange(9), len(text)
        at = random.randrange(length) if length else 0
        until = min(length, at + random.randrange(1, 30))
        if kind < 6:
            changes = ("", random.choice(SIGNS) + text[at : at + 1], random.choice(SIGNS), "", "", text[at:until] * 2)
            end = (at + 1, at + 1, at + 1, length, until, until)[kind]
            text = text[:at] + changes[kind] + text[end:]
            continue
        lines = text.split("\n")
        one, other = random.randrange(len(lines)), random.randrange(len(lines))
        if kind == 6:
            lines.insert(one, lines[other])
        elif kind == 7:
            lines[one], lines[other] = lines[other], lines[one]
        else:
            del lines[one]
        text = "\n".join(lines)
    return text


def run_here(text: str, kind: library.PlayerFormat) -> dict[str, Any]:
    """Do what the process of library_child.py does, without the 0.2 s to start it."""
    answer: dict[str, Any] = json.loads(json.dumps(read_captions(text.encode(errors="replace").decode(), kind)))
    return library.check_answer(answer, kind)


@pytest.mark.parametrize(
    ("name", "n_mutants"),
    [
        *(pytest.param(name, 40, id=name) for name in ("srt", "vtt", "whisper's output", "lrc", "ass")),
        *(pytest.param(name, N_MUTANTS, id=f"{name}, all", marks=pytest.mark.slow) for name in FILES),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_broken_files(name: str, n_mutants: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_run", run_here)
    chance = random.Random(name)
    with_times = []
    for _ in range(n_mutants):
        text = mutate(FILES[name], chance)
        try:
            transcript = parse_transcript(text)
        except SubtitlesUnreadable:
            continue
        if TIME.search(transcript.text):
            with_times.append(text)
    assert len(with_times) <= MAX_SHARE * n_mutants, with_times[:3]
