"""A copy of each result on disk, for `docker run` with a mounted directory. Off unless F5_SAVE_DIR is set."""

from __future__ import annotations

import json
import re
from pathlib import Path

from f5_worker.audio.encode import FORMATS
from f5_worker.delivery.inline import decode_base64
from f5_worker.schema.responses import SpeechResponse
from f5_worker.storage import files as cache

_SAFE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def save(reply: SpeechResponse, directory: Path, job_id: str) -> Path:
    """Write `<job>.<format>` and `<job>.json` (the reply without its base64); return the audio's path.

    A job id that could be a path is replaced: it comes from whoever sent the job.
    """
    name = job_id if _SAFE_NAME.fullmatch(job_id) else "job"
    directory.mkdir(parents=True, exist_ok=True)
    audio = directory / f"{name}.{FORMATS[reply.audio.format].extension}"
    cache.write(audio, decode_base64(reply.audio.base64 or ""))
    facts = reply.model_dump(exclude={"audio": {"base64"}})
    cache.write(directory / f"{name}.json", json.dumps(facts, indent=2, ensure_ascii=False).encode())
    return audio
