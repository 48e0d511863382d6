"""The places where voices are kept: those that the settings name, whose they are, and how much may be stored.

A job of a queue says nothing about its caller, so with F5_VOICES_SCOPE=per_key an owner is known by a secret that the
jobs carry. Only its hash is stored, as the name of a directory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import SecretStr

from f5_worker.errors import InvalidInput, SettingsInvalid, VoicesFull
from f5_worker.settings import VOICES_FOLDER, VOLUME, Settings, variable
from f5_worker.storage.s3 import Bucket
from f5_worker.voices.store import Store
from f5_worker.voices.store_directory import DirectoryStore
from f5_worker.voices.store_s3 import BucketStore
from f5_worker.voices.versions import Usage

OWNERS_FOLDER = "by-key"  # beside the voices of all callers; the files in it are not theirs
_PERSON = b"f5-voices"  # so that the hash is of no use where the same secret is hashed for something else
_BYTES_OF_MB = 1_000_000


def open_stores(settings: Settings, bucket: Bucket | None = None, volume: Path = VOLUME) -> list[Store]:
    """Return the places to keep voices that the settings name; else a directory on a mounted volume, if there is one.

    Raises:
        SettingsInvalid: voices are to be kept in a bucket, and none is configured.
    """
    directory, prefix = settings.voices_dir, settings.voices_s3_prefix
    if directory is None and prefix is None and os.path.ismount(volume):
        folder = volume / VOICES_FOLDER
        directory = folder if os.access(folder if folder.is_dir() else volume, os.W_OK | os.X_OK) else None
    stores: list[Store] = [DirectoryStore(directory)] if directory is not None else []
    if prefix is not None:
        if bucket is None:
            raise SettingsInvalid([f"{variable('voices_s3_prefix')}={prefix!r} needs a bucket, and none is configured"])
        stores.append(BucketStore(bucket, prefix))
    return stores


def owner_of(key: SecretStr | None, settings: Settings) -> str | None:
    """Return the owner that a job's key stands for; None for a job without a key.

    Raises:
        InvalidInput: there is a key, and this worker keeps one set of voices for all callers. To ignore it would show
            everyone what is meant for one.
    """
    if key is None:
        return None
    if settings.voices_scope != "per_key":
        raise InvalidInput(
            "voices_key is given, but this worker keeps its voices for all callers "
            f"({variable('voices_scope')}=shared); leave it out, or ask the operator for per_key"
        )
    secret = key.get_secret_value().encode("utf-8", "surrogatepass")
    return hashlib.blake2b(secret, digest_size=16, person=_PERSON).hexdigest()


def missing_key_error() -> InvalidInput:
    """Return the error for a caller without a key who would change a voice."""
    return InvalidInput(
        f"voices_key is missing; this worker keeps each caller's voices apart ({variable('voices_scope')}=per_key): "
        "send a secret of your own, 16 characters or more, with every request about your voices"
    )


def owner_folder(owner: str) -> str:
    """Return the directory of an owner's voices, relative to that of the voices of all callers."""
    return f"{OWNERS_FOLDER}/{owner}"


def check_quota(elsewhere: Iterable[Usage], new_bytes: int, settings: Settings, usage: Usage) -> None:
    """Raise if there is no space for one more voice.

    Args:
        elsewhere: of the owner's other places, and
        usage: of the one that takes new voices, each without the voice that is replaced.
        new_bytes: of all files of the new voice.

    Raises:
        VoicesFull: with the measured value and the bound.
    """
    usages = [usage, *elsewhere]
    n_voices, n_bytes = sum(place.n_voices for place in usages), sum(place.n_bytes for place in usages)
    if n_voices >= settings.max_voices:
        raise VoicesFull(
            f"there are {n_voices} voices, at most {settings.max_voices} ({variable('max_voices')}) are stored; "
            "delete one, or replace one"
        )
    if n_bytes + new_bytes > settings.max_voices_mb * _BYTES_OF_MB:
        raise VoicesFull(
            f"the voices take {n_bytes / _BYTES_OF_MB:.1f} MB and this one {new_bytes / _BYTES_OF_MB:.1f}, at most "
            f"{settings.max_voices_mb} MB ({variable('max_voices_mb')}) are stored; delete one, or send a shorter clip"
        )
