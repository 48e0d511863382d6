"""The quality of a model's speech by a recogniser: `make quality`, or `F5_MODEL=F5TTS_v1_Base make quality`.

    python bench/quality.py                          speak and judge on this machine
    python bench/quality.py --speak out/quality      only speak, on a machine with a GPU
    python bench/quality.py --judge out/quality      only judge what was spoken there

Held-out texts (scripts/train_tiny/held_out) are spoken alternately in the model's built-in voices, and in a human's
(f5-tts' example clip), through the worker's own path from text to audio. Whisper tiny.en transcribes them; its word
errors on Piper's speech of the same texts are taken off. Writes bench/results/quality-<model>.json.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as f5_worker/server/startup.py does

import numpy as np  # noqa: E402

from bench.recognized_speech import (  # noqa: E402
    RecognizedSpeech,
    edge_missing_rate,
    first_word_missing_rate,
    reference_word_rate,
    word_error_rate,
)
from bench.record import RESULTS, record  # noqa: E402
from f5_worker.audio.decode import decode, to_model_rate  # noqa: E402
from f5_worker.audio.formats import INPUT_EXTENSIONS  # noqa: E402
from f5_worker.audio.levels import SAMPLE_RATE, Samples  # noqa: E402
from f5_worker.cancellation import JobControl  # noqa: E402
from f5_worker.schema.requests import SynthesizeInput  # noqa: E402
from f5_worker.server.startup import load_worker  # noqa: E402
from f5_worker.settings import load_settings  # noqa: E402
from f5_worker.synthesis.context import Worker  # noqa: E402
from f5_worker.synthesis.job import Job  # noqa: E402
from f5_worker.synthesis.response import speak  # noqa: E402
from tests.listen import transcribe  # noqa: E402
from tests.speak import speak as piper  # noqa: E402

HELD_OUT = ROOT / "scripts" / "train_tiny" / "held_out"
HUMAN = "human"
HUMAN_TRANSCRIPT = "Some call me nature, others call me mother nature."
HUMAN_EVERY = 5  # one text in so many: the voice is slow, and the run uses the most steps
BEST_NFE, USUAL_NFE, FAST_NFE = 32, 16, 7
GROUPS = {"literary": 0.05, "news": 0.05, "dialogue": 0.05, "short": 0.12, "numbers": 0.06}  # bars of the error
MORE_LITERARY = {USUAL_NFE: 0.06, FAST_NFE: 0.10}
HUMAN_BAR, MISSING_BAR, SWALLOWED_BAR, LEAK_BAR, VOICE_BAR, SECONDS_BAR = 0.08, 0.02, 0.02, 0.01, 0.95, 5.0
TIMED_S, TIMES = 5.0, 5
WORST = 12


@dataclass(frozen=True)
class TextSet:
    """Texts of one kind that are spoken with one number of steps, in the built-in voices or in a human's."""

    name: str
    texts: Sequence[str]
    nfe: int
    human: bool = False


@dataclass(frozen=True)
class Voice:
    """A voice: the fields of a job that select it, the file of its clip, and the clip's transcript."""

    name: str
    fields: Mapping[str, Any]
    clip: bytes
    transcript: str


def text_sets(limit: int | None) -> list[TextSet]:
    """Return all that is spoken, at most `limit` texts of each kind."""

    def lines(name: str) -> list[str]:
        return (HELD_OUT / f"{name}.txt").read_text().splitlines()[:limit]

    several_words = [text for name in GROUPS if name != "short" for text in lines(name)]
    return [
        *(TextSet(name, lines(name), USUAL_NFE) for name in GROUPS),
        *(TextSet(f"literary_60-{nfe}", lines("literary_60"), nfe) for nfe in MORE_LITERARY),
        TextSet("first_words", lines("first_words"), USUAL_NFE),
        TextSet(HUMAN, several_words[::HUMAN_EVERY], BEST_NFE, human=True),
    ]


# -- speak ------------------------------------------------------------------------------------------------------------


