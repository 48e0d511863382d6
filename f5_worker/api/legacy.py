"""The contract of the F5-TTS worker before this one, so that its callers keep working: `endpoint: tts | upload | ...`.

docs/api.md maps each field. The endpoints `status` and `result` were removed: RunPod keeps a job's state
(`/status/<id>`); a worker cannot, since the next request may reach another one.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from f5_worker.api.call import Call
from f5_worker.api.native import Contract, Json
from f5_worker.audio.formats import INPUT_EXTENSIONS, MIME_BY_EXTENSION
from f5_worker.errors import InvalidInput
from f5_worker.schema.actions import check
from f5_worker.schema.requests import (
    MAX_SEED,
    MAX_SUBTITLE_CHARS,
    MAX_TEXT_CHARS,
    Input,
    SynthesizeInput,
    VoicesAddInput,
    VoicesListInput,
)
from f5_worker.schema.voices import MAX_VOICE_CHARS, KeyedInput
from f5_worker.subtitles.formats import SUBTITLE_FORMATS
from f5_worker.voices.naming import clip_name, extension, stem_of, upload_names

MAX_TEXT_FILE_CHARS = 4 * MAX_SUBTITLE_CHARS * 4 // 3  # base64 of the longest transcript, 4 bytes a character
FIELDS = ("endpoint", "local_voice", "return_word_timings", "timing_format")  # that only this contract has
_MIME_TYPES = {**MIME_BY_EXTENSION, **{caption.extension: caption.mime for caption in SUBTITLE_FORMATS.values()}}
_KEY = re.compile(r"(output|timings)/[A-Za-z0-9_-]{1,64}\.[a-z0-9]{2,5}")


class UploadedVoice(VoicesAddInput):
    """A voice that is stored under a name made from its file's.

    Attributes:
        original: the file's name, without its extension; the voice of another file is never replaced.
    """

    original: str


class TtsInput(KeyedInput, Input):
    """`endpoint: "tts"`, or none."""

    endpoint: Literal["tts"] | None = None
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)
    speed: float = Field(1.0, ge=0.5, le=2)
    local_voice: str | None = Field(None, min_length=1)
    return_word_timings: bool = False
    timing_format: Literal["srt", "vtt", "csv", "json", "ass"] = "srt"
    timing_method: str | None = None
    seed: int | None = Field(None, ge=0, le=MAX_SEED)


class UploadInput(KeyedInput, Input):
    """`endpoint: "upload"`; files as base64 or by URL."""

    endpoint: Literal["upload"]
    voice_name: str = Field(min_length=1, max_length=MAX_VOICE_CHARS)
    voice_file: str | None = None
    voice_file_url: str | None = None
    text_file: str | None = Field(None, max_length=MAX_TEXT_FILE_CHARS)
    text_file_url: str | None = None
    consent: str | None = None


class ListInput(KeyedInput, Input):
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
    """A file of the bucket. `by_path`: it was asked for by path, which decides the form of the response."""

    key: str
    by_path: bool


def is_legacy(value: Mapping[str, Any]) -> bool:
    """Return whether a job's input is written in this contract."""
    return "action" not in value and any(field in value for field in FIELDS)


class LegacyContract(Contract):
    """The contract of one legacy job."""

    streams = False
    _value: Mapping[str, Any]

    def _parse(self) -> SynthesizeInput | VoicesAddInput | VoicesListInput | Download:
        """Translate the input into a request of today; faults are named by the legacy names of the fields."""
        endpoint = self._value.get("endpoint")
        if endpoint in ("status", "result"):
            raise InvalidInput(
                f"endpoint {endpoint!r} was removed: ask RunPod for /status/<job id>; the reply has the result"
            )
        model, translate = _ENDPOINTS.get(str(endpoint or "tts"), (None, None))
        if model is None or translate is None:
            raise InvalidInput(f"endpoint {str(endpoint)[:40]!r} is none of {', '.join(_ENDPOINTS)}")
        request: SynthesizeInput | VoicesAddInput | VoicesListInput | Download = translate(check(model, self._value))
        return request

    def response(self, response: Json) -> Json:
        """Return a response in the legacy form."""
        return _RENDER[type(self.request)](self.request, response, self.job_id)


def _tts(old: TtsInput) -> SynthesizeInput:
    fields: dict[str, Any] = {"text": old.text, "speed": old.speed, "seed": old.seed, "voices_key": old.voices_key}
    if old.local_voice is not None and old.local_voice.startswith(("https://", "http://")):
        fields["reference"] = {"audio": old.local_voice}
    elif old.local_voice is not None:
        fields["voice"] = _file_name(old.local_voice)
    if old.return_word_timings:
        fields |= {"timings": "words", "captions": {"formats": [old.timing_format]}}
    return check(SynthesizeInput, fields)


