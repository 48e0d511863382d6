"""What the clients of bench/http_load.py send: requests, the errors that are right, and what of an answer may vary."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

VOICES = Path(__file__).resolve().parent.parent / "models" / "f5-tiny" / "voices"
SENTENCES = [f"Sentence number {word} goes by, and it says so." for word in ("one", "two", "three", "four", "five")]
EVENTS, FILE = {"Accept": "text/event-stream"}, {"Accept": "audio/*"}
N_SEEDS = 10
VARYING = ("metrics", "uptime_s", "jobs_running", "created_at", "id")
_CLIP = (VOICES / "joe.wav").read_bytes()
_WORDS = (VOICES / "joe.txt").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Sent:
    """One request. `codes`: the errors that are right; empty where it should be answered."""

    name: str
    method: str
    path: str
    json: Any = None
    form: dict[str, str] = field(default_factory=dict)
    data: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    codes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Return what equal requests have in common."""
        return repr((self.path, self.json, self.form, self.headers))

    def body(self) -> dict[str, Any]:
        """Return the body as arguments of aiohttp."""
        if self.form:
            form = aiohttp.FormData(self.form)
            form.add_field("reference.audio", _CLIP, filename="joe.wav")
            form.add_field("reference.transcript", _WORDS.encode("utf-16"), filename="joe.txt")
            return {"data": form}
        return {"data": self.data} if self.data is not None else {"json": self.json} if self.json else {}


def good(chance: random.Random) -> Sent:
    """Return a request that is right."""
    text = " ".join(SENTENCES[: chance.randint(1, len(SENTENCES))])
    seed = chance.randrange(N_SEEDS)
    speech = {"text": text, "voice": "joe", "seed": seed, "nfe_step": 7}
    openai = {"model": "tts-1", "input": text, "voice": "joe", "seed": seed}
    kind = chance.randrange(12)
    if kind < 4:
        format = chance.choice(["pcm", "mp3", "opus", "wav", "flac", "aac"])
        return Sent("openai", "POST", "/v1/audio/speech", openai | {"response_format": format})
    if kind == 4:
        return Sent("openai sse", "POST", "/v1/audio/speech", openai | {"stream_format": "sse"})
    if kind in (5, 6):
        captions = {"timings": "words", "captions": {"formats": ["srt", "ass"]}, "format": "opus"}
        return Sent("json", "POST", "/v1/synthesize", speech | captions)
    if kind == 7:
        return Sent("file", "POST", "/v1/synthesize", speech | {"format": "flac"}, headers=FILE)
    if kind == 8:
        return Sent("events", "POST", "/v1/synthesize", speech | {"trim_silence": True}, headers=EVENTS)
    if kind == 9:
        form = {name: str(value) for name, value in speech.items() if name != "voice"} | {"format": "mp3"}
        return Sent("form", "POST", "/v1/synthesize", form=form)
    if kind == 10:
        srt = f"1\n00:00:00,500 --> 00:00:04,000\n{SENTENCES[0]}\n"
        return Sent("dub", "POST", "/v1/dub", {"subtitles": srt, "voice": "joe", "seed": seed, "format": "mp3"})
    return Sent("list", "GET", chance.choice(["/v1/voices", "/v1/models", "/v1/audio/voices", "/health"]))


def bad(chance: random.Random) -> Sent:
    """Return a request that is wrong."""
    path, speech = "/v1/synthesize", {"text": SENTENCES[0], "voice": "joe"}
    # The body does not come, so the connection cannot serve another request.
    too_long = {"Content-Length": str(10**9), "Connection": "close"}
    return chance.choice(
        [
            Sent("bad", "POST", path, speech | {"voice": "nowhere"}, codes=("UNKNOWN_VOICE",)),
            Sent("bad", "POST", path, speech | {"speeed": 1}, codes=("INVALID_INPUT",)),
            Sent("bad", "POST", path, data=b'{"text": ', codes=("INVALID_INPUT",)),
            Sent("bad", "POST", path, {"text": "..."} | {"voice": "joe"}, codes=("TEXT_UNSPEAKABLE",)),
            Sent("bad", "POST", path, {"text": "Hi.", "reference": {"audio": "AAAA"}}, codes=("REFERENCE_UNREADABLE",)),
            Sent("bad", "POST", path, form={"text": SENTENCES[0], "seed": "seven"}, codes=("INVALID_INPUT",)),
            Sent("bad", "POST", "/v1/audio/speech", {"input": ""}, codes=("INVALID_INPUT",)),
            Sent("bad", "GET", "/v1/nothing", codes=("NOT_FOUND",)),
            Sent("bad", "POST", path, data=b"", headers=too_long, codes=("BODY_TOO_LARGE",)),
        ]
    )


def digest(sent: Sent, body: bytes) -> str:
    """Return a sum of what an answer says, without what varies between equal requests."""
    if sent.headers == EVENTS:
        blocks = [block for block in body.decode().split("\n\n") if not block.startswith("event: progress")]
        body = "\n".join(_plain(block.partition("data: ")[2]) for block in blocks if block).encode()
    elif body.startswith(b"{"):
        body = _plain(body.decode()).encode()
    return hashlib.sha256(body).hexdigest()


def _plain(text: str) -> str:
    return json.dumps({name: value for name, value in json.loads(text).items() if name not in VARYING}, sort_keys=True)
