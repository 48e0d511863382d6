"""The source files of a model, local, in a hub cache or to be downloaded, and the conversion to a model directory."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from f5_worker import process
from f5_worker.boot.weights import copies, weights_child
from f5_worker.models.published import Checkpoint, HubFile, default_vocoder
from f5_worker.storage import files

FETCH_S = 1800.0
RESOLVE_S = 60.0
CONVERT_S = 600.0
_PROGRAM = Path(weights_child.__file__)
_WEIGHTS = (".safetensors", ".pt", ".bin", ".pth")
_VOCODERS = (copies.VOCODER, "pytorch_model.bin", "bigvgan_generator.pt")  # the names of Vocos' and BigVGAN's files

UNPINNED = "-unpinned"  # at the end of such copies' keys

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
    """Download a file from the hub at its pinned revision, in a child process; nothing else here contacts the hub."""
    request = {"repo": file.repo, "revision": file.revision, "path": file.path, "into": str(into)}
    _run_child("fetch", request, FETCH_S, heartbeat)
    return into / file.path


def resolve(file: HubFile, heartbeat: Heartbeat) -> str:
    """Return the commit that the file's revision is at now, as the hub says."""
    request = {"repo": file.repo, "revision": file.revision, "path": file.path}
    commit = _run_child("resolve", request, RESOLVE_S, heartbeat)
    if not replace(file, revision=commit).is_at_commit:
        raise SourceProblem(f"the hub names no commit for {file.repo} at {file.revision}")
    return commit


def convert(parts: SourceFiles, into: Path, precision: str, heartbeat: Heartbeat) -> None:
    """Write the three files of a copy, with torch, in a child process."""
    paths = {"model": str(parts.model), "vocab": str(parts.vocab), "vocoder": str(parts.vocoder)}
    _run_child("convert", {**paths, "into": str(into), "precision": precision}, CONVERT_S, heartbeat)


def _run_child(task: str, request: dict[str, str], timeout_s: float, heartbeat: Heartbeat) -> str:
    """Run a task of weights_child.py and return the last line that it printed."""
    command: list[str | Path] = [sys.executable, "-I", _PROGRAM, task, json.dumps(request)]
    env = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = process.run(command, timeout_s=timeout_s, env=env, on_tick=heartbeat)
    if done.ok:
        return done.last_line
    if done.code == weights_child.DISK_FAULT:
        raise OSError(done.last_line)
    if done.code == weights_child.SOURCE_FAULT:
        raise SourceProblem(done.last_line)
    raise SourceProblem(f"{task}: {done.ending}: {done.last_line or 'no output'}")


@dataclass(frozen=True)
class Tools:
    """The functions that make a copy; tests replace them."""

    fetch: Callable[[HubFile, Path, Heartbeat], Path] = fetch
    convert: Callable[[SourceFiles, Path, str, Heartbeat], None] = convert
    resolve: Callable[[HubFile, Heartbeat], str] = resolve


@dataclass(frozen=True)
class Recipe:
    """The source files of a model and the other content of its directory.

    `voices` are directories whose clips are copied, later ones over earlier ones. `revision` is the hub's, or a
    fingerprint of local files: together with the precision, it names the copy. `arch` is a file, or the name of a
    published architecture; `traits` is the file of what the model has not learned of text. `unpinned`: files from the
    hub may be others than the known ones.
    """

    name: str
    revision: str
    precision: str
    model: SourceFile
    vocab: SourceFile
    vocoder: SourceFile
    arch: Path | str | None = None
    traits: Path | None = None
    voices: tuple[Path, ...] = ()
    unpinned: bool = False

    @property
    def key(self) -> str:
        """Return the name of the copy's parent directory, from the precision and the revision."""
        return f"{self.precision}-{self.revision[:12]}" + (UNPINNED if self.unpinned else "")

    def needed_bytes(self, hub_caches: Sequence[Path]) -> int:
        """Return the space needed for the copy and for the downloads that exist until it is made."""
        copy_bytes = sum(_size(part) for part in (self.model, self.vocab, self.vocoder))
        if self.precision == "fp16" and isinstance(self.model, HubFile):
            copy_bytes -= self.model.at_most_bytes // 2  # the published ones are fp32; a local file may be fp16 already
        hub_files = [part for part in (self.model, self.vocab, self.vocoder) if isinstance(part, HubFile)]
        return copy_bytes + sum(file.at_most_bytes for file in hub_files if find_cached(file, hub_caches) is None)


def _size(part: SourceFile) -> int:
    return part.at_most_bytes if isinstance(part, HubFile) else part.stat().st_size


def find_cached(file: HubFile, hub_caches: Sequence[Path]) -> tuple[Path, str] | None:
    """Return a file in a hub cache and its revision, or None if no cache has it.

    Layout: `models--ORG--NAME/{refs/main,snapshots/<revision>/...}`. The revision in refs/main comes first, as in
    RunPod's documentation, then the pinned one, then any other.
    """
    for hub in hub_caches:
        for snapshot in _snapshots(hub / file.folder, file.revision):
            path = snapshot / file.path
            if path.is_file():  # false for a link whose blob is missing
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


