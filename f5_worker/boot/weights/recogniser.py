"""The search for the recogniser's files: found, or downloaded once and kept where the next worker finds them.

Order: a directory that is given or ships with the code > baked into the image > RunPod's and other hub caches, used
in place > a copy on the volume > the hub. A worker without a recogniser still serves.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from f5_worker.boot.weights import recipes
from f5_worker.boot.weights.copies import sync
from f5_worker.boot.weights.disks import RESERVE_BYTES
from f5_worker.boot.weights.recipes import SourceProblem, Tools
from f5_worker.boot.weights.weights import WAIT_S, WeightRoots, WeightsSource
from f5_worker.models.published import HubFile, PublishedRecogniser, recogniser_files, recognisers
from f5_worker.storage import files
from f5_worker.storage.staging import staging_directory, sweep

OFF = "off"
COMPLETE_MARKER = ".whole"  # written last: a copy without it is incomplete


@dataclass
class FoundRecogniser:
    """The directory of the files, None if there is none; `notes` are the problems of each source."""

    directory: Path | None = None
    source: WeightsSource | None = None
    made: bool = False
    notes: list[str] = field(default_factory=list)


def find_recogniser(
    name: str,
    *,
    roots: WeightRoots,
    offline: bool = False,
    dry: bool = False,
    tools: Tools | None = None,
    wait_s: float = WAIT_S,
) -> FoundRecogniser:
    """Find or download the recogniser of that name; for `off`, find none. Problems become notes, not exceptions.

    Args:
        dry: change nothing.
        wait_s: longest time to wait for another worker that downloads the same files.
    """
    found = FoundRecogniser()
    if name == OFF:
        return found
    published = recognisers().get(name)
    places: tuple[tuple[Path, WeightsSource], ...] = ((roots.shipped, "shipped"), (roots.baked, "baked"))
    for place, source in places:
        if why_incomplete(place / name, published) is None:  # an absolute path replaces `place`
            found.directory, found.source = place / name, source
            return found
    if published is None:
        found.notes.append(f"{name!r} is neither a directory nor one of {', '.join(recognisers())}")
        return found
    if cached := recipes.find_cached(published.weights, roots.hub_caches):
        snapshot = cached[0].parent
        if (problem := _why_not_from_cache(snapshot, published)) is None:
            found.directory, found.source = snapshot, "runpod-cache"
            return found
        found.notes.append(f"the hub cache {problem}")
    _find_or_download_copy(found, published, roots, offline, dry, tools or Tools(), wait_s)
    return found


def why_incomplete(directory: Path, published: PublishedRecogniser | None) -> str | None:
    """Return why a directory is not a complete recogniser, or None if it is one.

    tokenizer.json is required: faster-whisper would download one if it were missing.
    """
    needed: dict[str, int | None] = dict.fromkeys(recogniser_files(directory))
    if published is not None:
        needed = {file.path: file.size_bytes for file in published.files}
    for name, size in needed.items():
        path = directory / name
        if not path.is_file():
            return f"has no {name}"
        if size is not None and path.stat().st_size != size:
            return f"has {path.stat().st_size} bytes of {name} instead of {size}"
    return None


def _why_not_from_cache(snapshot: Path, published: PublishedRecogniser) -> str | None:
    """Return why a snapshot cannot be used; one of another revision must have the known checksums."""
    problem = why_incomplete(snapshot, published)
    if problem or snapshot.name == published.weights.revision:
        return problem
    try:
        for file in published.files:
            _check_content(snapshot / file.path, file)
    except SourceProblem as error:
        return f"has revision {snapshot.name[:12]}, in which {error}"
    return None


def _find_or_download_copy(
    found: FoundRecogniser,
    published: PublishedRecogniser,
    roots: WeightRoots,
    offline: bool,
    dry: bool,
    tools: Tools,
    wait_s: float,
) -> None:
    targets = [place / f"asr-{published.weights.revision[:12]}" / published.name for place in roots.caches]
    for target in targets:
        if (target / COMPLETE_MARKER).exists() and why_incomplete(target, published) is None:
            found.directory, found.source = target, "volume"
            return
    if offline:
        found.notes.append("the hub: not asked, HF_HUB_OFFLINE is set")
        return
    if dry:
        found.notes.append(f"{published.name} would be downloaded")
        return
    for target in targets:
        try:
            _download(published, target, tools, wait_s)
            found.directory, found.source, found.made = target, "hub", True
            return
        except SourceProblem as error:
            found.notes.append(f"hub: {error}")
            return
        except OSError as error:
            found.notes.append(f"{target.parent}: {files.explain(error)}")


def _download(published: PublishedRecogniser, target: Path, tools: Tools, wait_s: float) -> None:
    """Download all files into a temporary directory, check them, and move the directory into place."""
    needed = sum(file.at_most_bytes for file in published.files) + RESERVE_BYTES
    target.parent.mkdir(parents=True, exist_ok=True)
    if (free := files.free_bytes(target.parent)) < needed:
        raise OSError(f"{free:,} bytes free, {needed:,} bytes needed")
    sweep(target.parent)
    with files.lease(target.parent / ".lease", wait_s=wait_s, done=(target / COMPLETE_MARKER).exists) as lease:
        if (target / COMPLETE_MARKER).exists():
            return
        with staging_directory(target, lease.heartbeat) as staging:
            temporary = staging.path
            for file in published.files:
                _check_content(tools.fetch(file, temporary, staging.heartbeat), file)
            shutil.rmtree(temporary / ".cache", ignore_errors=True)  # the hub client's own records
            for path in temporary.iterdir():
                sync(path)
            (temporary / COMPLETE_MARKER).touch()
            _publish(temporary, target)


def _publish(temporary: Path, target: Path) -> None:
    if not (target / COMPLETE_MARKER).exists():
        files.remove_tree(target)
    try:
        temporary.rename(target)  # fails if there is a directory with content
    except OSError:
        if not (target / COMPLETE_MARKER).exists():  # else another process was faster, with the same content
            raise


def _check_content(path: Path, file: HubFile) -> None:
    size = path.stat().st_size
    if file.size_bytes not in (None, size):
        raise SourceProblem(f"{file.path} has {size} bytes instead of {file.size_bytes}")
    if file.sha256 is not None and (measured := files.sha256_of(path)) != file.sha256:
        raise SourceProblem(f"{file.path} has sha256 {measured[:12]}... instead of {file.sha256[:12]}...")
