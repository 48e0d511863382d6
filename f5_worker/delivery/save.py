"""A copy of each result on disk, for `docker run` with a mounted directory. Off unless F5_SAVE_DIR is set."""

from __future__ import annotations

import json
from pathlib import Path

from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.schema.responses import SpeechResponse
from f5_worker.storage import files


def save(response: SpeechResponse, directory: Path, safe_id: str) -> Path:
    """Write `<id>.<format>` and `<id>.json` (the response without its audio); return the audio's path.

    Args:
        response: carries its audio, `response.audio.data`.
        safe_id: see `artifacts.safe_id`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    audio = directory / f"{safe_id}.{AUDIO_FORMATS[response.audio.format].extension}"
    files.write(audio, response.audio.data or b"")
    facts = response.model_dump(exclude={"audio": {"data"}, "cue_files": {"__all__": {"data"}}})
    files.write(directory / f"{safe_id}.json", json.dumps(facts, indent=2, ensure_ascii=False).encode())
    return audio
