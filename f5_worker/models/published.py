"""The published checkpoints and recognisers: which files of which hub repository each of them consists of.

`published.json` is the table; its `_about` says where each value comes from and what is not known.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

ASSUMED_MODEL_BYTES = 1_400_000_000  # for a model file of unknown size: F5TTS_v1_Base is 1,348,435,761
ASSUMED_SMALL_BYTES = 60_000_000
HUGGING_FACE_WEIGHTS, CTRANSLATE2_WEIGHTS = "model.safetensors", "model.bin"  # of a recogniser, in either layout


@dataclass(frozen=True)
class HubFile:
    """One file of a hub repository. `size_bytes` and `sha256` are None where they are not known."""

    repo: str
    revision: str
    path: str
    size_bytes: int | None = None
    sha256: str | None = None

    @property
    def is_at_commit(self) -> bool:
        """Return whether the revision is a commit, which has one content, and not a branch, which moves."""
        return re.fullmatch("[0-9a-f]{40}", self.revision) is not None

    @property
    def folder(self) -> str:
        """Return the name of the repository's directory in a hub cache: `models--SWivid--F5-TTS`."""
        return "models--" + self.repo.replace("/", "--")

    @property
    def at_most_bytes(self) -> int:
        """Return the size that has to be free for the file: its own, or an assumed one where it is not known."""
        if self.size_bytes is not None:
            return self.size_bytes
        return ASSUMED_MODEL_BYTES if self.path.endswith((".safetensors", ".pt")) else ASSUMED_SMALL_BYTES


@dataclass(frozen=True)
class Checkpoint:
    """A published model: its files and its properties.

    arch: one of the architectures that `models/f5/config.py` knows by name.
    languages: ISO 639-1 codes, the main one first.
    licence: of the weights, as the hub states it.
    """

    name: str
    model: HubFile
    vocab: HubFile
    vocoder: HubFile
    arch: str
    languages: tuple[str, ...]
    licence: str

    @property
    def unknown(self) -> str | None:
        """Return what is not known of the files beforehand, or None if they are pinned.

        The vocabulary, a text, is pinned by its commit; the weights also by their sha256.
        """
        unknown = [] if self.model.is_at_commit else ["commit of its repository"]
        unknown += [] if self.model.sha256 else ["sha256 of its weights"]
        return " and no ".join(unknown) or None

    def at(self, commit: str) -> Checkpoint:
        """Return the checkpoint at another commit, of which no size or sha256 is known."""
        model, vocab = (
            replace(file, revision=commit, size_bytes=None, sha256=None) for file in (self.model, self.vocab)
        )
        return replace(self, model=model, vocab=vocab)


@dataclass(frozen=True)
class PublishedRecogniser:
    """A published Whisper model, in Hugging Face's layout or CTranslate2's: its files and licence."""

    name: str
    files: tuple[HubFile, ...]
    licence: str

    @property
    def weights(self) -> HubFile:
        """Return the file that holds the weights."""
        return next(file for file in self.files if file.path in (HUGGING_FACE_WEIGHTS, CTRANSLATE2_WEIGHTS))


def is_hugging_face(directory: Path) -> bool:
    """Return whether a recogniser's directory has Hugging Face's layout; that is taken where it has both."""
    return (directory / HUGGING_FACE_WEIGHTS).is_file()


def recogniser_files(directory: Path) -> tuple[str, ...]:
    """Return the names of the files that loading a recogniser needs, in the layout that its directory has."""
    if is_hugging_face(directory):
        return "config.json", "generation_config.json", HUGGING_FACE_WEIGHTS, "tokenizer.json"
    return "config.json", CTRANSLATE2_WEIGHTS, "tokenizer.json"


@lru_cache(maxsize=1)
def published() -> dict[str, Checkpoint]:
    """Return all published checkpoints by name."""
    table = _table()
    found = {}
    for name, entry in table["models"].items():
        repository = {"repo": entry["repo"], "revision": entry["revision"]}
        found[name] = Checkpoint(
            name,
            model=HubFile(**repository, **entry["model"]),
            vocab=HubFile(**repository, **entry["vocab"]),
            vocoder=HubFile(**table["vocoders"][entry["vocoder"]]),
            arch=entry["arch"],
            languages=tuple(entry["languages"]),
            licence=entry["licence"],
        )
    return found


@lru_cache(maxsize=1)
def recognisers() -> dict[str, PublishedRecogniser]:
    """Return all published recognisers by name."""
    found = {}
    for name, entry in _table()["recognisers"].items():
        files = tuple(HubFile(entry["repo"], entry["revision"], **file) for file in entry["files"])
        found[name] = PublishedRecogniser(name, files, entry["licence"])
    return found


@lru_cache(maxsize=1)
def default_vocoder() -> HubFile:
    """Return the vocoder of every mel model here; for a fine-tune that comes without one."""
    return HubFile(**_table()["vocoders"]["vocos-mel-24khz"])


def _table() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("published.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table
