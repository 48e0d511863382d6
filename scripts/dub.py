"""Dub a video: its speakers' own voices say the translated subtitles, each line at its time.

    python scripts/dub.py video.mp4 --original a.srt --translated b.srt --out dubbed.mp4 --url http://localhost:8000
    RUNPOD_API_KEY=... python scripts/dub.py video.mp4 --original a.vtt --translated b.vtt --out dubbed.mp4 \\
        --endpoint ENDPOINT_ID --language de --speakers "Ann=1-4,7;Bob=5-6" --original-sound remove

`--url` is the HTTP server (`make serve-http`), whose key, if it has one, comes from F5_API_KEY.
"""

from __future__ import annotations

import argparse
import base64
import os
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from f5_worker.storage.files import ensure_writable, explain  # noqa: E402
from scripts.say import POLL_S, REQUEST_TIMEOUT_S, STOPPED, Client, SayError, download, progress  # noqa: E402
from scripts.video import FORMATS, VideoError, check_video, extract_speech, replace_sound  # noqa: E402

MAX_QUEUE_BYTES = 10_000_000  # what RunPod takes as the body of /run


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = parse_arguments(argv)
    try:
        runner = runner_for(arguments)
        check_output(arguments)
        job = build_input(arguments)
        check_size(job, arguments)
        output = runner.run(job)
        save(output, arguments)
    except (SayError, VideoError) as error:
        print(f"dub: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"dub: {error.filename or arguments.out}: {explain(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dub: stopped", file=sys.stderr)
        return STOPPED
    return 0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--original", type=Path, required=True, help="subtitles of what is said in the video")
    parser.add_argument("--translated", type=Path, required=True, help="subtitles of what is to be said instead")
    parser.add_argument("--out", type=Path, required=True, help=f"the dubbed video: {', '.join(FORMATS)}")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--url", help="the worker's HTTP server, such as http://localhost:8000")
    target.add_argument("--endpoint", help="a RunPod queue endpoint's id; the key comes from RUNPOD_API_KEY")
    parser.add_argument("--source-url", help="where the worker fetches the video's sound, instead of being sent it")
    parser.add_argument(
        "--speakers", type=_pairs, default={}, help='who speaks which cue of --original: "Ann=1-4,7;Bob=5"'
    )
    parser.add_argument(
        "--voices", type=_pairs, default={}, help='voices of the library for speakers: "Ann=joe;Bob=bella"'
    )
    parser.add_argument("--voice", help="the voice of speakers who cannot be cloned")
    parser.add_argument("--language", help="of --translated, such as de")
    parser.add_argument("--quality", choices=("fast", "balanced", "best"))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--on-overrun", choices=("shorten_pause", "overlap", "fail"), default="shorten_pause")
    parser.add_argument("--max-delay", type=float, metavar="S", help="no line starts later: it overlaps the one before")
    parser.add_argument("--original-sound", choices=("duck", "remove", "keep"), default="duck")
    parser.add_argument("--captions", help="subtitles of the new sound beside --out: any of srt,vtt,ass,csv,json")
    arguments = parser.parse_args(argv)
    if arguments.out.suffix.lower() not in FORMATS:
        parser.error(f"--out must end in one of {', '.join(FORMATS)}")
    if arguments.out.resolve() == arguments.video.resolve():
        parser.error("--out is the video itself")
    return arguments


def check_output(arguments: argparse.Namespace) -> None:
    """Raise what would keep `save` from writing the video, before the job is paid for.

    Raises:
        VideoError: see `check_video`. OSError: its directory cannot be written to.
    """
    check_video(arguments.video, arguments.out, arguments.original_sound)
    ensure_writable(arguments.out.parent)


def build_input(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the job's input without absent fields, so that the worker's defaults apply."""
    sound = arguments.source_url or base64.b64encode(extract_speech(arguments.video)).decode("ascii")
    job = {
        "action": "dub",
        "subtitles": _read(arguments.translated),
        "source": {"audio": sound, "subtitles": _read(arguments.original), "speakers": arguments.speakers},
        "voices": arguments.voices,
        "voice": arguments.voice,
        "language": arguments.language,
        "quality": arguments.quality,
        "seed": arguments.seed,
        "fit": {"on_overrun": arguments.on_overrun, "max_delay_s": arguments.max_delay},
        "loudness": "source",
        "format": "flac",
        "allow_reencode": True,
        "captions": {"formats": arguments.captions.split(",")} if arguments.captions else None,
    }
    return {name: value for name, value in job.items() if value is not None}


def check_size(job: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Raise SayError if the queue does not take so large a job."""
    n_bytes = len(job["source"]["audio"]) + len(job["source"]["subtitles"]) + len(job["subtitles"])
    if arguments.endpoint and n_bytes > MAX_QUEUE_BYTES:
        raise SayError(
            f"the job has {n_bytes / 1e6:.0f} MB and the endpoint takes {MAX_QUEUE_BYTES / 1e6:.0f}; put the video's "
            "sound at an https address and name it with --source-url"
        )


class Runner(Protocol):
    """Where the job is run."""

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run a job and return its output; raise SayError if it fails."""


class HttpRunner:
    """Runs one job on the HTTP server, which keeps it until it is fetched."""

    def __init__(self, base: str, key: str | None) -> None:
        self._jobs = f"{base.rstrip('/')}/v1/jobs"
        self._session = requests.Session()
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run a job and return its output; cancel it on Ctrl-C.

        Raises:
            SayError: the job failed, with the worker's own message.
        """
        with progress() as show_status:
            state = self._request("POST", self._jobs, json=job)
            address = f"{self._jobs}/{state['id']}"
            try:
                while state["status"] in ("queued", "running"):
                    show_status(f"{state['status']} {state['progress']:.0%}")
                    time.sleep(POLL_S)
                    state = self._request("GET", address)
            except KeyboardInterrupt:
                self._request("DELETE", address)
                raise SayError("cancelled") from None
        if state["status"] != "completed":
            raise SayError(_error_of(state) or f"the job ended as {state['status']}")
        result: dict[str, Any] = state["result"]
        return result

    def _request(self, method: str, address: str, **arguments: Any) -> dict[str, Any]:
        try:
            response = self._session.request(method, address, timeout=REQUEST_TIMEOUT_S, **arguments)
            state: dict[str, Any] = response.json()
        except requests.ConnectionError:
            raise SayError(f"nothing answers at {address}; is the worker running? (make serve-http)") from None
        except requests.RequestException as error:
            raise SayError(f"{address}: {type(error).__name__}") from None
        if not response.ok:
            hint = "; --url takes the HTTP server (make serve-http)" if response.status_code == 404 else ""
            raise SayError(_error_of(state) or f"{address} answered {response.status_code}{hint}")
        return state


def _error_of(state: dict[str, Any]) -> str:
    error = state.get("error")
    return str(error["message"] if isinstance(error, dict) else error or "")


def runner_for(arguments: argparse.Namespace) -> Runner:
    """Return what runs the job.

    Raises:
        SayError: there is no key for the endpoint.
    """
    if arguments.url:
        return HttpRunner(arguments.url, os.environ.get("F5_API_KEY"))
    return Client.from_arguments(argparse.Namespace(url=None, endpoint=arguments.endpoint, sync=False))


def save(output: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Write the dubbed video and its subtitles, and print a summary."""
    audio = output["audio"]
    track = base64.b64decode(audio["base64"]) if "base64" in audio else download(audio)
    spoken_s = [(line["start_s"], line["end_s"]) for line in output["lines"]]
    replace_sound(arguments.video, track, arguments.out, arguments.original_sound, spoken_s)
    for name, file in output.get("captions", {}).items():
        text = file["content"].encode() if "content" in file else download(file)
        arguments.out.with_suffix(f".{name}").write_bytes(text)
    for warning in output.get("warnings", []):
        print(f"dub: warning: {warning}", file=sys.stderr)
    for speaker in output.get("speakers", []):
        who, clip = speaker.get("speaker", "-"), f"{speaker['clip_s']:.1f} s, {speaker['verdict']}"
        print(f"{who}: {speaker['voice']}" if "voice" in speaker else f"{who}: {clip}: {speaker['transcript']}")
    print(f"{arguments.out}: {len(spoken_s)} lines in {audio['duration_s']:.1f} s, seed {output['seed']}")


def _pairs(value: str) -> dict[str, str]:
    """Parse `name=value;name=value`."""
    pairs = [pair.partition("=") for pair in value.split(";") if pair.strip()]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"{value!r} is not of the form name=value;name=value")
    return {name.strip(): text.strip() for name, _, text in pairs}


def _read(path: Path) -> str:
    from f5_worker.errors import SubtitlesUnreadable
    from f5_worker.transcripts.encodings import decode_transcript

    try:
        text, _ = decode_transcript(path.read_bytes())
    except OSError as error:
        raise SayError(f"{path}: {error.strerror}") from None
    except SubtitlesUnreadable as error:
        raise SayError(f"{path}: {error.message}") from None
    return text


if __name__ == "__main__":
    sys.exit(main())
