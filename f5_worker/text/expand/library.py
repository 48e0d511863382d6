"""The grammars that this environment was built with (`scripts/build_grammars.py`), loaded when first needed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from f5_worker.log import logger
from f5_worker.text.expand.grammar import Grammar

LANGUAGES = ("de", "en", "es", "fr", "hi", "it", "pt", "zh")  # chosen by measurement, see docs/text.md
DIRECTORY = Path(sys.prefix) / "share" / "f5-worker" / "grammars"
_LOCKS = {language: threading.Lock() for language in LANGUAGES}
_loaded: dict[str, Grammar | None] = {}


def grammar(language: str) -> Grammar | None:
    """Return a language's grammar, loaded at its first use in some 0.1 s; None if there is none."""
    lock = _LOCKS.get(language)
    if lock is None:
        return None
    with lock:
        if language not in _loaded:
            _loaded[language] = _load(language)
        return _loaded[language]


@lru_cache(len(LANGUAGES))
def abbreviations(language: str) -> Collection[str]:
    """Return the words with a full stop that a language's grammar reads."""
    path = DIRECTORY / f"{language}.abbreviations.txt"
    return frozenset(path.read_text(encoding="utf-8").split("\n")) if path.is_file() else frozenset()


def load_in_background() -> threading.Thread:
    """Load every grammar in a thread, so that no job waits for one; return the thread."""

    def work() -> None:
        for language in LANGUAGES:
            grammar(language)
            abbreviations(language)

    thread = threading.Thread(target=work, name="grammars", daemon=True)
    thread.start()
    return thread


def _load(language: str) -> Grammar | None:
    tagger, verbalizer = (DIRECTORY / f"{language}.{part}.fst" for part in ("tagger", "verbalizer"))
    if tagger.is_file() and verbalizer.is_file():
        return Grammar(tagger, verbalizer)
    logger.warning(
        "the grammar of %r was not built: its numbers are read one by one; run scripts/build_grammars.py", language
    )
    return None
