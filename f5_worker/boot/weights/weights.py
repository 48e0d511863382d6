"""The search for a complete model directory: found, or made once and kept where the next worker finds it.

Order: what ships with the code or is given as a path > RunPod's cached model > baked into the image > a copy
on the volume > the hub. Each source that cannot be used leaves a note, and the next one is tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from f5_worker.boot.weights import copies, recipes
from f5_worker.boot.weights.disks import disk_problem, in_bytes, space_problem
from f5_worker.boot.weights.pins import PinPolicy, unpinned_copy
from f5_worker.boot.weights.recipes import UNPINNED, Recipe, SourceProblem, Tools
from f5_worker.errors import ModelUnavailable
from f5_worker.models.published import Checkpoint, published
from f5_worker.storage import files
from f5_worker.storage.staging import staging_directory, sweep

WeightsSource = Literal["shipped", "runpod-cache", "baked", "volume", "hub"]
CopyPrecision = Literal["fp16", "fp32"]

LOCAL = Path("/tmp/f5-worker/models")  # noqa: S108 - the container's own disk, used where no volume can be
REPOSITORY = Path(__file__).resolve().parents[3]
WAIT_S = 120.0  # for another worker that makes the same copy; after that, this one makes its own


@dataclass(frozen=True)
class WeightRoots:
    """The directories in which models are looked for. `caches` are the places for made copies, best first."""

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
        """Return the directories that RunPod and huggingface_hub use in this environment.

        huggingface_hub reads HF_HUB_CACHE and HF_HOME; worker-vllm sets HF_HOME to .../hub.

        Args:
            volume: where RunPod mounts the network volume and cached models; None: there is no volume.
            local: the place for copies on the container's own disk.
        """
        home = Path(environ.get("HF_HOME") or Path(environ.get("HOME") or "/root", ".cache", "huggingface"))
        named = [environ.get("HF_HUB_CACHE"), environ.get("HUGGINGFACE_HUB_CACHE")]
        hubs = [Path(name) for name in named if name] + [home / "hub", home]
        hubs = [volume / "huggingface-cache" / "hub", *hubs] if volume else hubs
        # Where no volume is mounted, its directory is not created: the files would be on the container's own disk,
        # and a volume mounted later would hide them.
        is_unmounted = volume is not None and cache_dir.is_relative_to(volume) and not volume.is_dir()
        places = [*([] if is_unmounted else [cache_dir / "models"]), local]
        return cls(baked=models_dir, hub_caches=tuple(dict.fromkeys(hubs)), caches=tuple(dict.fromkeys(places)))


@dataclass(frozen=True)
class FoundModel:
    """A directory that the engine can load, and its source. `made` is true if this call made it."""

    directory: Path
    source: WeightsSource
    revision: str | None = None
    notes: tuple[str, ...] = ()
    made: bool = False


class _PlaceProblem(Exception):
    """A copy cannot be made in this place; it may be possible in another."""


def find_model(
    model: str,
    *,
    roots: WeightRoots,
    offline: bool = False,
    precision: CopyPrecision = "fp16",
    deep: bool = False,
    dry: bool = False,
    tools: Tools | None = None,
    wait_s: float = WAIT_S,
    policy: PinPolicy | None = None,
) -> FoundModel:
    """Find or make the directory of a model.

    Args:
        policy: whether a published checkpoint whose files are not known beforehand may be used.
        offline: download nothing.
        deep: compare sha256 in addition to sizes; reads every byte.
        dry: change nothing; `directory` is then where the copy would be made.
        wait_s: longest time to wait for another worker that makes the same copy.

    Raises:
        ModelUnavailable: no source had it; the message has the problem of each.
    """
    return _Search(model, roots, offline, precision, deep, dry, tools or Tools(), wait_s, policy or PinPolicy()).run()


@dataclass
class _Search:
    """One call of `find_model`. Each source has a method that returns the model or None and leaves notes."""

    model: str
    roots: WeightRoots
    offline: bool
    precision: CopyPrecision
    deep: bool
    dry: bool
    tools: Tools
    wait_s: float
    policy: PinPolicy
    notes: list[str] = field(default_factory=list)
    ignores_hub_caches: bool = False  # set once the files in them could not be used for this model

    def run(self) -> FoundModel:
        """Try all sources in order."""
        if not self.dry:
            self._sweep()
        found = (
            self._in_named_directory()
            or self._in_hub_cache()
            or self._in_image()
            or self._among_copies()
            or self._from_hub()
        )
        if found is None:
            raise ModelUnavailable(self._failure_message())
        if warning := unpinned_copy(found.directory):
            self.notes.append(warning)
        return replace(found, notes=tuple(dict.fromkeys(self.notes)))

    def _sweep(self) -> None:
        """Remove the unfinished copies of starts that were killed: gigabytes each, of this model or of another."""
        for place in self.roots.caches:
            with suppress(OSError):
                for directory in place.iterdir():
                    sweep(directory)

    @cached_property
    def _checkpoint(self) -> Checkpoint | None:
        """Return the published checkpoint of that name, at the operator's pin if there is one."""
        checkpoint = published().get(self.model)
        return self.policy.apply(checkpoint) if checkpoint else None

    @property
    def _usable_checkpoint(self) -> Checkpoint | None:
        """Return the published checkpoint if its files may come from a hub or a cache."""
        refused = self._checkpoint is not None and self.policy.refusal(self._checkpoint)
        return None if refused else self._checkpoint

    def _recipe(self, checkpoint: Checkpoint, revision: str | None = None) -> Recipe:
        return recipes.from_checkpoint(
            checkpoint, self.precision, self.roots.voices, revision, allow_unpinned=self.policy.allow_unpinned
        )

    def _in_named_directory(self) -> FoundModel | None:
        """Use the directory that the setting names: an absolute path, or a directory that ships with the code."""
        directory = self.roots.shipped / self.model  # an absolute path replaces `shipped`
        return self._use_directory(directory, "shipped") if directory.is_dir() else None

    def _in_hub_cache(self) -> FoundModel | None:
        checkpoint = self._usable_checkpoint
        cached = recipes.find_cached(checkpoint.model, self.roots.hub_caches) if checkpoint else None
        if checkpoint is None or cached is None:
            return None
        revision = cached[1]
        if self._is_baked(revision):
            self.notes.append("the image has the same revision as the hub cache, already converted")
            return FoundModel(self.roots.baked / self.model, "baked", revision)
        recipe = self._recipe(checkpoint, revision)
        if revision != checkpoint.model.revision:
            condition = "" if recipe.unpinned else " if its files are those of the published one"
            self.notes.append(
                f"the hub cache has revision {revision[:12]}, not the published one; it is used{condition}"
            )
        return self._find_or_make_copy(recipe, "runpod-cache")

    def _in_image(self) -> FoundModel | None:
        directory = self.roots.baked / self.model
        return self._use_directory(directory, "baked") if directory.is_dir() else None

    def _among_copies(self) -> FoundModel | None:
        checkpoint = self._usable_checkpoint
        if checkpoint is None:
            return None
        if checkpoint.unknown:
            return self._find_unpinned_copy()
        return self._find_copy(self._recipe(checkpoint), "volume")

    def _find_unpinned_copy(self) -> FoundModel | None:
        """Find the newest copy of any revision, so that a branch that moved does not change the model."""
        pattern = f"{self.precision}-*{UNPINNED}/{self.model}/{copies.MANIFEST}"
        manifests = [path for place in self.roots.caches for path in place.glob(pattern)]
        for path in sorted(manifests, key=files.age_s):
            manifest = copies.read_manifest(path.parent)
            if manifest and copies.defect(path.parent, deep=self.deep) is None:
                return FoundModel(path.parent, "volume", manifest.revision)
        return None

    def _from_hub(self) -> FoundModel | None:
        checkpoint = self._checkpoint
        if checkpoint is None:
            return None
        if refusal := self.policy.refusal(checkpoint):
            self.notes.append(refusal)
            return None
        if self.offline:
            self.notes.append("the hub: not asked, HF_HUB_OFFLINE is set")
            return None
        if not (checkpoint.model.is_at_commit or self.dry):
            try:
                checkpoint = checkpoint.at(self.tools.resolve(checkpoint.model, lambda: None))
            except SourceProblem as error:
                self.notes.append(f"hub: {error}")
                return None
        return self._find_or_make_copy(self._recipe(checkpoint), "hub")

    @property
    def _hub_caches(self) -> tuple[Path, ...]:
        return () if self.ignores_hub_caches else self.roots.hub_caches

    def _use_directory(self, directory: Path, source: WeightsSource) -> FoundModel | None:
        """Use a directory as it is, if it is complete; else a copy made from it.

        A copy is needed for a fine-tune without a vocoder or in `.pt` format.
        """
        has_manifest = (directory / copies.MANIFEST).exists()
        problem = copies.defect(directory, deep=True) if self.deep and has_manifest else None
        problem = problem or copies.why_incomplete(directory)
        if problem is None:
            manifest = copies.read_manifest(directory)
            return FoundModel(directory, source, manifest.revision if manifest else None)
        self.notes.append(f"{source} directory of {self.model}: {problem}")
        if has_manifest:
            return None  # made by this program and damaged: a copy of it would be too
        try:
            recipe = recipes.from_directory(directory, self.precision, self.roots.voices)
        except SourceProblem as error:
            self.notes.append(str(error))
            return None
        except OSError as error:
            self.notes.append(f"{source} directory of {self.model}: {files.explain(error)}")
            return None
        return self._find_or_make_copy(recipe, source) if recipe else None

    def _is_baked(self, revision: str) -> bool:
        manifest = copies.read_manifest(self.roots.baked / self.model)
        if manifest is None or (manifest.revision, manifest.precision) != (revision, self.precision):
            return False
        return copies.defect(self.roots.baked / self.model, deep=self.deep) is None

    def _find_copy(self, recipe: Recipe, source: WeightsSource) -> FoundModel | None:
        """Find an undamaged copy in any of the places."""
        for place in self.roots.caches:
            target = _copy_path(place, recipe)
            if not target.is_dir():
                continue
            problem = copies.defect(target, deep=self.deep)
            if problem is None:
                return FoundModel(target, source, recipe.revision)
            self.notes.append(f"copy in {place}: {problem}; not used")
        return None

    def _find_or_make_copy(self, recipe: Recipe, source: WeightsSource) -> FoundModel | None:
        """Find an existing copy, or make one in the first place where that is possible."""
        if found := self._find_copy(recipe, source):
            return found
        for place in self.roots.caches:
            try:
                return self._make_copy(place, recipe, source)
            except _PlaceProblem as error:
                self.notes.append(str(error))
            except SourceProblem as error:
                self.notes.append(f"{source}: {error}")
                self.ignores_hub_caches = True
                return None
        return None

    def _make_copy(self, place: Path, recipe: Recipe, source: WeightsSource) -> FoundModel:
        """Make a copy in one place, or wait for another worker that makes it."""
        target = _copy_path(place, recipe)
        needed = recipe.needed_bytes(self._hub_caches)
        if problem := space_problem(place, needed):
            raise _PlaceProblem(problem)
        if self.dry:
            self.notes.append(f"a copy would be made in {place}, {in_bytes(needed)} needed")
            return FoundModel(target, source, recipe.revision)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with files.lease(target.parent / ".lease", wait_s=self.wait_s, done=lambda: _is_usable(target)) as lease:
                made = not _is_usable(target, deep=self.deep)
                if made:
                    self._build(recipe, source, target, lease.heartbeat)
        except OSError as error:
            raise _PlaceProblem(disk_problem(place, error, needed)) from None
        return FoundModel(target, source, recipe.revision, made=made)

    def _build(self, recipe: Recipe, source: WeightsSource, target: Path, heartbeat: recipes.Heartbeat) -> None:
        with staging_directory(target, heartbeat) as staging:
            temporary = staging.path
            origin = recipes.build_model_dir(
                recipe,
                temporary,
                hub_caches=self._hub_caches,
                offline=self.offline,
                tools=self.tools,
                heartbeat=staging.heartbeat,
            )
            copies.write_manifest(
                temporary, source=source, revision=recipe.revision, precision=recipe.precision, origin=origin
            )
            copies.publish(temporary, target, deep=self.deep)

    def _failure_message(self) -> str:
        known = ", ".join(sorted(published()))
        tried = "; ".join(dict.fromkeys(self.notes))
        tried = tried or f"there is no directory of that name, and it is not a published model ({known})"
        return (
            f"F5_MODEL={self.model!r} is not available: {tried}. Put the model's directory into {self.roots.baked}, "
            "bake it into the image (BAKE_MODEL), set the endpoint's cached model, or allow downloads from the hub"
        )


def _copy_path(place: Path, recipe: Recipe) -> Path:
    return (
        place / recipe.key / recipe.name
    )  # the last part is the model's name, by which a published architecture is known


def _is_usable(target: Path, deep: bool = False) -> bool:
    return copies.defect(target, deep=deep) is None