def voices_of(worker: Worker) -> list[Voice]:
    """Return the voices that come with the model, and last a human who is not one of them."""
    directory = worker.models.default.directory / "voices"
    voices = []
    for transcript in sorted(directory.glob("*.txt")):
        clip = next(
            path for path in sorted(directory.glob(f"{transcript.stem}.*")) if path.suffix[1:] in INPUT_EXTENSIONS
        )
        name = transcript.stem
        voices.append(Voice(name, {"voice": name}, clip.read_bytes(), transcript.read_text()))
    spec = find_spec("f5_tts")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("f5-tts, which has the human clip, is not installed; run make quality")
    file = (Path(spec.submodule_search_locations[0]) / "infer/examples/basic/basic_ref_en.wav").read_bytes()
    reference = {"audio": base64.b64encode(file).decode(), "transcript": HUMAN_TRANSCRIPT}
    return [*voices, Voice(HUMAN, {"reference": reference}, file, HUMAN_TRANSCRIPT)]


def synthesize(worker: Worker, text: str, voice: Voice, **fields: Any) -> bytes:
    """Speak a text in a voice through the worker's own path; return the file."""
    job = {"text": text, "format": "flac", **voice.fields, **fields}
    response = speak(Job(SynthesizeInput.model_validate(job), worker, JobControl(3_600)))
    return response.audio.data or b""


def speak_all(worker: Worker, sets: Sequence[TextSet], directory: Path) -> None:
    """Speak all texts, the voices in turn; write the files, the voices' clips, and what was spoken how."""
    model, voices = worker.models.default, voices_of(worker)
    jobs = []
    for texts in sets:
        used = voices[-1:] if texts.human else voices[:-1]
        jobs += [(texts, index, used[index % len(used)]) for index in range(len(texts.texts))]

    def job(item: tuple[TextSet, int, Voice]) -> dict[str, Any]:
        texts, index, voice = item
        file, text = f"{texts.name}-{index:03}.flac", texts.texts[index]
        (directory / file).write_bytes(synthesize(worker, text, voice, nfe_step=texts.nfe, seed=index))
        return {"set": texts.name, "text": text, "voice": voice.name, "file": file}

    # Side by side where the device gains from it.
    with ThreadPoolExecutor(1 if model.device == "cpu" else 32) as threads:
        utterances = list(threads.map(job, jobs))
    for voice in voices:
        (directory / f"voice-{voice.name}").write_bytes(voice.clip)
    facts = {
        "model": model.name,
        "checkpoint_sha256": _sha256(model.directory / "model.safetensors"),
        "device": model.device,
        "precision": model.precision,
        "torch": version("torch"),
        "voices": {voice.name: voice.transcript for voice in voices},
        "seconds": seconds_of_synthesis(worker, voices[0], sets[0].texts[0]) if model.device == "cpu" else None,
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


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


# -- judge ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Utterance:
    """A text that was spoken, its voice, and what was recognised."""

    voice: str
    speech: RecognizedSpeech


def judge(directory: Path) -> dict[str, Any]:
    """Return all figures of what `speak_all` wrote, each with its bar."""
    facts = json.loads((directory / "facts.json").read_text())
    spoken: dict[str, list[Utterance]] = {}
    for item in facts["utterances"]:
        samples = _samples((directory / item["file"]).read_bytes())
        speech = RecognizedSpeech(item["text"], transcribe(samples, SAMPLE_RATE), samples)
        spoken.setdefault(item["set"], []).append(Utterance(item["voice"], speech))
    pipers = {name: [_piper_recognized(item.speech.text) for item in items] for name, items in spoken.items()}
    several_words = [item for name, items in spoken.items() if name != "short" for item in items]
    built_in = [item for item in several_words if item.voice != HUMAN]
    clips = {name: _samples((directory / f"voice-{name}").read_bytes()) for name in facts["voices"]}
    rows = [
        _row(
            f"WER above Piper's, {name}",
            _wer(spoken[name]) - word_error_rate(pipers[name]),
            bar,
            len(spoken[name]),
            pipers=word_error_rate(pipers[name]),
        )
        for name, bar in _error_bars().items()
    ]
    first = first_word_missing_rate(pipers["first_words"])
    swallowed = first_word_missing_rate([item.speech for item in spoken["first_words"]])
    n_first, n_several = len(spoken["first_words"]), len(several_words)
    missing = edge_missing_rate([item.speech for item in several_words])
    leaks = reference_word_rate([(item.speech, facts["voices"][item.voice]) for item in several_words])
    nearest = nearest_voice_rate(built_in, {name: clip for name, clip in clips.items() if name != HUMAN})
    rows += [
        _row("first sentence of one word swallowed", swallowed, SWALLOWED_BAR, n_first, pipers=first),
        _row("first or last word missing", missing, MISSING_BAR, n_several),
        _row("words of the reference heard", leaks, LEAK_BAR, n_several),
        _row(f"right one of {len(clips) - 1} voices nearest", nearest, VOICE_BAR, len(built_in), at_least=True),
    ]
    if facts["seconds"] is not None:
        what = f"seconds for 5 s on {os.cpu_count()} CPUs, NFE {USUAL_NFE}, median"
        rows.append(_row(what, facts["seconds"], SECONDS_BAR, TIMES))
    worst = sorted((item.speech for item in several_words), key=lambda s: -s.errors / len(s.text.split()))[:WORST]
    return {
        **{key: facts[key] for key in ("model", "checkpoint_sha256", "device", "precision", "torch")},
        "bars": rows,
        "wer_of_voices": _by_voice(several_words),
        "worst": [{"said": speech.text, "heard": speech.recognized} for speech in worst],
    }


def _error_bars() -> dict[str, float]:
    return GROUPS | {f"literary_60-{nfe}": bar for nfe, bar in MORE_LITERARY.items()} | {HUMAN: HUMAN_BAR}


@cache
def _piper_recognized(text: str) -> RecognizedSpeech:
    samples = piper(text).samples
    return RecognizedSpeech(text, transcribe(samples, SAMPLE_RATE), samples)


def nearest_voice_rate(utterances: Sequence[Utterance], clips: Mapping[str, Samples]) -> float:
    """Return the share of utterances whose speaker embedding (GE2E, resemblyzer) is nearest to their own voice's."""
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)

    def embedding(samples: Samples) -> Any:
        return encoder.embed_utterance(preprocess_wav(samples, SAMPLE_RATE))

    names, voices = list(clips), np.stack([embedding(clip) for clip in clips.values()])
    nearest = [names[int(np.argmax(voices @ embedding(item.speech.samples)))] for item in utterances]
    return float(np.mean([item.voice == name for item, name in zip(utterances, nearest, strict=True)]))


