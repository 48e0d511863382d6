"""The checkpoints that jobs may choose: the default one is always loaded, others when a job first asks for them."""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from f5_worker.engine.types import ModelRunner
from f5_worker.errors import OutOfMemory, UnknownModel
from f5_worker.log import logger
from f5_worker.models.f5.tokenizer import Vocabulary
from f5_worker.models.published import published
from f5_worker.settings import Settings
from f5_worker.storage.files import sha256_of
from f5_worker.text.traits import TextTraits

if TYPE_CHECKING:
    from f5_worker.models.f5.cuda.attention_choice import Measured

MAX_FINGERPRINTS = 64
# All that is read of a checkpoint. Beside them are notes for people, and where and when a copy was made.
READ_FILES = ("arch.json", "model.safetensors", "text.json", "vocab.txt", "vocoder.safetensors")


class Model(ModelRunner[Any], Protocol):
    """A loaded checkpoint, as jobs see it."""

    @property
    def name(self) -> str:
        """Return the name by which jobs choose it."""

    @property
    def replicas(self) -> Sequence[Model]:
        """Return the same checkpoint on the second device and each further one, in their order."""

    @property
    def directory(self) -> Path:
        """Return where its files are."""

    @property
    def engine(self) -> Literal["own", "upstream"]:
        """Return what runs it: this worker's own engine, or f5-tts."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Return the tokens that it knows."""

    @property
    def traits(self) -> TextTraits:
        """Return what it has learned of written text."""

    @property
    def device(self) -> str:
        """Return the name of its device, such as `cpu` or `NVIDIA L4`."""

    @property
    def precision(self) -> str:
        """Return its precision: `fp32`, `fp16` or `bf16`."""

    @property
    def n_bytes(self) -> int:
        """Return the memory that its weights take, on each device."""

    @property
    def device_bytes(self) -> tuple[int, int] | None:
        """Return the memory of the device that this process has reserved, and all of it; None on a CPU."""

    @property
    def attention(self) -> Mapping[str, Measured]:
        """Return what computes attention for each class of rows; empty where nothing was measured."""


@dataclass
class _Entry:
    model: Model
    n_users: int = 0


class ModelRegistry:
    """Loads checkpoints on demand and unloads those unused for longest. Safe to use from many threads.

    A model that is in use is never unloaded.

    Args:
        default: the checkpoint of F5_MODEL; it stays loaded.
        directories: of the others, by name (F5_EXTRA_MODELS).
        load: loads a checkpoint, given its name and directory; takes seconds.
    """

    def __init__(
        self,
        default: Model,
        directories: Mapping[str, Path],
        load: Callable[[str, Path], Model],
        settings: Settings,
    ) -> None:
        self.default = default
        self._directories = dict(directories)
        self._load = load
        self._max_bytes = settings.models_memory_mb * 1_000_000
        self._loaded: OrderedDict[str, _Entry] = OrderedDict()  # the least recently used first
        self._lock = threading.Lock()
        self._hashing = threading.Lock()  # once, however many ask for it at the same time
        self._fingerprint = functools.lru_cache(MAX_FINGERPRINTS)(_sha256_of_files)

    def names(self) -> list[str]:
        """Return the names that jobs may choose, the default first."""
        return list(dict.fromkeys([self.default.name, *self._directories]))

    def languages(self, model: Model) -> tuple[str, ...]:
        """Return the languages of a checkpoint, the main one first: its own word, or that of the published table."""
        checkpoint = published().get(model.name)
        return model.traits.languages or (checkpoint.languages if checkpoint else ())

    def fingerprint(self, name: str | None) -> str:
        """Return a hash of what decides a checkpoint's sound; None is the default. Reads gigabytes, once in a process.

        Raises:
            UnknownModel: this worker does not have it.
        """
        directory = self.default.directory
        if name is not None and name != self.default.name:
            self.check(name)
            directory = self._directories[name]
        with self._hashing:
            return self._fingerprint(directory)

    def check(self, name: str) -> None:
        """Raise if this worker does not have the checkpoint.

        Raises:
            UnknownModel: its message names those that it has.
        """
        if name not in self.names():
            raise UnknownModel(self._unknown_message(name))

    @contextmanager
    def use(self, name: str | None) -> Iterator[Model]:
        """Yield a checkpoint that stays loaded at least until the end of the block; None is the default.

        Raises:
            UnknownModel: this worker does not have it.
            ModelUnavailable: its files are broken.
            OutOfMemory: it does not fit while the others are in use.
        """
        if name is None or name == self.default.name:
            yield self.default
            return
        entry = self._acquire(name)
        try:
            yield entry.model
        finally:
            with self._lock:
                entry.n_users -= 1

    def _acquire(self, name: str) -> _Entry:
        self.check(name)
        with self._lock:  # held while loading: two loads at once would need memory for both
            if name not in self._loaded:
                self._free_memory_for(self._directories[name])
                logger.info("loading %s", name)
                self._loaded[name] = _Entry(self._load(name, self._directories[name]))
            self._loaded.move_to_end(name)
            entry = self._loaded[name]
            entry.n_users += 1
            return entry

    def _free_memory_for(self, directory: Path) -> None:
        """Unload the least recently used checkpoints until one as large as the file in `directory` fits."""
        needed_bytes = (directory / "model.safetensors").stat().st_size
        unused = [name for name, entry in self._loaded.items() if not entry.n_users]
        while self._used_bytes() + needed_bytes > self._max_bytes and unused:
            name = unused.pop(0)
            del self._loaded[name]
            logger.info("unloaded %s", name)
        if self._used_bytes() + needed_bytes > self._max_bytes:
            raise OutOfMemory(
                f"this model takes {needed_bytes / 1e6:.0f} MB beside {self._used_bytes() / 1e6:.0f} MB in use, "
                f"at most {self._max_bytes / 1e6:.0f} MB (F5_MODELS_MEMORY_MB); send the job again later"
            )

    def _used_bytes(self) -> int:
        return self.default.n_bytes + sum(entry.model.n_bytes for entry in self._loaded.values())

    def _unknown_message(self, name: str) -> str:
        available = f"this worker has {', '.join(self.names())}"
        if name in published():
            return f"{name} is known, but this worker did not fetch it; add it to F5_EXTRA_MODELS ({available})"
        close = difflib.get_close_matches(name, self.names(), n=1)
        return f"the model is unknown; {f'did you mean {close[0]!r}? ' if close else ''}{available}"


def _sha256_of_files(directory: Path) -> str:
    files = {name: sha256_of(directory / name) for name in READ_FILES if (directory / name).is_file()}
    name = "" if "arch.json" in files else directory.name  # which then says what the network is: see `read_config`
    return hashlib.sha256(json.dumps([name, files]).encode()).hexdigest()
