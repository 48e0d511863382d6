"""The earlier F5-TTS worker's contract, so that its callers keep working: `endpoint: tts | upload | ...`.

docs/api.md says field by field what became of each. Its `status` and `result` are gone: RunPod keeps a job's
state (`/status/<id>`), a worker cannot, as the next question may reach another one.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from f5_worker.errors import InvalidInput
from f5_worker.schema.requests import (
    MAX_SEED,
    MAX_TEXT_CHARS,
    Input,
    SynthesizeInput,
    VoiceRequest,
    VoicesAddInput,
    VoicesListInput,
    check,
)
from f5_worker.voices.library import name_from_file

MARKS = ("endpoint", "local_voice", "return_word_timings", "timing_format")  # fields that only the old contract has
ENDPOINTS = ("tts", "upload", "list_voices", "download")
_KEY = re.compile(r"(output|timings)/[A-Za-z0-9_-]{1,64}\.[a-z0-9]{2,5}")
_MIME = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "ass": "text/x-ssa",
    "csv": "text/csv",
    "json": "application/json",
}


class TtsInput(Input):
    """`endpoint: "tts"`, or none."""

    endpoint: Literal["tts"] | None = None
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)
    speed: float = Field(1.0, ge=0.5, le=2)
    local_voice: str | None = Field(None, min_length=1)
    return_word_timings: bool = False
    timing_format: Literal["srt", "vtt", "csv", "json", "ass"] = "srt"
    timing_method: str | None = None
    seed: int | None = Field(None, ge=0, le=MAX_SEED)


class UploadInput(Input):
    """`endpoint: "upload"`; files as base64 or by URL."""

    endpoint: Literal["upload"]
    voice_name: str = Field(min_length=1, max_length=80)
    voice_file: str | None = None
    voice_file_url: str | None = None
    text_file: str | None = None
    text_file_url: str | None = None
    consent: str | None = None


class ListInput(Input):
    """`endpoint: "list_voices"`."""

    endpoint: Literal["list_voices"]


class DownloadInput(Input):
    """`endpoint: "download"`: a stored file by its key, or by job."""

    endpoint: Literal["download"]
    file_path: str | None = None
    job_id: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    type: Literal["audio", "timing"] = "audio"
    format: str | None = Field(None, pattern=r"^[a-z0-9]{2,5}$")


@dataclass(frozen=True)
class Download:
    """A file of the bucket that an old caller asks for; `by_path` tells which form of reply it knows."""

    key: str
    by_path: bool


LegacyJob = SynthesizeInput | VoiceRequest | Download


def is_legacy(value: Mapping[str, Any]) -> bool:
    return "action" not in value and any(mark in value for mark in MARKS)


def read(value: Mapping[str, Any]) -> LegacyJob:
    """An old caller's input as a job of today.

    Raises:
        InvalidInput: a field is wrong, by its old name; or what was asked for is no longer done.
    """
    endpoint = value.get("endpoint")
    if endpoint in ("status", "result"):
        raise InvalidInput(f"endpoint {endpoint!r} is gone: ask RunPod for /status/<job id>; the reply has the result")
    if endpoint == "upload":
        return _upload(check(UploadInput, value))
    if endpoint == "list_voices":
        check(ListInput, value)
        return VoicesListInput(action="voices.list")
    if endpoint == "download":
        return _download(check(DownloadInput, value))
    if endpoint not in (None, "tts"):
        raise InvalidInput(f"endpoint {str(endpoint)[:40]!r} is none of {', '.join(ENDPOINTS)}")
    return _tts(check(TtsInput, value))


def _tts(old: TtsInput) -> SynthesizeInput:
    job: dict[str, Any] = {"text": old.text, "speed": old.speed, "seed": old.seed}
    if old.local_voice is not None and old.local_voice.startswith(("https://", "http://")):
        job["reference"] = {"audio": old.local_voice}
    elif old.local_voice is not None:
        job["voice"] = name_from_file(old.local_voice)
    if old.return_word_timings:
        job |= {"timings": "words", "captions": {"formats": [old.timing_format]}}
    return check(SynthesizeInput, job)


def _upload(old: UploadInput) -> VoicesAddInput:
    audio = old.voice_file_url or old.voice_file
    if audio is None:
        raise InvalidInput("voice_file_url is missing")
    job: dict[str, Any] = {"action": "voices.add", "name": name_from_file(old.voice_name), "audio": audio}
    job |= {"consent": old.consent, "replace": True}  # the earlier worker wrote over a voice of the same name
    job["transcript"] = old.text_file_url or (_text(old.text_file) if old.text_file else None)
    return check(VoicesAddInput, job)


def _text(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8-sig")
    except ValueError:
        raise InvalidInput("text_file is not base64 of a UTF-8 text; encode the transcript so") from None


def _download(old: DownloadInput) -> Download:
    if old.file_path is not None:
        key = old.file_path.removeprefix("/")
    elif old.job_id is not None:
        folder, default = ("output", "wav") if old.type == "audio" else ("timings", "srt")
        key = f"{folder}/{old.job_id}.{old.format or default}"
    else:
        raise InvalidInput("file_path or job_id is missing")
    if not _KEY.fullmatch(key):
        raise InvalidInput("file_path names no result; results are output/<job id>.wav and timings/<job id>.srt")
    return Download(key, by_path=old.file_path is not None)


def reply(job: LegacyJob, value: Mapping[str, Any], job_id: str) -> dict[str, Any]:
    """Today's reply in the words of the old contract."""
    if isinstance(job, SynthesizeInput):
        return _spoken(job, value, job_id)
    if isinstance(job, VoicesAddInput):
        voice = value["voice"]
        return {"status": f"Voice '{voice['name']}' uploaded successfully.", "report": voice["report"]}
    if isinstance(job, VoicesListInput):
        voices = [_listed(voice) for voice in value["voices"]]
        return {"voices": voices, "count": len(voices), "status": "success"}
    return dict(value)


