"""The quality of a model's speech by a recogniser: `make quality`, or `F5_MODEL=F5TTS_v1_Base make quality`.

Held-out sentences (scripts/train_tiny/*sentences.txt) are spoken alternately in the model's built-in voices, and in a
human's (f5-tts' example clip), through the worker's own path from text to audio. Whisper tiny.en transcribes them; its
own error on Piper's speech of the same sentences is measured too. Writes bench/results/quality-<model>.json.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
    reference_word_rate,
    word_error_rate,
)
from bench.record import RESULTS, record  # noqa: E402
from f5_worker.audio.decode import decode  # noqa: E402
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

HELD_OUT = ROOT / "scripts" / "train_tiny"
HUMAN = "human"
HUMAN_TRANSCRIPT = "Some call me nature, others call me mother nature."
BEST_NFE, USUAL_NFE = 32, 16
HUMAN_EVERY = 3  # one sentence in so many: the voice is slow, and the run uses the most steps
WER_BARS = {32: 0.06, 16: 0.08, 7: 0.15}  # above the recogniser's own error, in built-in voices
HUMAN_BAR = SHORT_BAR = 0.25
MISSING_BAR, LEAK_BAR, VOICE_BAR, SECONDS_BAR = 0.02, 0.01, 0.9, 6.0
TIMED_S, TIMES = 5.0, 5
SEED = 1
WORST = 8


@dataclass(frozen=True)
class Voice:
    """A voice: the fields of a job that select it, its clip and the clip's transcript."""

    name: str
    fields: dict[str, Any]
    clip: Samples
    transcript: str


def voices_of(worker: Worker) -> list[Voice]:
    """Return the voices that come with the model, and last a human who is not one of them."""
    directory = worker.models.default.directory / "voices"
    voices = []
    for transcript in sorted(directory.glob("*.txt")):
        clip = next(
            path for path in sorted(directory.glob(f"{transcript.stem}.*")) if path.suffix[1:] in INPUT_EXTENSIONS
        )
        name = transcript.stem
        voices.append(Voice(name, {"voice": name}, _samples(clip.read_bytes()), transcript.read_text()))
    spec = find_spec("f5_tts")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("f5-tts, which has the human clip, is not installed; run make quality")
    file = (Path(spec.submodule_search_locations[0]) / "infer/examples/basic/basic_ref_en.wav").read_bytes()
    reference = {"audio": base64.b64encode(file).decode(), "transcript": HUMAN_TRANSCRIPT}
    return [*voices, Voice(HUMAN, {"reference": reference}, _samples(file), HUMAN_TRANSCRIPT)]


def _samples(file: bytes) -> Samples:
    return decode(file, max_bytes=10**9, max_s=600).samples


def synthesize(worker: Worker, text: str, voice: Voice, nfe: int, **fields: Any) -> Samples:
    """Speak a text in a voice through the worker's own path."""
    job = {"text": text, "nfe_step": nfe, "seed": SEED, "format": "wav_f32", **voice.fields, **fields}
    response = speak(Job(SynthesizeInput.model_validate(job), worker, JobControl(3_600)))
    return _samples(response.audio.data or b"")


Utterances = Sequence[tuple[Voice, RecognizedSpeech]]


def speak_and_transcribe(worker: Worker, texts: Sequence[str], voices: Sequence[Voice], nfe: int) -> Utterances:
    """Speak texts in alternating voices and transcribe them; concurrently where the device gains from it."""
    inputs = [(text, voices[index % len(voices)]) for index, text in enumerate(texts)]
    with ThreadPoolExecutor(1 if worker.models.default.device == "cpu" else 16) as threads:
        audio = list(threads.map(lambda pair: synthesize(worker, *pair, nfe), inputs))
    utterances = [
        (voice, RecognizedSpeech(text, transcribe(samples, SAMPLE_RATE), samples))
        for (text, voice), samples in zip(inputs, audio, strict=True)
    ]
    print(f"NFE {nfe}: WER {_wer(utterances):.3f} on {len(texts)} texts", file=sys.stderr, flush=True)
    return utterances


def recogniser_error(texts: Sequence[str]) -> float:
    """Return the recogniser's own word error rate, which is that on Piper's speech."""
    return word_error_rate(
        [RecognizedSpeech(t, transcribe(piper(t).samples, SAMPLE_RATE), np.zeros(0, np.float32)) for t in texts]
    )


def nearest_voice_rate(utterances: Utterances, voices: Sequence[Voice]) -> float:
    """Return the share of utterances whose speaker embedding (GE2E, resemblyzer) is nearest to their own voice's."""
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)

    def embedding(samples: Samples) -> Any:
        return encoder.embed_utterance(preprocess_wav(samples, SAMPLE_RATE))

    clips = np.stack([embedding(voice.clip) for voice in voices])
    own = [voices.index(voice) for voice, _ in utterances]
    nearest = [int(np.argmax(clips @ embedding(speech.samples))) for _, speech in utterances]
    return float(np.mean(np.array(own) == np.array(nearest)))


