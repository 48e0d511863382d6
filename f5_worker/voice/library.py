"""The voices that ship with a model: `voices/<name>.wav` and its transcript, `voices/<name>.txt`."""

from __future__ import annotations

import difflib
import threading
from pathlib import Path

from f5_worker.errors import UnknownVoice
from f5_worker.settings import Settings
from f5_worker.voice.reference import Reference, prepare


class Library:
    """References by name, each prepared when first asked for and then kept."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self._settings = settings
        clips = sorted(directory.glob("*.wav"))
        self._clips = {clip.stem: clip for clip in clips if clip.with_suffix(".txt").is_file()}
        self._prepared: dict[str, Reference] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        return list(self._clips)

    def reference(self, name: str) -> Reference:
        """The voice of that name.

        Raises:
            UnknownVoice: with the names there are.
        """
        if name not in self._clips:
            near = difflib.get_close_matches(name, self._clips, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            have = f"this model has {', '.join(self._clips)}" if self._clips else "this model ships no voices"
            raise UnknownVoice(f"there is no such voice; {hint}{have}, or send a reference of your own")
        with self._lock:
            if name not in self._prepared:
                clip = self._clips[name]
                transcript = clip.with_suffix(".txt").read_text(encoding="utf-8").strip()
                self._prepared[name] = prepare(clip.read_bytes(), transcript, self._settings)
            return self._prepared[name]
