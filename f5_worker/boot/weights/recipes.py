"""What a model is made from: files that lie somewhere, files of a hub cache, files to be downloaded."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from f5_worker import process as child
from f5_worker.boot.weights import copies, weights_child
from f5_worker.models.published import Checkpoint, HubFile, default_vocoder
from f5_worker.storage import files as cache

FETCH_S = 1800.0
CONVERT_S = 600.0
_PROGRAM = Path(weights_child.__file__)
_WEIGHTS = (".safetensors", ".pt", ".bin", ".pth")

Heartbeat = Callable[[], None]
SourceFile = Path | HubFile


class SourceProblem(Exception):
    """This source cannot be used; another may. The message is one line."""


@dataclass(frozen=True)
class SourceFiles:
    """The files of one model on this machine, ready for conversion."""

    model: Path
    vocab: Path
    vocoder: Path


def fetch(file: HubFile, into: Path, heartbeat: Heartbeat) -> Path:
    """Download a file of the hub at its pinned revision. The only place that asks the hub for anything."""
    request = {"repo": file.repo, "revision": file.revision, "path": file.path, "into": str(into)}
    _ask("fetch", request, FETCH_S, heartbeat)
    return into / file.path


def convert(parts: SourceFiles, into: Path, precision: str, heartbeat: Heartbeat) -> None:
    """Write the three files of a copy, with torch, in a process of its own."""
    paths = {"model": str(parts.model), "vocab": str(parts.vocab), "vocoder": str(parts.vocoder)}
    _ask("convert", {**paths, "into": str(into), "precision": precision}, CONVERT_S, heartbeat)


def _ask(task: str, request: dict[str, str], timeout_s: float, heartbeat: Heartbeat) -> None:
    command: list[str | Path] = [sys.executable, "-I", _PROGRAM, task, json.dumps(request)]
    quiet = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = child.run(command, timeout_s=timeout_s, env=quiet, on_tick=heartbeat)
    if done.ok:
        return
    if done.code == weights_child.DISK_FAULT:
        raise OSError(done.last_line)
    if done.code == weights_child.SOURCE_FAULT:
        raise SourceProblem(done.last_line)
    raise SourceProblem(f"{task}: {done.ending}: {done.last_line or 'it said nothing'}")


@dataclass(frozen=True)
class Tools:
    """What makes a copy; tests put others in."""

    fetch: Callable[[HubFile, Path, Heartbeat], Path] = fetch
    convert: Callable[[SourceFiles, Path, str, Heartbeat], None] = convert


@dataclass(frozen=True)
class Recipe:
    """A model's ingredients and what else goes into its directory.

    `voices` are directories whose clips are copied, later ones over earlier ones. `revision` is the hub's, or a
    fingerprint of local files: together with the precision it names the copy. `arch` is a file, or the name of a
    published shape.
    """

    name: str
    revision: str
    precision: str
    model: SourceFile
    vocab: SourceFile
    vocoder: SourceFile
    arch: Path | str | None = None
    voices: tuple[Path, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.precision}-{self.revision[:12]}"

    def needed_bytes(self, hub_caches: Sequence[Path]) -> int:
        """Room for the copy and, until it is made, for what has to be downloaded."""
        made = sum(_size(part) for part in (self.model, self.vocab, self.vocoder))
        if self.precision == "fp16" and isinstance(self.model, HubFile):
            made -= self.model.at_most_bytes // 2  # the published ones are fp32; a local file may be fp16 already
        fetched = [part for part in (self.model, self.vocab, self.vocoder) if isinstance(part, HubFile)]
        return made + sum(part.at_most_bytes for part in fetched if find_cached(part, hub_caches) is None)


def _size(part: SourceFile) -> int:
    return part.at_most_bytes if isinstance(part, HubFile) else part.stat().st_size


def find_cached(file: HubFile, hub_caches: Sequence[Path]) -> tuple[Path, str] | None:
    """A file in a hub cache and its revision: `models--ORG--NAME/{refs/main,snapshots/<revision>/...}`.

    What refs/main names comes first, as RunPod's documentation has it, then the pinned one, then any other.
    """
    for hub in hub_caches:
        for snapshot in _snapshots(hub / file.folder, file.revision):
            path = snapshot / file.path
            if path.is_file():  # a link whose blob is missing is none
                return path, snapshot.name
    return None


def _snapshots(repository: Path, pinned: str) -> Iterator[Path]:
    try:
        main = (repository / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        main = ""
    try:
        names = sorted(path.name for path in (repository / "snapshots").iterdir())
    except OSError:
        return
    for name in sorted(names, key=lambda name: (name != main, name != pinned)):
        yield repository / "snapshots" / name


def of_checkpoint(
    checkpoint: Checkpoint, precision: str, voices: tuple[Path, ...], revision: str | None = None
) -> Recipe:
    """A published model, at its pinned revision or at the one that a cache holds."""
    return Recipe(
        checkpoint.name,
        revision or checkpoint.model.revision,
        precision,
        checkpoint.model,
        checkpoint.vocab,
        checkpoint.vocoder,
        arch=checkpoint.arch,
        voices=voices,
    )


def of_directory(directory: Path, precision: str, voices: tuple[Path, ...]) -> Recipe | None:
    """A fine-tune as people have it: one checkpoint of any name, vocab.txt, maybe arch.json and a vocoder."""
    vocoder = next(
        (directory / name for name in ("vocoder.safetensors", "pytorch_model.bin") if _is(directory, name)), None
    )
    others = {"vocoder.safetensors", "pytorch_model.bin"}
    models = [path for path in sorted(directory.iterdir()) if path.suffix in _WEIGHTS and path.name not in others]
    best = [path for path in models if path.suffix == ".safetensors"] or models
    if not best or not _is(directory, "vocab.txt"):
        return None
    if len(best) > 1 and not _is(directory, copies.MODEL):
        raise SourceProblem(f"{len(best)} checkpoints lie in {directory}; leave one, or name it {copies.MODEL}")
    model = directory / copies.MODEL if _is(directory, copies.MODEL) else best[0]
    parts = [path for path in (model, directory / "vocab.txt", vocoder) if path is not None]
    return Recipe(
        directory.name,
        _fingerprint([*parts, *([directory / "arch.json"] if _is(directory, "arch.json") else [])]),
        precision,
        model,
        directory / "vocab.txt",
        vocoder or default_vocoder(),
        arch=directory / "arch.json" if _is(directory, "arch.json") else None,
        voices=(*voices, directory / "voices"),
    )


def _is(directory: Path, name: str) -> bool:
    return (directory / name).is_file()


def _fingerprint(paths: Sequence[Path]) -> str:
    """Of names, sizes and times: local files may be gigabytes on a network volume."""
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def build_model_dir(
    recipe: Recipe, into: Path, *, hub_caches: Sequence[Path], offline: bool, tools: Tools, heartbeat: Heartbeat
) -> dict[str, str]:
    """Fill an empty directory with a model's files; returns the sha256 of what it was made from.

    Raises:
        SourceProblem: an ingredient cannot be had or is not what it should be.
        OSError: the disk of `into` failed.
    """
    store = into / ".source"
    store.mkdir()
    found, origin = {}, {}
    for part in ("model", "vocab", "vocoder"):
        path, expected = _obtain(getattr(recipe, part), store, hub_caches, offline, tools, heartbeat)
        if path.suffix == ".safetensors" and (problem := copies.truncation(path)):
            raise SourceProblem(problem)
        heartbeat()
        measured = cache.sha256_of(path)
        if expected not in (None, measured):
            raise SourceProblem(f"{path.name} has sha256 {measured[:12]}... instead of {str(expected)[:12]}...")
        found[part], origin[f"{part}: {path.name}"] = path, measured
    tools.convert(SourceFiles(**found), into, recipe.precision, heartbeat)
    shutil.rmtree(store)
    if isinstance(recipe.arch, Path):
        shutil.copyfile(recipe.arch, into / "arch.json")
    elif recipe.arch is not None:
        (into / "arch.json").write_text(json.dumps(recipe.arch) + "\n", encoding="utf-8")
    _copy_voices(recipe.voices, into / "voices")
    if problem := copies.lacking(into):
        raise SourceProblem(f"the conversion did not give a model: {problem}")
    return origin


def _obtain(
    part: SourceFile, store: Path, hub_caches: Sequence[Path], offline: bool, tools: Tools, heartbeat: Heartbeat
) -> tuple[Path, str | None]:
    """Where the file is, and the sha256 that it has to have."""
    if isinstance(part, Path):
        return part, None
    if cached := find_cached(part, hub_caches):
        path, revision = cached
        return path, part.sha256 if revision == part.revision else None
    if offline:
        raise SourceProblem(f"{part.repo}/{part.path} is in no cache, and HF_HUB_OFFLINE forbids to download it")
    return tools.fetch(part, store, heartbeat), part.sha256


def _copy_voices(sources: Sequence[Path], target: Path) -> None:
    """The clips that have a transcript; a model of its own has none, and jobs may name one."""
    for source in sources:
        for clip in sorted(source.glob("*.wav")):
            if clip.with_suffix(".txt").is_file():
                target.mkdir(exist_ok=True)
                shutil.copyfile(clip, target / clip.name)
                shutil.copyfile(clip.with_suffix(".txt"), target / clip.with_suffix(".txt").name)
