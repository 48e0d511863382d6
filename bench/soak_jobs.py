"""The jobs that soak.py sends: every contract, format and action, faults, and files made to harm."""

from __future__ import annotations

import base64
import http.server
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.attacks.files import flac_with_comments, m4a_of_many_samples, wav_with_id3  # noqa: E402 - see soak.py
from tests.e2e.fake_api import Body  # noqa: E402

CLIP = ROOT / "models" / "f5-tiny" / "voices" / "joe.wav"
WORDS = CLIP.with_suffix(".txt").read_text(encoding="utf-8").strip()
SAY: Body = {"text": "Seven quiet gardeners.", "voice": "joe", "nfe_step": 4, "cfg_strength": 0}  # the least work
LONG: Body = SAY | {"text": "Seven quiet gardeners painted the harbour wall. " * 20}
SRT = "1\n00:00:00,200 --> 00:00:01,500\n[Ann]: Good day.\n\n2\n00:00:01,700 --> 00:00:03,000\nAnd good night.\n"
DUB: Body = {"action": "dub", "voice": "joe", "voices": {"Ann": "bella"}, "nfe_step": 4, "subtitles": SRT}
CAPTIONS: Body = {"timings": "characters", "captions": {"formats": ["srt", "vtt", "ass", "csv", "json"]}}
LEGACY: Body = {"endpoint": "tts", "text": "Good day.", "local_voice": "quick"}
CONSENT = "The reader agreed to this test."


@dataclass(frozen=True)
class Kind:
    """Jobs of one kind, sent one after another by one caller.

    inputs: from the job's number and its seed. codes: of the errors that are right; none means no error.
    varies: answers to equal requests are not compared. cancelled: the caller cancels each job once it has begun.
    """

    name: str
    inputs: Callable[[int, int], Sequence[object]]
    codes: tuple[str, ...] = ()
    varies: bool = False
    cancelled: bool = False


def speech(name: str, **fields: Any) -> Kind:
    """Return a kind that speaks. A difference of one bit may change all of a compressed file."""
    is_lossy = fields.get("format") in ("mp3", "opus")
    return Kind(name, lambda number, seed: [SAY | {"seed": seed} | fields], varies=is_lossy)


def refused(name: str, job_input: object, *codes: str) -> Kind:
    """Return a kind that is refused with one of these codes."""
    return Kind(name, lambda number, seed: [job_input], codes)


def harmful() -> Kind:
    """Return a kind with recordings that take a decoder's memory or time."""
    recordings = (flac_with_comments(40_000), wav_with_id3(40_000), m4a_of_many_samples(85_000_000))

    def report(number: int, seed: int) -> Sequence[object]:
        reference = {"audio": base64.b64encode(recordings[seed]).decode(), "transcript": "Good day."}
        return [{"action": "voices.report", "reference": reference}]

    return Kind("harmful", report, ("REFERENCE_UNREADABLE",))


def a_voices_life(number: int, seed: int) -> Sequence[object]:
    """Return the jobs that add a voice, replace it, speak with it, list it and delete it."""
    add = added(f"v{number}")
    named = {"name": f"v{number}"}
    return [
        add,
        add | {"replace": True},
        SAY | {"voice": f"v{number}", "seed": seed},
        {"action": "voices.list"},
        {"action": "voices.get", **named},
        {"action": "voices.delete", **named},
    ]


def added(name: str) -> Body:
    """Return the job that adds a voice; contracts that cannot say so get fewer steps with it."""
    words = {"transcript": WORDS, "consent": CONSENT, "defaults": {"quality": "fast"}}
    return {"action": "voices.add", "name": name, "audio": encoded(), **words}


def encoded() -> str:
    """Return the clip as a request carries it."""
    return base64.b64encode(CLIP.read_bytes()).decode()


def kinds(url: str) -> list[Kind]:
    """Return every kind of job; `url` is the address of `files_server`."""
    own = {name: value for name, value in SAY.items() if name != "voice"}

    def fetched(page: str) -> Body:
        return own | {"seed": 1, "reference": {"audio": f"{url}/{page}", "transcript": WORDS}}

    def openai(number: int, seed: int) -> Sequence[object]:
        call = {"input": "Good day.", "voice": "quick", "response_format": ("mp3", "opus", "flac", "pcm")[seed % 4]}
        return [{"openai_route": "/v1/audio/speech", "openai_input": call | {"stream_format": "sse"}}]

    return [
        speech("plain", cfg_strength=2),
        speech("mp3", format="mp3"),
        speech("opus", format="opus", sample_rate=48_000),
        speech("raw", format="pcm_s16le", sample_rate=8_000),
        speech("captions", cfg_strength=2, **CAPTIONS),
        speech("levelled", loudness_lufs=-16.0, trim_silence=True),
        speech("long", text="Seven quiet gardeners painted the harbour wall, and then it rained. " * 2),
        speech("numbers", text="On 3 May 2024 at 10:30 Dr. Lee paid $5."),
        Kind(
            "own clip", lambda _, seed: [own | {"seed": seed, "reference": {"audio": encoded(), "transcript": WORDS}}]
        ),
        Kind("by url", lambda number, seed: [fetched("clip.wav") | {"seed": seed}]),
        Kind("dub", lambda number, seed: [DUB | {"seed": seed, **CAPTIONS}]),
        Kind("openai", openai, varies=True),  # it draws its own seed
        Kind("legacy", lambda number, seed: [LEGACY | {"seed": seed, "return_word_timings": True}]),
        Kind("legacy voices", lambda number, seed: [{"endpoint": "list_voices"}], varies=True),
        Kind("a voice's life", a_voices_life, varies=True),
        Kind("report", lambda number, seed: [{"action": "voices.report", "name": "joe"}]),
        Kind("health", lambda number, seed: [{"action": "health"}], varies=True),
        Kind("cancelled", lambda number, seed: [LONG | {"seed": seed}], varies=True, cancelled=True),
        refused("page", fetched("page"), "REFERENCE_UNREADABLE", "FETCH_FAILED"),
        refused("no page", fetched("none"), "FETCH_FAILED"),
        refused("half a file", fetched("half"), "FETCH_FAILED"),
        refused("slow server", fetched("slow"), "FETCH_FAILED"),
        refused("not an object", "text", "INVALID_INPUT"),
        Kind("unknown voice", lambda number, seed: [SAY | {"voice": "nil"}], ("UNKNOWN_VOICE",), varies=True),
        refused("nothing to speak", SAY | {"text": "?!..."}, "TEXT_UNSPEAKABLE"),
        refused("wrong values", SAY | {"captions": {"formats": [1] * 100_000}}, "INVALID_INPUT"),
        refused("unknown fields", SAY | {f"field{i}": 0 for i in range(5_000)}, "INVALID_INPUT"),
        refused("no subtitles", DUB | {"subtitles": "no times"}, "SUBTITLES_UNREADABLE"),
        harmful(),
    ]


@contextmanager
def files_server() -> Iterator[str]:
    """Serve the clip, and answers that are none, on loopback; yield the address."""
    clip = CLIP.read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/")
            self.send_response(404 if name == "none" else 200)
            self.send_header("Content-Length", str(len(clip)))
            self.end_headers()
            if name == "slow":
                for byte in clip[:100]:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)
            else:
                page = b"<!doctype html>".ljust(len(clip))
                self.wfile.write({"clip.wav": clip, "page": page}.get(name, clip[: len(clip) // 2]))

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                self.close_connection = True

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
