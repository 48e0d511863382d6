"""Sixty texts as one `batch`, as sixty jobs, and as a batch that can be resumed: `python bench/batch.py`.

Each round has sixty sentences in one voice, spoken in each way by one worker, without the server in between: sixty jobs
all at once, which is more than an endpoint lets run, and as many as F5_CONCURRENCY allows. Any checkpoint will do
(bench/random_checkpoint.py): F5_MODEL names it. Writes medians over the rounds to bench/results/batch-<device>-<torch>
.json; the exit code is 1 if the batch has less than the throughput of sixty jobs at once.
"""

from __future__ import annotations

import argparse
import base64
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.record import RESULTS, record  # noqa: E402 - the repository is not an installed package
from f5_worker.api.actions import ACTIONS  # noqa: E402
from f5_worker.api.call import Call, ServerStatus  # noqa: E402
from f5_worker.cancellation import JobControl  # noqa: E402
from f5_worker.schema.actions import parse_input  # noqa: E402
from f5_worker.server.startup import load_worker  # noqa: E402
from f5_worker.settings import load_settings  # noqa: E402
from f5_worker.synthesis.context import Worker  # noqa: E402

WORDS = "the old harbour wakes slowly and a grey light over roofs finds boats that wait for wind".split()
N_ITEMS = 60
VOICE = ROOT / "models" / "f5-tiny" / "voices" / "joe"
TIMEOUT_S = 3_600.0
BAR = 1.0


def make_items(number: int, max_words: int) -> list[dict[str, Any]]:
    """Return sentences of a fifth of so many words or more; another round has others."""
    rng = random.Random(number)
    texts = [
        " ".join(rng.choices(WORDS, k=rng.randint(max_words // 5, max_words))).capitalize() + "."
        for _ in range(N_ITEMS)
    ]
    return [{"text": text, "seed": index} for index, text in enumerate(texts)]


def answer(worker: Worker, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response to one job."""
    parsed = parse_input(dict(request))
    return ACTIONS[type(parsed)].answer(parsed, Call(worker, ServerStatus(0.0, 0), JobControl(TIMEOUT_S)))


def speak_alone(worker: Worker, items: list[dict[str, Any]], defaults: dict[str, Any], n_at_once: int) -> float:
    """Speak each item as a job of its own; return the seconds of audio."""
    with ThreadPoolExecutor(n_at_once) as threads:
        replies = list(threads.map(lambda item: answer(worker, defaults | item), items))
    return sum(reply["audio"]["duration_s"] for reply in replies)


def speak_batch(worker: Worker, items: list[dict[str, Any]], defaults: dict[str, Any], **fields: Any) -> float:
    """Speak all items as one batch; return the seconds of audio."""
    reply = answer(worker, {"action": "batch", "items": items, "defaults": defaults, **fields})
    if reply["failed"] or any("resumed" in item for item in reply["items"]):
        raise RuntimeError("an item failed, or was not spoken")
    return sum(item["result"]["audio"]["duration_s"] for item in reply["items"])


def measure(worker: Worker, n_rounds: int, nfe: int, max_words: int, home: Path) -> dict[str, Any]:
    """Return the figures of each way, over rounds in which they alternate; the first round does not count."""
    clip = base64.b64encode(VOICE.with_suffix(".wav").read_bytes()).decode()
    reference = {"audio": clip, "transcript": VOICE.with_suffix(".txt").read_text(encoding="utf-8").strip()}
    defaults = {"reference": reference, "nfe_step": nfe, "format": "mp3"}
    keeping = replace(worker, settings=worker.settings.model_copy(update={"resume_dir": home}))
    n_default = worker.settings.concurrency
    ways: dict[str, Callable[[list[dict[str, Any]]], float]] = {
        "batch": lambda items: speak_batch(worker, items, defaults),
        "jobs, all at once": lambda items: speak_alone(worker, items, defaults, len(items)),
        f"jobs, {n_default} at a time": lambda items: speak_alone(worker, items, defaults, n_default),
        "batch with resume_key": lambda items: speak_batch(keeping, items, defaults, resume_key="bench"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    audio_s: dict[str, float] = {}
    mean_batch: dict[str, float] = {}
    for number in range(n_rounds + 1):
        items = make_items(number, max_words)
        for name, speak in ways.items():
            (load,) = (engine.load for engine in worker.engine.engines)
            forwards, segments, started = load.n_forwards, load.n_segments, time.perf_counter()
            audio_s[name] = speak(items)
            seconds[name].append(time.perf_counter() - started)
            mean_batch[name] = (load.n_segments - segments) / (load.n_forwards - forwards)
    return {
        name: {
            "seconds": round(statistics.median(measured[1:]), 3),
            "audio_s_per_s": round(audio_s[name] / statistics.median(measured[1:]), 3),
            "segments_per_forward": round(mean_batch[name], 2),
        }
        for name, measured in seconds.items()
    }


def main() -> int:
    """Measure the model that the settings name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nfe", type=int, default=16)
    parser.add_argument("--max-words", type=int, default=30, help="of a sentence; 30 last about 10 s")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    worker = load_worker(load_settings().model_copy(update={"asr_model": "off"}))
    with tempfile.TemporaryDirectory() as home:
        ways = measure(worker, args.rounds, args.nfe, args.max_words, Path(home))
    model, torch = worker.models.default, version("torch").split("+")[0]
    ratio = ways["jobs, all at once"]["seconds"] / ways["batch"]["seconds"]
    result = {
        "model": model.name, "device": model.device, "precision": model.precision, "torch": torch,
        "nfe": args.nfe, "max_words": args.max_words, "rounds": args.rounds, "items": N_ITEMS,
        "ways": ways, "throughput_of_jobs_at_once": round(ratio, 3),
    }  # fmt: skip
    record(f"batch-{model.device.replace(' ', '-').lower()}-{torch}", result, args.out)
    return int(ratio < BAR)


if __name__ == "__main__":
    sys.exit(main())