def from_checkpoint(
    checkpoint: Checkpoint,
    precision: str,
    voices: tuple[Path, ...],
    revision: str | None = None,
    *,
    allow_unpinned: bool = False,
) -> Recipe:
    """Return the recipe of a published model, at its own revision or at the one in a cache.

    Args:
        allow_unpinned: the files of another revision, or of a checkpoint that is not pinned, may have any content.
    """
    own = checkpoint.model.revision
    return Recipe(
        checkpoint.name,
        revision or own,
        precision,
        checkpoint.model,
        checkpoint.vocab,
        checkpoint.vocoder,
        arch=checkpoint.arch,
        voices=voices,
        unpinned=allow_unpinned and (checkpoint.unknown is not None or revision not in (None, own)),
    )


def from_directory(directory: Path, precision: str, voices: tuple[Path, ...]) -> Recipe | None:
    """Return the recipe of a fine-tune's directory, or None if its files are not there.

    Expected are one checkpoint of any name and vocab.txt; arch.json, text.json and a vocoder are optional.

    Raises:
        SourceProblem: there is more than one checkpoint.
    """
    vocoder = next((directory / name for name in _VOCODERS if _is(directory, name)), None)
    models = [path for path in sorted(directory.iterdir()) if path.suffix in _WEIGHTS and path.name not in _VOCODERS]
    best = [path for path in models if path.suffix == ".safetensors"] or models
    if not best or not _is(directory, "vocab.txt"):
        return None
    if len(best) > 1 and not _is(directory, copies.MODEL):
        raise SourceProblem(f"{len(best)} checkpoints are in {directory}; leave one, or rename one to {copies.MODEL}")
    model = directory / copies.MODEL if _is(directory, copies.MODEL) else best[0]
    arch, traits = (directory / name if _is(directory, name) else None for name in ("arch.json", "text.json"))
    parts = [path for path in (model, directory / "vocab.txt", vocoder) if path is not None]
    return Recipe(
        directory.name,
        _fingerprint([*parts, *(path for path in (arch, traits) if path is not None)]),
        precision,
        model,
        directory / "vocab.txt",
        vocoder or default_vocoder(),
        arch=arch,
        traits=traits,
        voices=(*voices, directory / "voices"),
    )


def _is(directory: Path, name: str) -> bool:
    return (directory / name).is_file()


def _fingerprint(paths: Sequence[Path]) -> str:
    """Return a hash of names, sizes and times, not of content: local files may be gigabytes on a network volume."""
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def build_model_dir(
    recipe: Recipe, into: Path, *, hub_caches: Sequence[Path], offline: bool, tools: Tools, heartbeat: Heartbeat
) -> dict[str, str]:
    """Fill an empty directory with a model's files and return the sha256 of each source file.

    Raises:
        SourceProblem: a source file is not available or does not have the expected content.
        OSError: the disk of `into` failed.
    """
    download_dir = into / ".source"
    download_dir.mkdir()
    found, origin = {}, {}
    for part in ("model", "vocab", "vocoder"):
        path, expected = _obtain(recipe, part, download_dir, hub_caches, offline, tools, heartbeat)
        if path.suffix == ".safetensors" and (problem := copies.truncation(path)):
            raise SourceProblem(problem)
        heartbeat()
        measured = files.sha256_of(path)
        if expected not in (None, measured):
            raise SourceProblem(f"{path.name} has sha256 {measured[:12]}... instead of {str(expected)[:12]}...")
        found[part], origin[f"{part}: {path.name}"] = path, measured
    tools.convert(SourceFiles(**found), into, recipe.precision, heartbeat)
    shutil.rmtree(download_dir)
    if isinstance(recipe.arch, Path):
        shutil.copyfile(recipe.arch, into / "arch.json")
    elif recipe.arch is not None:
        (into / "arch.json").write_text(json.dumps(recipe.arch) + "\n", encoding="utf-8")
    if recipe.traits is not None:
        shutil.copyfile(recipe.traits, into / "text.json")
    _copy_voices(recipe.voices, into / "voices")
    if problem := copies.why_incomplete(into):
        raise SourceProblem(f"the conversion did not produce a complete model: {problem}")
    return origin


def _obtain(
    recipe: Recipe,
    which: str,
    download_dir: Path,
    hub_caches: Sequence[Path],
    offline: bool,
    tools: Tools,
    heartbeat: Heartbeat,
) -> tuple[Path, str | None]:
    """Return the path of the file, downloaded if need be, and the sha256 that it must have (None: any)."""
    part: SourceFile = getattr(recipe, which)
    if isinstance(part, Path):
        return part, None
    if cached := find_cached(part, hub_caches):
        path, revision = cached
        if recipe.unpinned and revision != part.revision:
            return path, None
        if part.sha256 is None and revision != part.revision:
            raise SourceProblem(f"{part.path} in the hub cache is of another revision, and its sha256 is not known")
        return path, part.sha256
    if offline:
        raise SourceProblem(f"{part.repo}/{part.path} is not in a cache, and HF_HUB_OFFLINE forbids the download")
    return tools.fetch(part, download_dir, heartbeat), part.sha256


def _copy_voices(sources: Sequence[Path], target: Path) -> None:
    """Copy the clips that have a transcript: a downloaded model has no voices, and jobs may name one of these."""
    for source in sources:
        for clip in sorted(source.glob("*.wav")):
            if clip.with_suffix(".txt").is_file():
                target.mkdir(exist_ok=True)
                shutil.copyfile(clip, target / clip.name)
                shutil.copyfile(clip.with_suffix(".txt"), target / clip.with_suffix(".txt").name)
