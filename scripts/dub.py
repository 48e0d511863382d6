"""Dub a video: its speakers' own voices say the translated subtitles, each line at its time.

    python scripts/dub.py video.mp4 --original a.srt --translated b.srt --out dubbed.mp4 --url http://localhost:8000
    RUNPOD_API_KEY=... python scripts/dub.py video.mp4 --original a.vtt --translated b.vtt --out dubbed.mp4 \\
        --endpoint ENDPOINT_ID --language de --speakers "Ann=1-4,7;Bob=5-6" --original-sound remove

`--url` is the HTTP server (`make serve-http`), whose key, if it has one, comes from F5_API_KEY. A track whose video
could not be written is kept beside it: `--track` makes the video of it, without speaking again.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from f5_worker.storage.files import ensure_writable, write  # noqa: E402
from scripts.clients import Client, ClientError, HttpServer, RunPod, download, fetchable  # noqa: E402
from scripts.terminal import exit_code  # noqa: E402
from scripts.video import FORMATS, VideoError, check_video, extract_speech, replace_sound  # noqa: E402

MAX_QUEUE_BYTES = 10_000_000  # what RunPod takes as the body of /run


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments = parse_arguments(argv)
    return exit_code("dub", lambda: dub(arguments), (ClientError, VideoError))


def dub(arguments: argparse.Namespace) -> None:
    """Have the lines spoken, and write the video. What was paid for is kept until the video is there."""
    check_output(arguments)
    if arguments.track is not None:
        save(Track.load(arguments.track), arguments)
        return
    client = client_for(arguments)
    done = client.run(build_input(arguments)) if arguments.job is None else client.fetch(arguments.job)
    with fetchable(done.job_id):
        track = Track.keep(done.output, arguments.out)
    try:
        save(track, arguments)
    except BaseException:
        print(f"dub: the track is kept; --track {track.path} makes the video without speaking again", file=sys.stderr)
        raise
    track.remove()


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--original", type=Path, help="subtitles of what is said in the video")
    parser.add_argument("--translated", type=Path, help="subtitles of what is to be said instead")
    parser.add_argument("--out", type=Path, required=True, help=f"the dubbed video: {', '.join(FORMATS)}")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--url", help="the worker's HTTP server, such as http://localhost:8000")
    target.add_argument("--endpoint", help="a RunPod queue endpoint's id; the key comes from RUNPOD_API_KEY")
    target.add_argument("--track", type=Path, help="a track that was kept, whose video could not be written")
    parser.add_argument("--job", metavar="ID", help="a job that was sent before: wait for its result")
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
    is_new = arguments.track is None and arguments.job is None
    if is_new and not (arguments.original and arguments.translated):
        parser.error("--original and --translated are needed to speak")
    if arguments.out.suffix.lower() not in FORMATS:
        parser.error(f"--out must end in one of {', '.join(FORMATS)}")
    if arguments.out.resolve() == arguments.video.resolve():
        parser.error("--out is the video itself")
    for name in arguments.captions.split(",") if arguments.captions else ():
        if arguments.out.with_suffix(f".{name}") in (arguments.original, arguments.translated):
            parser.error(f"--captions {name} would overwrite {arguments.out.with_suffix(f'.{name}')}")
    return arguments


def check_output(arguments: argparse.Namespace) -> None:
    """Raise what would keep `save` from writing the video, before the job is paid for.

    Raises:
        ClientError: a track was paid for already, of which no video was made.
        VideoError: see `check_video`. OSError: its directory cannot be written to.
    """
    kept = arguments.out.with_suffix(".track.json")
    if arguments.track is None and kept.exists():
        raise ClientError(f"{kept} is of a track that has no video yet: use --track, or delete it to speak again")
    check_video(arguments.video, arguments.out, arguments.original_sound)
    ensure_writable(arguments.out.parent)


def build_input(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the job's input without absent fields, so that the worker's defaults apply.

    Raises:
        ClientError: a file cannot be read, or the queue does not take so large a job.
    """
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
    job = {name: value for name, value in job.items() if value is not None}
    check_size(job, arguments)
    return job


def check_size(job: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Raise ClientError if the queue does not take so large a job."""
    n_bytes = len(json.dumps(job))
    if arguments.endpoint and n_bytes > MAX_QUEUE_BYTES:
        raise ClientError(
            f"the job has {n_bytes / 1e6:.0f} MB and the endpoint takes {MAX_QUEUE_BYTES / 1e6:.0f}; put the video's "
            "sound at an https address and name it with --source-url"
        )


def client_for(arguments: argparse.Namespace) -> Client:
    """Return the client of the worker that the command line names.

    Raises:
        ClientError: there is no key for the endpoint.
    """
    if arguments.url:
        return HttpServer(arguments.url, os.environ.get("F5_API_KEY"))
    return RunPod.of_endpoint(arguments.endpoint)


@dataclass(frozen=True)
class Track:
    """Sound that a job delivered, in a file, and the rest of its output, the report, in a JSON file beside that."""

    path: Path
    report: dict[str, Any]

    @classmethod
    def keep(cls, output: dict[str, Any], out: Path) -> Track:
        """Write a job's output beside the video that is to be made of it.

        Raises:
            ClientError: it is in a bucket and cannot be fetched. OSError: it cannot be written.
        """
        audio = output["audio"]
        path = out.with_suffix(f".track.{audio['format']}")
        write(path, base64.b64decode(audio["base64"]) if "base64" in audio else download(audio))
        captions = {
            name: {"content": file["content"] if "content" in file else download(file).decode()}
            for name, file in output.get("captions", {}).items()
        }
        facts = {name: value for name, value in audio.items() if name != "base64"}
        report = {**output, "audio": facts, "captions": captions}
        write(report_of(path), json.dumps(report).encode())
        return cls(path, report)

    @classmethod
    def load(cls, path: Path) -> Track:
        """Return a track that was kept.

        Raises:
            ClientError: there is something else in its report. OSError: it cannot be read.
        """
        try:
            report = json.loads(report_of(path).read_bytes())
        except ValueError:
            raise ClientError(f"{report_of(path)} is not the report of a track") from None
        return cls(path, report)

    def remove(self) -> None:
        """Remove both files."""
        report_of(self.path).unlink()
        self.path.unlink()


def report_of(track: Path) -> Path:
    """Return the path of a track's report."""
    return track.with_suffix(".json")


def save(track: Track, arguments: argparse.Namespace) -> None:
    """Write the dubbed video and its subtitles, and print a summary."""
    report = track.report
    spoken_s = [(line["start_s"], line["end_s"]) for line in report["lines"]]
    replace_sound(arguments.video, track.path, arguments.out, arguments.original_sound, spoken_s)
    for name, file in report["captions"].items():
        write(arguments.out.with_suffix(f".{name}"), file["content"].encode())
    for warning in report["warnings"]:
        print(f"dub: warning: {warning}", file=sys.stderr)
    for speaker in report.get("speakers", []):
        who, clip = speaker.get("speaker", "-"), f"{speaker['clip_s']:.1f} s, {speaker['verdict']}"
        print(f"{who}: {speaker['voice']}" if "voice" in speaker else f"{who}: {clip}: {speaker['transcript']}")
    print(f"{arguments.out}: {len(spoken_s)} lines in {report['audio']['duration_s']:.1f} s, seed {report['seed']}")


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
        raise ClientError(f"{path}: {error.strerror}") from None
    except SubtitlesUnreadable as error:
        raise ClientError(f"{path}: {error.message}") from None
    return text


if __name__ == "__main__":
    sys.exit(main())
