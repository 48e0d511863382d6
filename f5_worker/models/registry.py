"""The checkpoints that jobs may choose: one that is always there, others loaded when first asked for."""

from __future__ import annotations

import difflib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from f5_worker.models.published import published
from f5_worker.engine.types import ModelRunner
from f5_worker.errors import OutOfMemory, UnknownModel
from f5_worker.log import logger
from f5_worker.settings import Settings
from f5_worker.models.f5.tokenizer import Vocabulary


class Model(ModelRunner[Any], Protocol):
    """A loaded checkpoint, as jobs see it."""

    @property
    def name(self) -> str: ...
    @property
    def vocabulary(self) -> Vocabulary: ...
    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def n_bytes(self) -> int:
        """Memory that its weights take."""


@dataclass
class _Loaded:
    model: Model
    users: int = 0


class Models:
    """Loads and lets go. Safe to use from many threads; a model in use stays.

    Args:
        default: the checkpoint of F5_MODEL; it stays loaded.
        directories: of the others, by name (F5_EXTRA_MODELS).
        load: makes a model of a name and a directory; takes seconds.
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
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()  # the least recently used first
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        return list(dict.fromkeys([self.default.name, *self._directories]))

    def languages(self, name: str) -> tuple[str, ...]:
        """Of a published checkpoint, the main one first; of others nothing is known."""
        checkpoint = published().get(name)
        return checkpoint.languages if checkpoint else ()

    def check(self, name: str) -> None:
        """Return if there is such a checkpoint.

        Raises:
            UnknownModel: with those there are.
        """
        if name not in self.names():
            raise UnknownModel(self._unknown(name))

    @contextmanager
    def use(self, name: str | None) -> Iterator[Model]:
        """A checkpoint, loaded at least until the end of the block; None is the default.

        Raises:
            UnknownModel: this worker has none of that name.
            ModelUnavailable: its files are broken.
            OutOfMemory: there is no room while the others are in use.
        """
        if name is None or name == self.default.name:
            yield self.default
            return
        entry = self._take(name)
        try:
            yield entry.model
        finally:
            with self._lock:
                entry.users -= 1

    def _take(self, name: str) -> _Loaded:
        self.check(name)
        with self._lock:  # held while loading: two loads at once would need the room of both
            if name not in self._loaded:
                self._make_room(self._directories[name])
                logger.info("loading %s", name)
                self._loaded[name] = _Loaded(self._load(name, self._directories[name]))
            self._loaded.move_to_end(name)
            entry = self._loaded[name]
            entry.users += 1
            return entry

    def _make_room(self, directory: Path) -> None:
        """Let the least recently used go until a checkpoint as large as its file fits."""
        needed = (directory / "model.safetensors").stat().st_size
        idle = [name for name, entry in self._loaded.items() if not entry.users]
        while self._used() + needed > self._max_bytes and idle:
            name = idle.pop(0)
            del self._loaded[name]
            logger.info("let %s go", name)
        if self._used() + needed > self._max_bytes:
            raise OutOfMemory(
                f"this model takes {needed / 1e6:.0f} MB beside {self._used() / 1e6:.0f} MB in use, at most "
                f"{self._max_bytes / 1e6:.0f} MB (F5_MODELS_MEMORY_MB); send the job again later"
            )

    def _used(self) -> int:
        return self.default.n_bytes + sum(entry.model.n_bytes for entry in self._loaded.values())

    def _unknown(self, name: str) -> str:
        here = f"this worker has {', '.join(self.names())}"
        if name in published():
            return f"{name} is known, but this worker did not fetch it; add it to F5_EXTRA_MODELS ({here})"
        near = difflib.get_close_matches(name, self.names(), n=1)
        return f"there is no such model; {f'did you mean {near[0]!r}? ' if near else ''}{here}"