def _listed(voice: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": voice["name"],
        "voice_file": f"{voice['name']}.{voice['format']}",
        "size": voice["bytes"],
        "last_modified": voice["modified_at"],
    }


def _spoken(job: SynthesizeInput, value: Mapping[str, Any], job_id: str) -> dict[str, Any]:
    audio = value["audio"]
    old: dict[str, Any] = {
        "audio_url": audio.get("url") or f"data:audio/wav;base64,{audio['base64']}",
        "duration": audio["duration_s"],
        "text": job.text,
        "status": "completed",
        "job_id": job_id,
    }
    if "captions" in value:
        timed = value["timings"]
        scores = [word["confidence"] for word in timed["words"] if "confidence" in word]
        old |= {
            "timing_files": {name: _address(name, file) for name, file in value["captions"].items()},
            "timing_format": next(iter(value["captions"])),
            "word_count": len(timed["words"]),
            "word_timings": [
                {"word": word["text"], "start_time": word["start_s"], "end_time": word["end_s"]}
                for word in timed["words"]
            ],
            "timing_source": timed["source"],
        }
        if scores:
            old["timing_confidence"] = round(sum(scores) / len(scores), 3)
    return old


def _address(name: str, file: Mapping[str, Any]) -> str:
    """Where a caption file is: its URL, or itself as a data URL where there is no bucket."""
    if "url" in file:
        return str(file["url"])
    encoded = base64.b64encode(file["content"].encode()).decode()
    return f"data:{_MIME[name]};charset=utf-8;base64,{encoded}"


def downloaded(job: Download, data: bytes) -> dict[str, Any]:
    """The reply to `download`, in the form of the version that the caller knows."""
    name = job.key.rpartition("/")[2]
    mime = _MIME.get(name.rpartition(".")[2], "application/octet-stream")
    encoded = base64.b64encode(data).decode()
    if job.by_path:
        return {
            "success": True,
            "file_content": encoded,
            "mime_type": mime,
            "file_size": len(data),
            "file_name": name,
        }
    kind = "audio" if job.key.startswith("output/") else "timing"
    return {f"{kind}_data": encoded, "content_type": mime, "filename": name}
