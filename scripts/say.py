"""Send a text to the worker, on the local API (`make serve`) or a RunPod endpoint, and save the speech.

    python scripts/say.py --url http://localhost:8000 --text "Hello." --voice joe --out hello.wav
    RUNPOD_API_KEY=... python scripts/say.py --endpoint ENDPOINT_ID --text "Hello." \\
        --reference clip.wav --transcript @clip.srt --out hello.mp3 --captions srt,ass

It needs nothing but requests.
"""

from __future__ import annotations

import argparse
import base64
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.clients import ClientError, RunPod, download, fetchable  # noqa: E402
from scripts.terminal import exit_code  # noqa: E402

FORMAT_OF_SUFFIX = {
    ".wav": "wav",
    ".flac": "flac",
    ".mp3": "mp3",
    ".opus": "opus",
    ".ogg": "opus",
    ".aac": "aac",
    ".pcm": "pcm_s16le",
}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = parse_arguments(argv)
    return exit_code("say", lambda: say(arguments), (ClientError,))


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--url", help="the worker's local API, such as http://localhost:8000")
    target.add_argument("--endpoint", help="a RunPod endpoint's id; the key comes from RUNPOD_API_KEY")
    parser.add_argument("--sync", action="store_true", help="use /runsync on the endpoint, too (default there: /run)")
    work = parser.add_mutually_exclusive_group(required=True)
    work.add_argument("--text", help="what to say; @file reads a file")
    work.add_argument("--job", metavar="ID", help="fetch the result of a job of the endpoint that was sent before")
    voice = parser.add_mutually_exclusive_group()
    voice.add_argument("--voice", help="a voice of the library, by name")
    voice.add_argument("--reference", help="a clip of the voice: a file, or an https URL")
    parser.add_argument("--transcript", help="what is said in the clip, also SRT, VTT or CSV; @file reads a file")
    parser.add_argument("--captions", help="subtitles beside --out: any of srt,vtt,ass,csv,json")
    parser.add_argument("--out", type=Path, default=Path("out.wav"), help="its suffix chooses the format")
    parser.add_argument("--quality", choices=("fast", "balanced", "best"))
    parser.add_argument("--speed", type=float)
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args(argv)
    if arguments.text is not None and arguments.voice is None and arguments.reference is None:
        parser.error("one of --voice and --reference is needed to speak")
    if arguments.job is not None and arguments.url is not None:
        parser.error("--job is of an --endpoint; the local API keeps no results")
    if arguments.transcript is not None and arguments.reference is None:
        parser.error("--transcript belongs to a --reference")
    if arguments.out.suffix not in FORMAT_OF_SUFFIX:
        parser.error(f"--out must end in one of {', '.join(FORMAT_OF_SUFFIX)}")
    return arguments


def say(arguments: argparse.Namespace) -> None:
    """Run the job, or wait for the one that is named, and save its result."""
    if arguments.url:
        client = RunPod(arguments.url, None, sync=True)  # the local /run only stores jobs
    else:
        client = RunPod.of_endpoint(arguments.endpoint, sync=arguments.sync)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    done = client.fetch(arguments.job) if arguments.job is not None else client.run(build_input(arguments))
    with nullcontext() if arguments.url else fetchable(done.job_id):
        save(done.output, arguments.out)


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


def save(output: dict[str, Any], path: Path) -> None:
    """Write the audio and the subtitles next to it, and print a summary."""
    audio = output["audio"]
    if audio["format"] != FORMAT_OF_SUFFIX[path.suffix]:
        raise ClientError(f"{path} is to have {audio['format']}, by its suffix it has another format")
    path.write_bytes(base64.b64decode(audio["base64"]) if "base64" in audio else download(audio))
    for name, file in output.get("captions", {}).items():
        text = file["content"].encode() if "content" in file else download(file)
        path.with_suffix(f".{name}").write_bytes(text)
    for warning in output.get("warnings", []):
        print(f"say: warning: {warning}", file=sys.stderr)
    print(
        f"{path}: {audio['duration_s']:.2f} s, seed {output['seed']}, {output['model']}, RTF {output['metrics']['rtf']}"
    )


def _text(value: str) -> str:
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ClientError(f"{value[1:]} is not in UTF-8") from None


def _audio(value: str) -> str:
    return value if value.startswith("https://") else base64.b64encode(Path(value).read_bytes()).decode("ascii")


if __name__ == "__main__":
    sys.exit(main())
