"""What `verify` does for a model's speech: word errors with it and without it, takes and seconds.

    python bench/verified.py                           speak and judge on this machine
    python bench/verified.py --speak out/verified      only speak, on a machine with a GPU
    python bench/verified.py --judge out/verified      only judge what was spoken there

Held-out literary sentences (scripts/train_tiny/held_out) are spoken in the model's voices with equal seeds, each a job
of its own. Whisper tiny.en, which chooses the takes, and Moonshine tiny, which does not, transcribe them; speech of
Piper shows each recogniser's own errors. Writes bench/results/verified-<model>.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as f5_worker/server/startup.py does

from bench.recognized_speech import RecognizedSpeech, word_error_rate  # noqa: E402
from bench.record import RESULTS, record  # noqa: E402
from bench.second_recogniser import transcribe_by_moonshine  # noqa: E402
from f5_worker.audio.decode import decode  # noqa: E402
from f5_worker.audio.levels import SAMPLE_RATE, Samples  # noqa: E402
from f5_worker.cancellation import JobControl  # noqa: E402
from f5_worker.schema.requests import SynthesizeInput  # noqa: E402
from f5_worker.schema.responses import SynthesizeResponse  # noqa: E402
from f5_worker.server.startup import load_worker  # noqa: E402
from f5_worker.settings import Settings, load_settings  # noqa: E402
from f5_worker.synthesis.context import Worker  # noqa: E402
from f5_worker.synthesis.job import Job  # noqa: E402
from f5_worker.synthesis.response import speak  # noqa: E402
from tests.listen import transcribe, whisper_directory  # noqa: E402

SENTENCES = ROOT / "scripts" / "train_tiny" / "held_out" / "literary_60.txt"
NFE = 16
RATIO_BAR = 0.6  # of the word error rate without `verify`
MODES: Mapping[str, Any] = {"plain": False, "verified": True}
RECOGNISERS: Mapping[str, Callable[[Samples], str]] = {
    "Whisper tiny.en, which chooses": lambda samples: transcribe(samples, SAMPLE_RATE),
    "Moonshine tiny, which does not": transcribe_by_moonshine,
}


def settings_of_bench() -> Settings:
    """Return the settings of the environment, with Whisper tiny.en as the recogniser."""
    return load_settings().model_copy(update={"asr_dir": whisper_directory(), "asr_preload": True})


def speak_all(worker: Worker, texts: Sequence[str], directory: Path) -> None:
    """Speak each text in each mode, the voices in turn; write the files, and what the responses say of them."""
    voices = worker.voices.local_names()
    facts: dict[str, Any] = {
        "model": worker.models.default.name,
        "device": worker.models.default.device,
        "texts": texts,
    }
    n_threads = 1 if worker.models.default.device == "cpu" else 16
    for mode, verify in MODES.items():

        def job(index: int, mode: str = mode, verify: Any = verify) -> dict[str, Any]:
            fields = {"text": texts[index], "voice": voices[index % len(voices)], "seed": index, "nfe_step": NFE}
            request = SynthesizeInput.model_validate({**fields, "format": "flac", "verify": verify})
            response = speak(Job(request, worker, JobControl(3_600)))
            assert isinstance(response, SynthesizeResponse)
            (directory / f"{mode}-{index:03}.flac").write_bytes(response.audio.data or b"")
            verified = [segment.verified for segment in response.segments if segment.verified]
            return {
                "takes": sum(segment.takes for segment in verified),
                "segments": len(response.segments),
                "passed": all(segment.passed for segment in verified),
                "engine_ms": response.metrics.engine_ms,
                "total_ms": response.metrics.total_ms,
            }

        started = time.perf_counter()
        with ThreadPoolExecutor(n_threads) as threads:
            facts[mode] = {"jobs": list(threads.map(job, range(len(texts))))}
        facts[mode]["seconds"] = round(time.perf_counter() - started, 2)
        print(f"{mode}: {facts[mode]['seconds']} s", file=sys.stderr, flush=True)
    (directory / "facts.json").write_text(json.dumps(facts))


def judge(directory: Path) -> dict[str, Any]:
    """Return word error rates of the files that `speak_all` wrote."""
    from tests.speak import speak as piper

    facts = json.loads((directory / "facts.json").read_text())
    texts: list[str] = facts["texts"]
    spoken = {
        mode: [_samples((directory / f"{mode}-{index:03}.flac").read_bytes()) for index in range(len(texts))]
        for mode in MODES
    }
    spoken["piper"] = [piper(text).samples for text in texts]
    rows = []
    for name, recognise in RECOGNISERS.items():
        wer = {mode: _wer(texts, samples, recognise) for mode, samples in spoken.items()}
        ratio = wer["verified"] / wer["plain"]
        rows.append(
            {"judge": name, **{mode: round(value, 3) for mode, value in wer.items()}, "ratio": round(ratio, 3)}
            | {"bar": RATIO_BAR, "met": ratio <= RATIO_BAR}
        )
    jobs = facts["verified"]["jobs"]
    return {
        "model": facts["model"],
        "device": facts["device"],
        "nfe": NFE,
        "sentences": len(texts),
        "word_error_rate": rows,
        "passed": sum(job["passed"] for job in jobs) / len(jobs),
        "takes_per_segment": round(sum(job["takes"] for job in jobs) / sum(job["segments"] for job in jobs), 2),
        "engine_ms_per_job": {mode: _mean(facts[mode]["jobs"], "engine_ms") for mode in MODES},
        "seconds": {mode: facts[mode]["seconds"] for mode in MODES},
    }


def _mean(jobs: Sequence[Mapping[str, Any]], name: str) -> float:
    return round(statistics.mean(job[name] for job in jobs), 1)


def _wer(texts: Sequence[str], spoken: Sequence[Samples], recognise: Callable[[Samples], str]) -> float:
    return word_error_rate(
        [RecognizedSpeech(text, recognise(samples), samples) for text, samples in zip(texts, spoken, strict=True)]
    )


def _samples(file: bytes) -> Samples:
    return decode(file, max_bytes=10**9, max_s=600).samples


def main() -> None:
    """Speak, judge, or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speak", type=Path)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--sentences", type=int, default=None, help="use only so many")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    directory = args.judge or args.speak or ROOT / "out" / "verified"
    if args.judge is None:
        directory.mkdir(parents=True, exist_ok=True)
        worker = load_worker(settings_of_bench())
        try:
            speak_all(worker, SENTENCES.read_text().splitlines()[: args.sentences], directory)
        finally:
            worker.engine.close()
    if args.speak is None:
        result = judge(directory)
        record(f"verified-{result['model']}", result, args.out)


if __name__ == "__main__":
    main()