def _file_name(local_voice: str) -> str:
    """Return the file's name, always with the extension of a recording: its voice is then looked for as a file's."""
    name = local_voice.replace("\\", "/").rpartition("/")[2]
    return name if extension(name) in INPUT_EXTENSIONS else f"{name}.{INPUT_EXTENSIONS[0]}"


def _upload(old: UploadInput) -> UploadedVoice:
    audio = old.voice_file_url or old.voice_file
    if audio is None:
        raise InvalidInput("voice_file_url is missing")
    original = clip_name(stem_of(old.voice_name))
    fields: dict[str, Any] = {"action": "voices.add", "name": upload_names(original)[0], "original": original}
    fields |= {"audio": audio, "consent": old.consent, "voices_key": old.voices_key}
    fields["replace"] = True  # the legacy worker replaced a voice of the same name
    fields["transcript"] = old.text_file_url or (_text(old.text_file) if old.text_file else None)
    return check(UploadedVoice, fields)


def _text(encoded: str) -> str:
    from f5_worker.transcripts.encodings import decode_transcript

    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise InvalidInput("text_file is not base64 of a text file; send the transcript in that form") from None
    return decode_transcript(data).text


def _download(old: DownloadInput) -> Download:
    if old.file_path is not None:
        key = old.file_path.removeprefix("/")
    elif old.job_id is not None:
        folder, default = ("output", "wav") if old.type == "audio" else ("timings", "srt")
        key = f"{folder}/{old.job_id}.{old.format or default}"
    else:
        raise InvalidInput("file_path or job_id is missing")
    if not _KEY.fullmatch(key):
        raise InvalidInput("file_path does not name a result; results are output/<job id>.wav and timings/<job id>.srt")
    return Download(key, by_path=old.file_path is not None)


def download(request: Download, call: Call) -> Json:
    """Return a file of the bucket in the form that the request's version of the contract has.

    Raises:
        InvalidInput: there is no bucket, or no such file. StorageFailed: the bucket cannot be read.
    """
    worker = call.worker
    if worker.bucket is None:
        raise InvalidInput("this worker has no bucket, so results are not kept; they are in the reply itself")
    data = worker.bucket.get(request.key, max_bytes=worker.settings.max_reply_bytes * 3 // 4)
    if data is None:
        raise InvalidInput("the bucket has no such result; it may have been deleted, or the job may have failed")
    return downloaded(request, data)


def _listing(request: VoicesListInput, value: Json, job_id: str) -> Json:
    voices = [_listed(voice) for voice in value["voices"]]
    return {"voices": voices, "count": len(voices), "status": "success"}


def _added(request: VoicesAddInput, value: Json, job_id: str) -> Json:
    voice = value["voice"]
    return {"status": f"Voice '{voice['name']}' uploaded successfully.", "report": voice["report"]}


def _listed(voice: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": voice["name"],
        "voice_file": f"{voice['name']}.{voice['format']}",
        "size": voice["bytes"],
        "last_modified": voice["modified_at"],
    }


def _spoken(request: SynthesizeInput, value: Json, job_id: str) -> Json:
    audio = value["audio"]
    old: dict[str, Any] = {
        "audio_url": audio.get("url") or f"data:audio/wav;base64,{audio['base64']}",
        "duration": audio["duration_s"],
        "text": request.text,
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
    """Return a caption file's URL; a data URL where there is no bucket."""
    if "url" in file:
        return str(file["url"])
    encoded = base64.b64encode(file["content"].encode()).decode()
    return f"data:{SUBTITLE_FORMATS[name].mime};charset=utf-8;base64,{encoded}"


def downloaded(request: Download, data: bytes) -> Json:
    """Return the response to a download of `data`."""
    name = request.key.rpartition("/")[2]
    mime = _MIME_TYPES.get(name.rpartition(".")[2], "application/octet-stream")
    encoded = base64.b64encode(data).decode()
    if request.by_path:
        return {
            "success": True,
            "file_content": encoded,
            "mime_type": mime,
            "file_size": len(data),
            "file_name": name,
        }
    kind = "audio" if request.key.startswith("output/") else "timing"
    return {f"{kind}_data": encoded, "content_type": mime, "filename": name}


_ENDPOINTS: Mapping[str, tuple[type[Input], Callable[[Any], Any]]] = {
    "tts": (TtsInput, _tts),
    "upload": (UploadInput, _upload),
    "list_voices": (ListInput, lambda old: VoicesListInput(action="voices.list", voices_key=old.voices_key)),
    "download": (DownloadInput, _download),
}
_RENDER: Mapping[type, Callable[[Any, Json, str], Json]] = {
    SynthesizeInput: _spoken,
    UploadedVoice: _added,
    VoicesListInput: _listing,
    Download: lambda request, value, job_id: value,
}
