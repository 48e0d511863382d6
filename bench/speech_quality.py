"""What `make quality` has in common for all languages: texts are spoken by the worker, and figures have bars."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from f5_worker.audio.decode import decode, to_model_rate
from f5_worker.audio.formats import INPUT_EXTENSIONS
from f5_worker.audio.levels import Samples
from f5_worker.cancellation import JobControl
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.response import speak

USUAL_NFE = 16
TIMED_S, TIMES = 5.0, 5


@dataclass(frozen=True)
class Voice:
    """A voice: the fields of a job that select it, the file of its clip, and the clip's transcript."""

    name: str
    fields: Mapping[str, Any]
    clip: bytes
    transcript: str


@dataclass(frozen=True)
class TextSet:
    """Texts of one kind that are spoken with one number of steps, in the built-in voices or in a human's."""

    name: str
    texts: Sequence[str]
    nfe: int
    human: bool = False


def built_in_voices(worker: Worker) -> list[Voice]:
    """Return the voices that come with the model."""
    directory = worker.models.default.directory / "voices"
    voices = []
    for transcript in sorted(directory.glob("*.txt")):
        clip = next(
            path for path in sorted(directory.glob(f"{transcript.stem}.*")) if path.suffix[1:] in INPUT_EXTENSIONS
        )
        name = transcript.stem
        voices.append(Voice(name, {"voice": name}, clip.read_bytes(), transcript.read_text()))
    return voices


def synthesize(worker: Worker, text: str, voice: Voice, **fields: Any) -> bytes:
    """Speak a text in a voice through the worker's own path; return the file."""
    job = {"text": text, "format": "flac", **voice.fields, **fields}
    response = speak(Job(SynthesizeInput.model_validate(job), worker, JobControl(3_600)))
    return response.audio.data or b""


def speak_all(
    worker: Worker, sets: Sequence[TextSet], directory: Path, voices: Sequence[Voice], human: Voice | None = None
) -> None:
    """Speak all texts, the voices in turn; write the files, the voices' clips, and what was spoken how.

    Args:
        human: the voice of the sets that say so; with it the time that 5 s of speech take on a CPU is measured, too.
    """
    model = worker.models.default
    all_voices = [*voices, *([human] if human else [])]
    jobs = []
    for texts in sets:
        used = all_voices[-1:] if texts.human else voices
        jobs += [(texts, index, used[index % len(used)]) for index in range(len(texts.texts))]

    def job(item: tuple[TextSet, int, Voice]) -> dict[str, Any]:
        texts, index, voice = item
        file, text = f"{texts.name}-{index:03}.flac", texts.texts[index]
        (directory / file).write_bytes(synthesize(worker, text, voice, nfe_step=texts.nfe, seed=index))
        return {"set": texts.name, "text": text, "voice": voice.name, "file": file}

    # Side by side where the device gains from it.
    with ThreadPoolExecutor(1 if model.device == "cpu" else 32) as threads:
        utterances = list(threads.map(job, jobs))
    is_timed = human is not None and model.device == "cpu"
    for voice in all_voices:
        (directory / f"voice-{voice.name}").write_bytes(voice.clip)
    facts = {
        "model": model.name,
        "language": next(iter(worker.models.languages(model)), "en"),
        "checkpoint_sha256": _sha256(model.directory / "model.safetensors"),
        "device": model.device,
        "precision": model.precision,
        "torch": version("torch"),
        "voices": {voice.name: voice.transcript for voice in all_voices},
        "seconds": seconds_of_synthesis(worker, voices[0], sets[0].texts[0]) if is_timed else None,
        "utterances": utterances,
    }
    (directory / "facts.json").write_text(json.dumps(facts))


def seconds_of_synthesis(worker: Worker, voice: Voice, text: str) -> float:
    """Return the median time for 5 s of speech, after a first run that prepares the reference."""
    taken_s = []
    for _ in range(TIMES + 1):
        started = time.perf_counter()
        synthesize(worker, text, voice, nfe_step=USUAL_NFE, seed=1, fix_duration_s=TIMED_S)
        taken_s.append(time.perf_counter() - started)
    return statistics.median(taken_s[1:])


def samples_of(file: bytes) -> Samples:
    """Return the samples of a file at the model's rate."""
    return to_model_rate(decode(file, max_bytes=10**9, max_s=600))


def bar_row(
    what: str, value: float, bar: float, of: int, *, baseline: float | None = None, at_least: bool = False
) -> dict[str, Any]:
    """Return a figure with its bar; `baseline` is the recogniser's own on the speech that it is compared with."""
    met = bool(value >= bar if at_least else value <= bar)
    row = {"what": what, "value": round(value, 3), "bar": bar, "met": met, "of": of}
    return row if baseline is None else {**row, "baseline": round(baseline, 3)}


def bars_table(result: Mapping[str, Any]) -> str:
    """Return the bars as a Markdown table."""
    rows = ["| | utterances | measured | bar | met | recogniser's own |", "|---|---|---|---|---|---|"]
    rows += [
        f"| {row['what']} | {row['of']} | {row['value']} | {row['bar']} | {'yes' if row['met'] else 'no'} "
        f"| {row.get('baseline', '')} |"
        for row in result["bars"]
    ]
    return "\n".join(rows)


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
