"""Which published checkpoints are used: those whose files are known beforehand, unless the operator allows others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from f5_worker.boot.weights import copies
from f5_worker.boot.weights.recipes import UNPINNED
from f5_worker.models.published import Checkpoint

PIN = re.compile(r"([\w.-]+)@([0-9a-f]{40}):([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True)
class PinPolicy:
    """The operator's settings about checkpoints.

    pins: commit and sha256 of the weights by the checkpoint's name; they replace those of published.json.
    allow_unpinned: also take what a hub or cache has under the name.
    """

    pins: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    allow_unpinned: bool = False

    @classmethod
    def from_settings(cls, pins: str, allow_unpinned: bool) -> PinPolicy:
        """Return the policy of F5_PINS and F5_ALLOW_UNPINNED.

        Raises:
            ValueError: an entry is not NAME@COMMIT:SHA256.
        """
        found = {}
        for entry in filter(None, (entry.strip() for entry in pins.split(","))):
            match = PIN.fullmatch(entry)
            if match is None:
                raise ValueError(f"F5_PINS: {entry!r} is not NAME@COMMIT:SHA256")
            found[match[1]] = (match[2], match[3])
        return cls(found, allow_unpinned)

    def apply(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return the checkpoint with the operator's commit and sha256, or unchanged if there are none for it."""
        if checkpoint.name not in self.pins:
            return checkpoint
        commit, sha256 = self.pins[checkpoint.name]
        moved = checkpoint if commit == checkpoint.model.revision else checkpoint.at(commit)
        return replace(moved, model=replace(moved.model, sha256=sha256))

    def refusal(self, checkpoint: Checkpoint) -> str | None:
        """Return why a checkpoint, after `apply`, may not be used from a hub or cache, or None if it may."""
        if self.allow_unpinned or checkpoint.unknown is None:
            return None
        return (
            f"{checkpoint.name} is not pinned: no {checkpoint.unknown} is known of {checkpoint.model.repo}; set "
            f"F5_PINS={checkpoint.name}@COMMIT:SHA256, or F5_ALLOW_UNPINNED=true to take what the hub has"
        )


def unpinned_copy(directory: Path) -> str | None:
    """Return a warning with the pin of a copy, or None if its files were known before it was made."""
    manifest = copies.read_manifest(directory) if directory.parent.name.endswith(UNPINNED) else None
    if manifest is None:
        return None
    sha256 = next((sha256 for file, sha256 in manifest.origin.items() if file.startswith("model: ")), None)
    return f"the weights are not pinned; these are F5_PINS={directory.name}@{manifest.revision}:{sha256}"