def _samples(file: bytes) -> Samples:
    return to_model_rate(decode(file, max_bytes=10**9, max_s=600))


def _wer(utterances: Sequence[Utterance]) -> float:
    return word_error_rate([item.speech for item in utterances])


def _by_voice(utterances: Sequence[Utterance]) -> dict[str, float]:
    names = dict.fromkeys(item.voice for item in utterances)
    return {name: round(_wer([item for item in utterances if item.voice == name]), 3) for name in names}


def _row(
    what: str, value: float, bar: float, of: int, *, pipers: float | None = None, at_least: bool = False
) -> dict[str, Any]:
    met = bool(value >= bar if at_least else value <= bar)
    row = {"what": what, "value": round(value, 3), "bar": bar, "met": met, "of": of}
    return row if pipers is None else {**row, "pipers": round(pipers, 3)}


def table(result: Mapping[str, Any]) -> str:
    """Return the bars as a Markdown table."""
    rows = ["| | utterances | measured | bar | met | Piper's own |", "|---|---|---|---|---|---|"]
    rows += [
        f"| {row['what']} | {row['of']} | {row['value']} | {row['bar']} | {'yes' if row['met'] else 'no'} "
        f"| {row.get('pipers', '')} |"
        for row in result["bars"]
    ]
    return "\n".join(rows)


def main() -> None:
    """Speak with the model that the settings name, judge its speech, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speak", type=Path)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--sentences", type=int, default=None, help="use only so many of each list")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    directory = args.judge or args.speak or ROOT / "out" / "quality"
    if args.judge is None:
        directory.mkdir(parents=True, exist_ok=True)
        worker = load_worker(load_settings())
        try:
            speak_all(worker, text_sets(args.sentences), directory)
        finally:
            worker.engine.close()
    if args.speak is None:
        result = judge(directory)
        record(f"quality-{result['model']}", result, args.out)
        print(table(result))


if __name__ == "__main__":
    main()
