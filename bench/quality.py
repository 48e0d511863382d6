"""The quality of a model's speech by a recogniser: `make quality`, or `F5_MODEL=F5TTS_v1_Base make quality`.

    python bench/quality.py                          speak and judge on this machine
    python bench/quality.py --speak out/quality      only speak, on a machine with a GPU
    python bench/quality.py --judge out/quality      only judge what was spoken there

Held-out texts (scripts/train_tiny/held_out) are spoken alternately in the model's built-in voices, and in a human's
(f5-tts' example clip), through the worker's own path from text to audio. Whisper tiny.en transcribes them; its word
errors on Piper's speech of the same texts are taken off. Writes bench/results/quality-<model>.json.

A model whose main language is French is measured with other texts and another recogniser: bench/quality_french.py.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as f5_worker/server/startup.py does

import numpy as np  # noqa: E402

from bench import quality_french  # noqa: E402
from bench.recognized_speech import (  # noqa: E402
    RecognizedSpeech,
    edge_missing_rate,
    first_word_missing_rate,
    reference_word_rate,
    word_error_rate,
)
from bench.record import RESULTS, record  # noqa: E402
from bench.speech_quality import (  # noqa: E402
    TIMES,
    USUAL_NFE,
    TextSet,
    Voice,
    bar_row,
    bars_table,
    built_in_voices,
    samples_of,
    speak_all,
)
from f5_worker.audio.levels import SAMPLE_RATE, Samples  # noqa: E402
from f5_worker.server.startup import load_worker  # noqa: E402
from f5_worker.settings import load_settings  # noqa: E402
from tests.listen import transcribe  # noqa: E402
from tests.speak import speak as piper  # noqa: E402

HELD_OUT = ROOT / "scripts" / "train_tiny" / "held_out"
HUMAN = "human"
HUMAN_TRANSCRIPT = "Some call me nature, others call me mother nature."
HUMAN_EVERY = 5  # one text in so many: the voice is slow, and the run uses the most steps
BEST_NFE, FAST_NFE = 32, 7
GROUPS = {"literary": 0.05, "news": 0.05, "dialogue": 0.05, "short": 0.12, "numbers": 0.06}  # bars of the error
MORE_LITERARY = {USUAL_NFE: 0.06, FAST_NFE: 0.10}
HUMAN_BAR, MISSING_BAR, SWALLOWED_BAR, LEAK_BAR, VOICE_BAR, SECONDS_BAR = 0.08, 0.02, 0.02, 0.01, 0.95, 5.0
WORST = 12


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


def human_voice() -> Voice:
    """Return the voice of a human who is not one of the built-in ones."""
    spec = find_spec("f5_tts")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("f5-tts, which has the human clip, is not installed; run make quality")
    file = (Path(spec.submodule_search_locations[0]) / "infer/examples/basic/basic_ref_en.wav").read_bytes()
    reference = {"audio": base64.b64encode(file).decode(), "transcript": HUMAN_TRANSCRIPT}
    return Voice(HUMAN, {"reference": reference}, file, HUMAN_TRANSCRIPT)


@dataclass(frozen=True)
class Utterance:
    """A text that was spoken, its voice, and what was recognised."""

    voice: str
    speech: RecognizedSpeech


def judge(directory: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return all figures of what `speak_all` wrote, each with its bar."""
    spoken: dict[str, list[Utterance]] = {}
    for item in facts["utterances"]:
        samples = samples_of((directory / item["file"]).read_bytes())
        speech = RecognizedSpeech(item["text"], transcribe(samples, SAMPLE_RATE), samples)
        spoken.setdefault(item["set"], []).append(Utterance(item["voice"], speech))
    pipers = {name: [_piper_recognized(item.speech.text) for item in items] for name, items in spoken.items()}
    several_words = [item for name, items in spoken.items() if name != "short" for item in items]
    built_in = [item for item in several_words if item.voice != HUMAN]
    clips = {name: samples_of((directory / f"voice-{name}").read_bytes()) for name in facts["voices"]}
    rows = [
        bar_row(
            f"WER above Piper's, {name}",
            _wer(spoken[name]) - word_error_rate(pipers[name]),
            bar,
            len(spoken[name]),
            baseline=word_error_rate(pipers[name]),
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
        bar_row("first sentence of one word swallowed", swallowed, SWALLOWED_BAR, n_first, baseline=first),
        bar_row("first or last word missing", missing, MISSING_BAR, n_several),
        bar_row("words of the reference heard", leaks, LEAK_BAR, n_several),
        bar_row(f"right one of {len(clips) - 1} voices nearest", nearest, VOICE_BAR, len(built_in), at_least=True),
    ]
    if facts["seconds"] is not None:
        what = f"seconds for 5 s on {os.cpu_count()} CPUs, NFE {USUAL_NFE}, median"
        rows.append(bar_row(what, facts["seconds"], SECONDS_BAR, TIMES))
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


def _wer(utterances: Sequence[Utterance]) -> float:
    return word_error_rate([item.speech for item in utterances])


def _by_voice(utterances: Sequence[Utterance]) -> dict[str, float]:
    names = dict.fromkeys(item.voice for item in utterances)
    return {name: round(_wer([item for item in utterances if item.voice == name]), 3) for name in names}


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
        is_french = worker.models.languages(worker.models.default)[:1] == ("fr",)
        try:
            if is_french:
                speak_all(worker, quality_french.text_sets(args.sentences), directory, built_in_voices(worker))
            else:
                speak_all(worker, text_sets(args.sentences), directory, built_in_voices(worker), human_voice())
        finally:
            worker.engine.close()
    if args.speak is None:
        facts = json.loads((directory / "facts.json").read_text())
        result = quality_french.judge(directory, facts) if facts["language"] == "fr" else judge(directory, facts)
        record(f"quality-{result['model']}", result, args.out)
        print(bars_table(result))


if __name__ == "__main__":
    main()
