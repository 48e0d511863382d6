"""Model directories: when one is complete, how a copy is checked, how it is published atomically.

The manifest is the last file of a copy, and the copy is moved into place as a directory. So at whatever moment a
process is killed, another one sees either no copy or a complete one; this does not depend on locks.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from f5_worker.storage import files

MANIFEST = "manifest.json"
FORMAT = 1
MODEL, VOCAB, VOCODER = REQUIRED = ("model.safetensors", "vocab.txt", "vocoder.safetensors")
MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
MOVE_ATTEMPTS = 5  # to move a copy to a path where damaged copies are, or other processes put theirs


@dataclass(frozen=True)
class CopyManifest:
    """The content of a copy and its origin.

    files: size in bytes and sha256 by name. origin: sha256 of each source file.
    """

    source: str
    revision: str | None
    precision: str
    origin: Mapping[str, str]
    files: Mapping[str, tuple[int, str]]


def read_manifest(directory: Path) -> CopyManifest | None:
    """Return the manifest of a directory, or None if there is none that can be read."""
    try:
        value = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            return None
        entries = {str(name): (int(file["size_bytes"]), str(file["sha256"])) for name, file in value["files"].items()}
        origin = {str(name): str(sha256) for name, sha256 in value["origin"].items()}
        revision = None if value["revision"] is None else str(value["revision"])
        return CopyManifest(str(value["source"]), revision, str(value["precision"]), origin, entries)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_manifest(
    directory: Path, *, source: str, revision: str | None, precision: str, origin: Mapping[str, str]
) -> None:
    """Measure every file of a finished copy, wait until they are on the disk, and then write the manifest."""
    entries = {}
    for path in sorted(_files(directory)):
        sync(path)
        name = path.relative_to(directory).as_posix()
        entries[name] = {"size_bytes": path.stat().st_size, "sha256": files.sha256_of(path)}
    value = {
        "format": FORMAT,
        "source": source,
        "revision": revision,
        "precision": precision,
        "origin": dict(origin),
        "files": entries,
    }
    files.write(directory / MANIFEST, (json.dumps(value, indent=1) + "\n").encode())
    for folder in {directory, *(path.parent for path in _files(directory))}:
        sync(folder)


def defect(directory: Path, *, deep: bool = False) -> str | None:
    """Return why a made copy cannot be used, or None if it can. Sizes are always compared, sha256 only if `deep`."""
    manifest = read_manifest(directory)
    if manifest is None:
        return "has no readable manifest"
    missing = [name for name in REQUIRED if name not in manifest.files]
    if missing:
        return f"its manifest lacks {missing[0]}"
    for name, (size, sha256) in manifest.files.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            return "its manifest names a file outside"
        path = directory / name
        try:
            found = path.stat().st_size
            if found != size:
                return f"{name} has {found} bytes instead of {size}"
            if deep and files.sha256_of(path) != sha256:
                return f"{name} has another sha256 than its manifest says"
        except OSError as error:
            return f"{name} cannot be read ({files.explain(error)})"
    return None


def why_incomplete(directory: Path) -> str | None:
    """Return why a directory cannot be used as it is, or None if it can; it need not be a copy made here."""
    if (directory / MANIFEST).exists():
        return defect(directory)
    for name in REQUIRED:
        path = directory / name
        if not path.is_file():
            return f"has no {name}"
        if path.suffix == ".safetensors" and (problem := truncation(path)):
            return problem
    return None


def truncation(path: Path) -> str | None:
    """Return why a safetensors file is not as long as its header says, or None if it is; only the header is read.

    Layout: 8 bytes with the length of the header, JSON with the byte range of each tensor, the tensors.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(MAX_HEADER_BYTES, size):
                return f"{path.name} is not a safetensors file ({size} bytes)"
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except OSError as error:
        return f"{path.name} cannot be read ({files.explain(error)})"
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return f"{path.name} is not a safetensors file: its header cannot be read"
    return None if size == expected else f"{path.name} has {size} bytes, its header says {expected}"


def publish(temporary: Path, target: Path, *, deep: bool = False) -> None:
    """Move a finished copy to `target`. An undamaged copy that is already there is kept.

    Raises:
        OSError: the disk failed, or `target` stayed occupied by damaged copies.
    """
    for _ in range(MOVE_ATTEMPTS):
        try:
            temporary.rename(target)  # atomic; fails if there is a directory with content
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        else:
            sync(target.parent)
            return
        if defect(target, deep=deep) is None:
            return  # another process was faster, with the same content
        _remove_damaged(target, deep)
    raise OSError(errno.EBUSY, "other processes keep putting unusable copies there")


def _remove_damaged(target: Path, deep: bool) -> None:
    """Remove a damaged copy. If another process has just replaced it by a good one, that one is moved back."""
    aside = files.temporary_beside(target)
    with suppress(FileNotFoundError):
        target.rename(aside)
        if aside.is_dir() and defect(aside, deep=deep) is None:
            with suppress(OSError):
                aside.rename(target)
                return
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a directory, are on the disk; ignore file systems that do not support it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # directories on some network file systems
            raise
    finally:
        os.close(descriptor)


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file() and path.name != MANIFEST)
