"""How well a model speaks, heard by a recogniser: `make quality`, or `F5_MODEL=F5TTS_v1_Base make quality`.

Held-out sentences (scripts/train_tiny/*sentences.txt) in the voices that come with the model, in turns, and in a
human's (f5-tts' example clip), through the worker's own path from text to sound. Whisper tiny.en listens; its own
error on Piper's speech of the same sentences is measured beside. Writes bench/results/quality-<model>.json.
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

from bench.heard import Transcription, first_or_last_missing, leaked, word_error_rate  # noqa: E402
from bench.record import RESULTS, record  # noqa: E402
from f5_worker.audio.decode import decode  # noqa: E402
from f5_worker.audio.levels import SAMPLE_RATE, Samples  # noqa: E402
from f5_worker.cancellation import JobControl  # noqa: E402
from f5_worker.schema.requests import SynthesizeInput  # noqa: E402
from f5_worker.server.startup import load_worker  # noqa: E402
from f5_worker.settings import load_settings  # noqa: E402
from f5_worker.synthesis.context import Worker  # noqa: E402
from f5_worker.synthesis.pipeline import speak as synthesize  # noqa: E402
from f5_worker.synthesis.prepare import Job  # noqa: E402
from f5_worker.voices.naming import CLIPS  # noqa: E402
from tests.listen import transcribe  # noqa: E402
from tests.speak import speak as piper  # noqa: E402

HELD_OUT = ROOT / "scripts" / "train_tiny"
HUMAN = "human"
HUMAN_WORDS = "Some call me nature, others call me mother nature."
BEST_NFE, USUAL_NFE = 32, 16
HUMAN_EVERY = 3  # of the sentences; it speaks slowly, and most steps are taken with it
WER_BARS = {32: 0.06, 16: 0.08, 7: 0.15}  # above the recogniser's own error, in built-in voices
HUMAN_BAR = SHORT_BAR = 0.25
MISSING_BAR, LEAK_BAR, VOICE_BAR, SECONDS_BAR = 0.02, 0.01, 0.9, 6.0
TIMED_S, TIMES = 5.0, 5
SEED = 1
WORST = 8


@dataclass(frozen=True)
class Voice:
    """`fields` of a job that is spoken in it; its clip and the words in it."""

    name: str
    fields: dict[str, Any]
    clip: Samples
    words: str


def voices_of(worker: Worker) -> list[Voice]:
    """Those that come with the model, and last a human who is none of them."""
    directory = worker.models.default.directory / "voices"
    found = []
    for words in sorted(directory.glob("*.txt")):
        clip = next(path for path in sorted(directory.glob(f"{words.stem}.*")) if path.suffix[1:] in CLIPS)
        found.append(Voice(words.stem, {"voice": words.stem}, _samples(clip.read_bytes()), words.read_text()))
    spec = find_spec("f5_tts")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("f5-tts, which has the human clip, is not installed; run make quality")
    file = (Path(spec.submodule_search_locations[0]) / "infer/examples/basic/basic_ref_en.wav").read_bytes()
    reference = {"audio": base64.b64encode(file).decode(), "transcript": HUMAN_WORDS}
    return [*found, Voice(HUMAN, {"reference": reference}, _samples(file), HUMAN_WORDS)]


def _samples(file: bytes) -> Samples:
    return decode(file, max_bytes=10**9, max_s=600).samples


def say(worker: Worker, text: str, voice: Voice, nfe: int, **fields: Any) -> Samples:
    job = {"text": text, "nfe_step": nfe, "seed": SEED, "format": "wav_f32", **voice.fields, **fields}
    reply = synthesize(Job(SynthesizeInput.model_validate(job), worker, JobControl(3_600)))
    return _samples(base64.b64decode(reply.audio.base64 or ""))


SegmentAudio = Sequence[tuple[Voice, Transcription]]


def hear(worker: Worker, texts: Sequence[str], voices: Sequence[Voice], nfe: int) -> SegmentAudio:
    """Speak and listen, the voices in turns; side by side where the device gains from it."""
    turns = [(text, voices[index % len(voices)]) for index, text in enumerate(texts)]
    with ThreadPoolExecutor(1 if worker.models.default.device == "cpu" else 16) as threads:
        sounds = list(threads.map(lambda turn: say(worker, *turn, nfe), turns))
    spoken = [
        (voice, Transcription(text, transcribe(sound, SAMPLE_RATE), sound))
        for (text, voice), sound in zip(turns, sounds, strict=True)
    ]
    print(f"NFE {nfe}: WER {_wer(spoken):.3f} on {len(texts)} texts", file=sys.stderr, flush=True)
    return spoken


def recognisers_own(texts: Sequence[str]) -> float:
    """Word error rate on Piper's speech."""
    return word_error_rate(
        [Transcription(t, transcribe(piper(t).samples, SAMPLE_RATE), np.zeros(0, np.float32)) for t in texts]
    )