def seconds_of_synthesis(worker: Worker, voice: Voice, text: str) -> float:
    """Return the median time for 5 s of speech, after a first run that prepares the reference."""
    taken_s = []
    for _ in range(TIMES + 1):
        started = time.perf_counter()
        synthesize(worker, text, voice, USUAL_NFE, fix_duration_s=TIMED_S)
        taken_s.append(time.perf_counter() - started)
    return statistics.median(taken_s[1:])


def measure(worker: Worker, texts: Sequence[str], short: Sequence[str]) -> dict[str, Any]:
    """Measure all figures, each with its bar."""
    model, voices = worker.models.default, voices_of(worker)
    built_in, human = voices[:-1], voices[-1]
    own, own_short = recogniser_error(texts), recogniser_error(short)
    by_nfe = {nfe: speak_and_transcribe(worker, texts, built_in, nfe) for nfe in WER_BARS}
    in_human = speak_and_transcribe(worker, texts[::HUMAN_EVERY], [human], BEST_NFE)
    short_utterances = speak_and_transcribe(worker, short, built_in, BEST_NFE)
    everything = [*(pair for utterances in by_nfe.values() for pair in utterances), *in_human]
    rows = [
        _row(f"WER above the recogniser's own, built-in voices, NFE {nfe}", _wer(utterances) - own, bar, utterances)
        for (nfe, bar), utterances in zip(WER_BARS.items(), by_nfe.values(), strict=True)
    ]
    rows += [
        _row(f"the same, human clip, NFE {BEST_NFE}", _wer(in_human) - own, HUMAN_BAR, in_human),
        _row(
            f"the same, texts of 1-2 words, NFE {BEST_NFE}",
            _wer(short_utterances) - own_short,
            SHORT_BAR,
            short_utterances,
        ),
        _row("first or last word missing", edge_missing_rate([s for _, s in everything]), MISSING_BAR, everything),
        _row("words of the reference heard", _leak_rate(everything), LEAK_BAR, everything),
        _row("right voice nearest", nearest_voice_rate(everything, voices), VOICE_BAR, everything, at_least=True),
    ]
    if model.device == "cpu":
        seconds = seconds_of_synthesis(worker, voices[0], texts[0])
        what = f"seconds for 5 s on {os.cpu_count()} CPUs, NFE {USUAL_NFE}, median"
        rows.append(_row(what, seconds, SECONDS_BAR, range(TIMES)))
    speeches = (speech for _, speech in everything)
    worst = sorted(speeches, key=lambda speech: -speech.errors / len(speech.text.split()))
    return {
        "model": model.name,
        "checkpoint_sha256": _sha256(model.directory / "model.safetensors"),
        "device": model.device,
        "precision": model.precision,
        "torch": version("torch"),
        "recognisers_own_wer": {"sentences": round(own, 3), "short": round(own_short, 3)},
        "bars": rows,
        "wer_of_voices": {str(nfe): _by_voice(utterances) for nfe, utterances in by_nfe.items()},
        "worst": [{"said": speech.text, "heard": speech.recognized} for speech in worst[:WORST]],
    }


def _wer(utterances: Utterances) -> float:
    return word_error_rate([speech for _, speech in utterances])


def _leak_rate(utterances: Utterances) -> float:
    return reference_word_rate([(speech, voice.transcript) for voice, speech in utterances])


def _by_voice(utterances: Utterances) -> dict[str, float]:
    names = dict.fromkeys(voice.name for voice, _ in utterances)
    return {name: round(_wer([pair for pair in utterances if pair[0].name == name]), 3) for name in names}


def _row(what: str, value: float, bar: float, of: Sequence[Any], *, at_least: bool = False) -> dict[str, Any]:
    met = bool(value >= bar if at_least else value <= bar)
    return {"what": what, "value": round(value, 3), "bar": bar, "met": met, "of": len(of)}


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def table(result: dict[str, Any]) -> str:
    """Return the bars as a Markdown table."""
    rows = ["| | utterances | measured | bar | met |", "|---|---|---|---|---|"]
    rows += [
        f"| {row['what']} | {row['of']} | {row['value']} | {row['bar']} | {'yes' if row['met'] else 'no'} |"
        for row in result["bars"]
    ]
    return "\n".join(rows)


def main() -> None:
    """Measure the model that the settings name and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=None, help="use only so many of each list")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    texts, short = (
        (HELD_OUT / name).read_text().splitlines()[: args.sentences]
        for name in ("sentences.txt", "short_sentences.txt")
    )
    worker = load_worker(load_settings())
    try:
        result = measure(worker, texts, short)
    finally:
        worker.engine.close()
    record(f"quality-{result['model']}", result, args.out)
    print(table(result))


if __name__ == "__main__":
    main()
