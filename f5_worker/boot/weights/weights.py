"""A complete model directory for the engine: found, or made once and kept where the next worker finds it.

Order: what ships with the code or is given as a path > RunPod's cached model > baked into the image > a copy
on the volume > the hub. Each source that cannot be used leaves a note and the next one is tried.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from f5_worker.boot.weights import copies, recipes
from f5_worker.boot.weights.recipes import Recipe, SourceProblem, Tools
from f5_worker.errors import ModelUnavailable
from f5_worker.models.published import published
from f5_worker.storage import files as cache

WeightsSource = Literal["shipped", "runpod-cache", "baked", "volume", "hub"]
CopyPrecision = Literal["fp16", "fp32"]

LOCAL = Path("/tmp/f5-worker/models")  # noqa: S108 - the container's own disk, for what no volume takes
REPOSITORY = Path(__file__).resolve().parents[3]
WAIT_S = 120.0  # for another worker that makes the same copy; after that this one makes its own
RESERVE_BYTES = 64 << 20  # left free on every disk


@dataclass(frozen=True)
class WeightRoots:
    """Where models may lie. `caches` are the places for made copies, best first."""

    shipped: Path = REPOSITORY / "models"
    baked: Path = Path("/opt/models")
    hub_caches: tuple[Path, ...] = ()
    caches: tuple[Path, ...] = ()
    voices: tuple[Path, ...] = (REPOSITORY / "models" / "f5-tiny" / "voices",)

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        *,
        models_dir: Path,
        cache_dir: Path,
        volume: Path | None = None,
        local: Path = LOCAL,
    ) -> WeightRoots:
        """The layouts of RunPod and of huggingface_hub (HF_HUB_CACHE, HF_HOME; worker-vllm sets HF_HOME to .../hub)."""
        home = Path(environ.get("HF_HOME") or Path(environ.get("HOME") or "/root", ".cache", "huggingface"))
        named = [environ.get("HF_HUB_CACHE"), environ.get("HUGGINGFACE_HUB_CACHE")]
        hubs = [Path(name) for name in named if name] + [home / "hub", home]
        hubs = [volume / "huggingface-cache" / "hub", *hubs] if volume else hubs
        # Where no volume is mounted its directory is not made: the files would lie on the container's own disk,
        # and a volume mounted later would hide them.
        absent = volume is not None and cache_dir.is_relative_to(volume) and not volume.is_dir()
        places = [*([] if absent else [cache_dir / "models"]), local]
        return cls(baked=models_dir, hub_caches=tuple(dict.fromkeys(hubs)), caches=tuple(dict.fromkeys(places)))


@dataclass(frozen=True)
class Located:
    """A directory that the engine can load, and how it came to be. `made` is true if this call made it."""

    directory: Path
    source: WeightsSource
    revision: str | None = None
    notes: tuple[str, ...] = ()
    made: bool = False


@dataclass(frozen=True)
class Place:
    """A disk that could hold a copy. `problem` is None where it would be used."""

    directory: Path
    free_bytes: int | None
    needed_bytes: int
    problem: str | None


class _PlaceProblem(Exception):
    """Nothing can be put here; elsewhere it may work."""


def resolve(
    model: str,
    *,
    roots: WeightRoots,
    offline: bool = False,
    precision: CopyPrecision = "fp16",
    deep: bool = False,
    dry: bool = False,
    tools: Tools | None = None,
    wait_s: float = WAIT_S,
) -> Located:
    """Find or make the directory of a model.

    Args:
        offline: download nothing.
        deep: compare sha256 as well as sizes; reads every byte.
        dry: change nothing; `directory` is then where the copy would be made.

    Raises:
        ModelUnavailable: no source had it; the message says what was wrong with each.
    """
    return _Search(model, roots, offline, precision, deep, dry, tools or Tools(), wait_s).run()


def preflight(needed_bytes: int, roots: WeightRoots) -> list[Place]:
    """The places for copies with what they have and what is needed. Changes nothing."""
    return [_look_at(directory, needed_bytes) for directory in roots.caches]


def needed_bytes(model: str, roots: WeightRoots, precision: CopyPrecision = "fp16") -> int:
    """Room that making a copy of a published model takes at most; 0 for a model that is none."""
    checkpoint = published().get(model)
    if checkpoint is None:
        return 0
    return recipes.of_checkpoint(checkpoint, precision, ()).needed_bytes(roots.hub_caches)


@dataclass
class _Search:
    model: str
    roots: WeightRoots
    offline: bool
    precision: CopyPrecision
    deep: bool
    dry: bool
    tools: Tools
    wait_s: float
    notes: list[str] = field(default_factory=list)
    distrusted: bool = False  # the hub caches: what they hold for this model could not be used

    def run(self) -> Located:
        found = self._given() or self._runpod() or self._baked() or self._volume() or self._hub()
        if found is None:
            raise ModelUnavailable(self._nothing())
        return replace(found, notes=tuple(dict.fromkeys(self.notes)))

    # -- sources, in order --------------------------------------------------------------------------

    def _given(self) -> Located | None:
        """What the setting names itself: an absolute path, or a directory beside the code."""
        directory = self.roots.shipped / self.model  # an absolute path stands for itself
        return self._directory(directory, "shipped") if directory.is_dir() else None

    def _runpod(self) -> Located | None:
        checkpoint = published().get(self.model)
        cached = recipes.find_cached(checkpoint.model, self.roots.hub_caches) if checkpoint else None
        if checkpoint is None or cached is None:
            return None
        revision = cached[1]
        if revision != checkpoint.model.revision:
            self.notes.append(f"the hub cache has revision {revision[:12]}, not the one that is known; it is used")
        if self._is_baked(revision):
            self.notes.append("the image has the same revision, converted already")
            return Located(self.roots.baked / self.model, "baked", revision)
        return self._make(
            recipes.of_checkpoint(checkpoint, self.precision, self.roots.voices, revision), "runpod-cache"
        )

    def _baked(self) -> Located | None:
        directory = self.roots.baked / self.model
        return self._directory(directory, "baked") if directory.is_dir() else None

    def _volume(self) -> Located | None:
        checkpoint = published().get(self.model)
        if checkpoint is None:
            return None
        return self._ready(recipes.of_checkpoint(checkpoint, self.precision, ()), "volume")

    def _hub(self) -> Located | None:
        checkpoint = published().get(self.model)
        if checkpoint is None:
            return None
        if self.offline:
            self.notes.append("the hub: not asked, HF_HUB_OFFLINE is set")
            return None
        return self._make(recipes.of_checkpoint(checkpoint, self.precision, self.roots.voices), "hub")

    @property
    def _hub_caches(self) -> tuple[Path, ...]:
        return () if self.distrusted else self.roots.hub_caches

    # -- what they have in common -------------------------------------------------------------------

    def _directory(self, directory: Path, source: WeightsSource) -> Located | None:
        """As it is, if it is complete; else a copy made from it, for a fine-tune without vocoder or as `.pt`."""
        problem = copies.defect(directory, deep=True) if self.deep and self._has_manifest(directory) else None
        problem = problem or copies.lacking(directory)
        if problem is None:
            manifest = copies.read_manifest(directory)
            return Located(directory, source, manifest.revision if manifest else None)
        self.notes.append(f"{source} directory of {self.model}: {problem}")
        if self._has_manifest(directory):
            return None  # it was made by this program and is damaged: no source for a copy
        try:
            recipe = recipes.of_directory(directory, self.precision, self.roots.voices)
        except SourceProblem as error:
            self.notes.append(str(error))
            return None
        except OSError as error:
            self.notes.append(f"{source} directory of {self.model}: {cache.explain(error)}")
            return None
        return self._make(recipe, source) if recipe else None

    def _has_manifest(self, directory: Path) -> bool:
        return (directory / copies.MANIFEST).exists()

    def _is_baked(self, revision: str) -> bool:
        manifest = copies.read_manifest(self.roots.baked / self.model)
        if manifest is None or (manifest.revision, manifest.precision) != (revision, self.precision):
            return False
        return copies.defect(self.roots.baked / self.model, deep=self.deep) is None

    def _ready(self, recipe: Recipe, source: WeightsSource) -> Located | None:
        """A whole copy in any of the places."""
        for place in self.roots.caches:
            target = _target(place, recipe)
            if not target.is_dir():
                continue
            problem = copies.defect(target, deep=self.deep)
            if problem is None:
                return Located(target, source, recipe.revision)
            self.notes.append(f"copy in {place}: {problem}; not used")
        return None

    def _make(self, recipe: Recipe, source: WeightsSource) -> Located | None:
        """A copy that is there already, or a new one in the first place that takes it."""
        if ready := self._ready(recipe, source):
            return ready
        for place in self.roots.caches:
            try:
                return self._make_at(place, recipe, source)
            except _PlaceProblem as error:
                self.notes.append(str(error))
            except SourceProblem as error:
                self.notes.append(f"{source}: {error}")
                self.distrusted = True
                return None
        return None

    def _make_at(self, place: Path, recipe: Recipe, source: WeightsSource) -> Located:
        target = _target(place, recipe)
        look = _look_at(place, recipe.needed_bytes(self._hub_caches))
        if look.problem:
            raise _PlaceProblem(look.problem)
        if self.dry:
            self.notes.append(f"a copy would be made in {place}, {_size(look.needed_bytes)} needed")
            return Located(target, source, recipe.revision)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            cache.sweep(target.parent)
            with cache.lease(target.parent / ".lease", wait_s=self.wait_s, done=lambda: _whole(target)) as turn:
                made = not _whole(target, deep=self.deep)
                if made:
                    self._build(recipe, source, target, turn.heartbeat)
        except OSError as error:
            raise _PlaceProblem(_disk_line(place, error, look.needed_bytes)) from None
        return Located(target, source, recipe.revision, made=made)

    def _build(self, recipe: Recipe, source: WeightsSource, target: Path, heartbeat: recipes.Heartbeat) -> None:
        temporary = cache.temporary_beside(target)
        try:
            temporary.mkdir()
            origin = recipes.build_model_dir(
                recipe,
                temporary,
                hub_caches=self._hub_caches,
                offline=self.offline,
                tools=self.tools,
                heartbeat=heartbeat,
            )
            copies.write_manifest(
                temporary, source=source, revision=recipe.revision, precision=recipe.precision, origin=origin
            )
            copies.publish(temporary, target, deep=self.deep)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _nothing(self) -> str:
        known = ", ".join(sorted(published()))
        tried = "; ".join(dict.fromkeys(self.notes)) or f"no directory of that name, and no published model ({known})"
        return (
            f"F5_MODEL={self.model!r} could not be had: {tried}. Put the model's directory into {self.roots.baked}, "
            "bake it into the image (BAKE_MODEL), set the endpoint's cached model, or allow the hub"
        )


def _target(place: Path, recipe: Recipe) -> Path:
    return place / recipe.key / recipe.name  # the last part is the model's name: the engine knows its shape by that


def _whole(target: Path, deep: bool = False) -> bool:
    return copies.defect(target, deep=deep) is None


def _look_at(directory: Path, needed: int) -> Place:
    """Measured at the nearest directory there is; a disk that does not answer is a problem like any other."""
    parents: Iterable[Path] = [directory, *directory.parents]
    try:
        there = next(path for path in parents if path.is_dir())
        disk = os.statvfs(there)
    except (OSError, StopIteration) as error:
        reason = cache.explain(error) if isinstance(error, OSError) else "is not there"
        return Place(directory, None, needed, f"{directory}: {reason}")
    free = disk.f_bavail * disk.f_frsize
    problem = None
    if disk.f_flag & os.ST_RDONLY or not os.access(there, os.W_OK | os.X_OK):
        problem = f"{directory}: cannot be written to"
    elif free < needed + RESERVE_BYTES:
        problem = f"{directory}: {_size(free)} free, {_size(needed + RESERVE_BYTES)} needed"
    return Place(directory, free, needed, problem)


def _disk_line(place: Path, error: OSError, needed: int) -> str:
    try:
        free = _size(cache.free_bytes(place))
    except OSError:
        free = "unknown"
    return f"{place}: {cache.explain(error)} ({free} free, {_size(needed)} needed)"


def _size(n_bytes: int) -> str:
    return f"{n_bytes:,} bytes"
