"""Send a text to the worker, on the local API (`make serve`) or a RunPod endpoint, and save the speech.

    python scripts/say.py --url http://localhost:8000 --text "Hello." --voice joe --out hello.wav
    RUNPOD_API_KEY=... python scripts/say.py --endpoint ENDPOINT_ID --text "Hello." \\
        --reference clip.wav --transcript @clip.srt --out hello.mp3 --captions srt,ass
"""

from __future__ import annotations

import argparse
import base64
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

RUNPOD_API = "https://api.runpod.ai/v2"
FORMAT_OF_SUFFIX = {
    ".wav": "wav",
    ".flac": "flac",
    ".mp3": "mp3",
    ".opus": "opus",
    ".ogg": "opus",
    ".aac": "aac",
    ".pcm": "pcm_s16le",
}
FINISHED_STATES = {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}
POLL_S = 1.0
REQUEST_TIMEOUT_S = 330.0  # /runsync holds a request for up to 300 s
STOPPED = 130  # the exit code of a program that was interrupted


class SayError(Exception):
    """An error to show to the user in one line."""


def main() -> int:
    """Run the command line; return the exit code."""
    arguments = parse_arguments()
    try:
        client = Client.from_arguments(arguments)
        output = client.run(build_input(arguments))
        save(output, arguments.out)
    except SayError as error:
        print(f"say: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"say: {arguments.out}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("say: stopped", file=sys.stderr)
        return STOPPED
    return 0


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--url", help="the worker's local API, such as http://localhost:8000")
    target.add_argument("--endpoint", help="a RunPod endpoint's id; the key comes from RUNPOD_API_KEY")
    parser.add_argument("--sync", action="store_true", help="use /runsync on the endpoint, too (default there: /run)")
    parser.add_argument("--text", required=True, help="what to say; @file reads a file")
    voice = parser.add_mutually_exclusive_group(required=True)
    voice.add_argument("--voice", help="a voice of the library, by name")
    voice.add_argument("--reference", help="a clip of the voice: a file, or an https URL")
    parser.add_argument("--transcript", help="what is said in the clip, also SRT, VTT or CSV; @file reads a file")
    parser.add_argument("--captions", help="subtitles beside --out: any of srt,vtt,ass,csv,json")
    parser.add_argument("--out", type=Path, default=Path("out.wav"), help="its suffix chooses the format")
    parser.add_argument("--quality", choices=("fast", "balanced", "best"))
    parser.add_argument("--speed", type=float)
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args(argv)
    if arguments.transcript is not None and arguments.reference is None:
        parser.error("--transcript belongs to a --reference")
    if arguments.out.suffix not in FORMAT_OF_SUFFIX:
        parser.error(f"--out must end in one of {', '.join(FORMAT_OF_SUFFIX)}")
    return arguments


def build_input(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the job's input without absent fields, so that the worker's defaults apply."""
    job = {
        "text": _text(arguments.text),
        "voice": arguments.voice,
        "quality": arguments.quality,
        "speed": arguments.speed,
        "seed": arguments.seed,
        "format": FORMAT_OF_SUFFIX[arguments.out.suffix],
    }
    if arguments.reference is not None:
        job["reference"] = {"audio": _audio(arguments.reference)}
        if arguments.transcript is not None:
            job["reference"]["transcript"] = _text(arguments.transcript)
    if arguments.captions is not None:
        job["captions"] = {"formats": arguments.captions.split(",")}
    return {name: value for name, value in job.items() if value is not None}


class Client:
    """Runs one job over HTTP, with progress on stderr.

    Args:
        base: URL of the API, without `/run`, `/runsync` or `/status/ID`.
        key: RunPod API key, or None for the local API.
        sync: wait in one request instead of polling.
    """

    def __init__(self, base: str, key: str | None, sync: bool) -> None:
        self._base = base.rstrip("/")
        self._sync = sync
        self._session = requests.Session()
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> Client:
        """Create a client for the API that the command line names."""
        if arguments.url:
            return cls(arguments.url, None, sync=True)  # the local /run only stores jobs
        key = os.environ.get("RUNPOD_API_KEY")
        if not key:
            raise SayError("set RUNPOD_API_KEY to your RunPod API key")
        return cls(f"{RUNPOD_API}/{arguments.endpoint}", key, arguments.sync)

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run a job and return its output.

        Raises:
            SayError: the job failed, with the worker's own message.
        """
        with progress() as show_status:
            state = self._request("POST", "/runsync" if self._sync else "/run", json={"input": job})
            while state.get("status") not in FINISHED_STATES:
                show_status(state.get("status", "waiting"))
                state = self._next(state)
        if state["status"] != "COMPLETED":
            raise SayError(str(state.get("error") or f"the job ended as {state['status']}"))
        output = state.get("output")
        if isinstance(output, list):
            output = join_stream(output)
        if not isinstance(output, dict):
            raise SayError("the job completed without output; its result was probably too large to post")
        return output

    def _next(self, state: dict[str, Any]) -> dict[str, Any]:
        if "id" not in state:
            raise SayError(f"unexpected response: {state}")
        try:
            time.sleep(POLL_S)
            return self._request("GET", f"/status/{state['id']}")
        except KeyboardInterrupt:
            self._request("POST", f"/cancel/{state['id']}")
            raise SayError("cancelled") from None

    def _request(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            response = self._session.request(method, self._base + path, timeout=REQUEST_TIMEOUT_S, **arguments)
            state: dict[str, Any] = response.json() if response.ok else {}
        except requests.ConnectionError:
            raise SayError(f"nothing answers at {self._base}; is the worker running? (make serve)") from None
        except requests.RequestException as error:
            raise SayError(f"{self._base}{path}: {type(error).__name__}") from None
        if response.status_code in (401, 403):
            raise SayError(f"{response.status_code}: the API key is wrong or may not use this endpoint")
        if not response.ok:
            raise SayError(f"{self._base}{path} answered {response.status_code}: {response.text[:300]}")
        return state


def join_stream(items: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Join the items of a streaming worker into one response; return None if the last one is missing."""
    if not items or "final" not in items[-1]:
        return None
    *chunks, last = items
    sound = b"".join(base64.b64decode(chunk["audio"]["base64"]) for chunk in chunks)
    return {**last, "audio": {**last["audio"], "base64": base64.b64encode(sound).decode("ascii")}}


def save(output: dict[str, Any], path: Path) -> None:
    """Write the audio and the subtitles next to it, and print a summary."""
    audio = output["audio"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(audio["base64"]) if "base64" in audio else download(audio))
    for name, file in output.get("captions", {}).items():
        text = file["content"].encode() if "content" in file else download(file)
        path.with_suffix(f".{name}").write_bytes(text)
    for warning in output.get("warnings", []):
        print(f"say: warning: {warning}", file=sys.stderr)
    print(
        f"{path}: {audio['duration_s']:.2f} s, seed {output['seed']}, {output['model']}, RTF {output['metrics']['rtf']}"
    )


def download(file: dict[str, Any]) -> bytes:
    """Return a file of the result that is in the bucket."""
    if "url" not in file:
        raise SayError(f"the result is in the bucket as {file['key']}, which has no presigned links; fetch it there")
    try:
        response = requests.get(file["url"], timeout=REQUEST_TIMEOUT_S)
    except requests.RequestException as error:
        raise SayError(f"the bucket does not answer ({type(error).__name__})") from None
    if not response.ok:
        raise SayError(f"the bucket answered {response.status_code} to the link of the result")
    return response.content


@contextmanager
def progress() -> Iterator[Any]:
    """Show a line that counts the seconds, if stderr is a terminal."""
    status, stop, started = ["sent"], threading.Event(), time.monotonic()

    def animate() -> None:
        for spinner in itertools.cycle("|/-\\"):
            waited_s = time.monotonic() - started
            print(f"\r{spinner} {status[0].lower()} {waited_s:.0f} s ", end="", file=sys.stderr, flush=True)
            if stop.wait(0.2):
                break
        print("\r\033[K", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=animate, daemon=True)
    if sys.stderr.isatty():
        thread.start()
    try:
        yield lambda text: status.__setitem__(0, text)
    finally:
        stop.set()
        if thread.is_alive():
            thread.join()


def _text(value: str) -> str:
    return _read(value[1:]).decode("utf-8") if value.startswith("@") else value


def _audio(value: str) -> str:
    return value if value.startswith("https://") else base64.b64encode(_read(value)).decode("ascii")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SayError(f"{path}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