def right_voice_nearer(spoken: SegmentAudio, voices: Sequence[Voice]) -> float:
    """Share of utterances whose speaker embedding (GE2E, resemblyzer) is nearest to their own voice's clip."""
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)

    def embedding(sound: Samples) -> Any:
        return encoder.embed_utterance(preprocess_wav(sound, SAMPLE_RATE))

    clips = np.stack([embedding(voice.clip) for voice in voices])
    own = [voices.index(voice) for voice, _ in spoken]
    nearest = [int(np.argmax(clips @ embedding(heard.sound))) for _, heard in spoken]
    return float(np.mean(np.array(own) == np.array(nearest)))


def seconds_for(worker: Worker, voice: Voice, text: str) -> float:
    """For 5 s of speech: the median, after a first time that prepares the reference."""
    taken = []
    for _ in range(TIMES + 1):
        started = time.perf_counter()
        say(worker, text, voice, USUAL_NFE, fix_duration_s=TIMED_S)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def measure(worker: Worker, texts: Sequence[str], short: Sequence[str]) -> dict[str, Any]:
    """Every figure, each with its bar."""
    model, voices = worker.models.default, voices_of(worker)
    built_in, human = voices[:-1], voices[-1]
    own, own_short = recognisers_own(texts), recognisers_own(short)
    said = {nfe: hear(worker, texts, built_in, nfe) for nfe in WER_BARS}
    in_human = hear(worker, texts[::HUMAN_EVERY], [human], BEST_NFE)
    said_short = hear(worker, short, built_in, BEST_NFE)
    everything = [*(pair for spoken in said.values() for pair in spoken), *in_human]
    rows = [
        _row(f"WER above the recogniser's own, built-in voices, NFE {nfe}", _wer(spoken) - own, bar, spoken)
        for (nfe, bar), spoken in zip(WER_BARS.items(), said.values(), strict=True)
    ]
    rows += [
        _row(f"the same, human clip, NFE {BEST_NFE}", _wer(in_human) - own, HUMAN_BAR, in_human),
        _row(f"the same, texts of 1-2 words, NFE {BEST_NFE}", _wer(said_short) - own_short, SHORT_BAR, said_short),
        _row("first or last word missing", first_or_last_missing([h for _, h in everything]), MISSING_BAR, everything),
        _row("words of the reference heard", leaked([(h, v.words) for v, h in everything]), LEAK_BAR, everything),
        _row("right voice nearest", right_voice_nearer(everything, voices), VOICE_BAR, everything, least=True),
    ]
    if model.device == "cpu":
        seconds = seconds_for(worker, voices[0], texts[0])
        what = f"seconds for 5 s on {os.cpu_count()} CPUs, NFE {USUAL_NFE}, median"
        rows.append(_row(what, seconds, SECONDS_BAR, range(TIMES)))
    worst = sorted((heard for _, heard in everything), key=lambda heard: -heard.errors / len(heard.text.split()))
    return {
        "model": model.name,
        "checkpoint_sha256": _sha256(model.directory / "model.safetensors"),
        "device": model.device,
        "precision": model.precision,
        "torch": version("torch"),
        "recognisers_own_wer": {"sentences": round(own, 3), "short": round(own_short, 3)},
        "bars": rows,
        "wer_of_voices": {str(nfe): _by_voice(spoken) for nfe, spoken in said.items()},
        "worst": [{"said": heard.text, "heard": heard.heard} for heard in worst[:WORST]],
    }


def _wer(spoken: SegmentAudio) -> float:
    return word_error_rate([heard for _, heard in spoken])


def _by_voice(spoken: SegmentAudio) -> dict[str, float]:
    names = dict.fromkeys(voice.name for voice, _ in spoken)
    return {name: round(_wer([pair for pair in spoken if pair[0].name == name]), 3) for name in names}


def _row(what: str, value: float, bar: float, of: Sequence[Any], *, least: bool = False) -> dict[str, Any]:
    met = bool(value >= bar if least else value <= bar)
    return {"what": what, "value": round(value, 3), "bar": bar, "met": met, "of": len(of)}


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def table(result: dict[str, Any]) -> str:
    rows = ["| | utterances | measured | bar | met |", "|---|---|---|---|---|"]
    rows += [
        f"| {row['what']} | {row['of']} | {row['value']} | {row['bar']} | {'yes' if row['met'] else 'no'} |"
        for row in result["bars"]
    ]
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=None, help="only so many of each list")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    texts, short = (
        (HELD_OUT / name).read_text().splitlines()[: asked.sentences]
        for name in ("sentences.txt", "short_sentences.txt")
    )
    worker = load_worker(load_settings())
    try:
        result = measure(worker, texts, short)
    finally:
        worker.engine.close()
    record(f"quality-{result['model']}", result, asked.out)
    print(table(result))


if __name__ == "__main__":
    main()
