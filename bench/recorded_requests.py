"""Record the responses to a fixed set of requests, so that two versions of the worker can be compared.

    python bench/recorded_requests.py out/before.json       in the one tree
    python bench/recorded_requests.py out/after.json        in the other
    diff out/before.json out/after.json

Each request is sent to the queue's server with f5-tiny in fp32 and a fixed seed, whole and streamed; audio is recorded
by its hash, so that equal files mean equal bits. Times, and what differs from run to run, are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as f5_worker/server/startup.py does

from f5_worker.server.runpod import QueueServer  # noqa: E402 - found only once the path is set
from f5_worker.server.startup import load_worker  # noqa: E402
from f5_worker.settings import Settings  # noqa: E402

VARYING = ("metrics", "uptime_s", "modified_at", "last_modified")
LONGEST_CHARS = 400  # longer strings are files, and recorded by their hash
TINY = ROOT / "models" / "f5-tiny"
CLIP = base64.b64encode((TINY / "voices" / "joe.wav").read_bytes()).decode()
WORDS = (TINY / "voices" / "joe.txt").read_text(encoding="utf-8").strip()
PLAIN = {"text": "The morning light came slowly over the quiet hills.", "voice": "joe", "seed": 7, "quality": "fast"}
LONG = PLAIN | {"text": "We met at 10:30 on the 3rd floor. Dr. Smith paid $5 for it! " * 5}
OWN = {name: value for name, value in PLAIN.items() if name != "voice"}
SRT = """1
00:00:00,500 --> 00:00:03,000
[Ann]: The first line.

2
00:00:03,200 --> 00:00:05,000
And the second one, which is rather long for its slot.
"""
DUB = {"action": "dub", "subtitles": SRT, "voice": "joe", "seed": 3, "quality": "fast"}
SPEECH = {"input": "Hello there, my friend.", "voice": "joe"}
LEGACY = {"endpoint": "tts", "text": "Hello there, my friend.", "local_voice": "joe", "seed": 5}
CAPTIONS = {"formats": ["srt", "vtt", "ass", "csv", "json"]}

REQUESTS: tuple[Any, ...] = (
    PLAIN,
    PLAIN | {"format": "mp3"},
    PLAIN | {"format": "opus", "sample_rate": 48_000},
    PLAIN | {"format": "flac", "sample_rate": 44_100},
    PLAIN | {"format": "aac"},
    PLAIN | {"format": "pcm_s16le", "sample_rate": 8_000},
    PLAIN | {"format": "wav_f32"},
    PLAIN | {"loudness_lufs": -16.0, "trim_silence": True},
    PLAIN | {"pad_start_s": 0.5, "pad_end_s": 0.25},
    PLAIN | {"timings": "words"},
    PLAIN | {"timings": "characters", "captions": CAPTIONS},
    PLAIN | {"fix_duration_s": 3.0},
    PLAIN | {"speed": 1.3},
    PLAIN | {"delivery": "s3"},
    OWN | {"reference": {"audio": CLIP, "transcript": WORDS}},
    LONG | {"timings": "words", "captions": {"formats": ["srt"]}},
    LONG | {"timings": "words", "cross_fade_s": 0.15},
    LONG | {"nfe_step": 9},
    DUB | {"voices": {"Ann": "bella"}, "timings": "words", "captions": {"formats": ["vtt"]}},
    DUB | {"subtitles": SRT.replace("[Ann]: ", ""), "track_s": 9.0, "loudness_lufs": -20.0, "pad_end_s": 1},
    DUB | {"subtitles": "no times"},
    {"openai_route": "/v1/audio/speech", "openai_input": SPEECH | {"response_format": "pcm"}},
    {"openai_route": "/v1/models"},
    LEGACY | {"return_word_timings": True},
    {"endpoint": "list_voices"},
    {"action": "voices.list"},
    {"action": "voices.get", "name": "joe"},
    {"action": "voices.report", "name": "joe"},
    {"action": "voices.report", "reference": {"audio": CLIP, "transcript": WORDS}},
    {"action": "health"},
    {"action": "diagnose"},
    {"action": "sing"},
    {"text": "x", "voise": "joe"},
    {"text": "...", "voice": "joe"},
    {"text": "Hi.", "voice": "nobody"},
    "not an object",
)


def constant(value: Any) -> Any:
    """Return a response without the fields that vary, and with files as hashes."""
    if isinstance(value, dict):
        return {name: constant(inner) for name, inner in value.items() if name not in VARYING}
    if isinstance(value, list):
        return [constant(inner) for inner in value]
    if isinstance(value, str) and len(value) > LONGEST_CHARS:
        return hashlib.sha256(value.encode()).hexdigest()
    return value


def settings(**changes: Any) -> Settings:
    """Return the settings of a worker with the small model."""
    return Settings(model="f5-tiny", device="cpu", precision="fp32", **changes)


async def record(path: Path) -> None:
    """Send all requests and write the responses."""
    found: dict[str, Any] = {}
    whole = QueueServer(load_worker(settings()))
    streaming = QueueServer(load_worker(settings(streaming=True)))
    tight = QueueServer(load_worker(settings(max_reply_bytes=60_000)))
    for number, request in enumerate(REQUESTS):
        job = {"id": f"job-{number}", "input": request}
        found[f"whole {number}"] = constant(await whole.answer(job))
        found[f"streamed {number}"] = [constant(item) async for item in streaming.stream(job)]
    for reencode in (False, True):
        job = {"id": "job-tight", "input": PLAIN | {"allow_reencode": reencode}}
        found[f"tight, allow_reencode={reencode}"] = constant(await tight.answer(job))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Record the responses to the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    asyncio.run(record(parser.parse_args().path))
    os._exit(0)  # the engines' threads hold the process


if __name__ == "__main__":
    main()
