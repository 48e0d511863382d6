"""How well planted faults are found in speech, and what it costs: `python bench/verify.py`.

Piper speaks sentences that chose no threshold (scripts/train_tiny/held_out), alone and two or three together, at
several speeds, plain and lively. Faults of six kinds are planted in as many of them each; the others are to pass, and
so are names, numbers and homophones (bench/verify_hard_sentences.txt). Writes bench/results/verify.json. Needs the
extra `listen`. With --own-network: by our own inference of Whisper, as on a GPU, which ends a search where the rest
agrees with the text; writes verify-own-network.json. With --gpu: what it costs the engine that every segment is
checked, as throughput and as time in which the device computes.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as f5_worker/server/startup.py does

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402

from bench.planted_faults import KINDS, Speech  # noqa: E402
from bench.record import RESULTS, record  # noqa: E402
from f5_worker.asr.device import DeviceWhisper  # noqa: E402
from f5_worker.asr.whisper import Recogniser  # noqa: E402
from f5_worker.audio.levels import SAMPLE_RATE, Samples  # noqa: E402
from f5_worker.settings import Settings  # noqa: E402
from f5_worker.text.reading import ReadingOptions, read_line  # noqa: E402
from f5_worker.verification.check import Limits, SpeechVerdict, SpeechVerifier  # noqa: E402
from tests.listen import whisper_directory  # noqa: E402
from tests.speak import Utterance, _voice, speak  # noqa: E402

if TYPE_CHECKING:
    from bench.engine import Case
    from f5_worker.engine.engine import Engine

_FILES = "scripts/train_tiny/held_out/{}.txt"
HELD_OUT = [_FILES.format(name) for name in ("literary", "numbers", "first_words")]
TUNING = [
    "bench/verify_sentences.txt",
    *(_FILES.format(name) for name in ("literary_60", "news", "dialogue")),
]  # chose the thresholds
SEED = 20
PER_KIND = 50
SPEEDS, LIVELINESS = (0.85, 1.0, 1.15, 1.25), (0.0, 0.667)
SENTENCES_TOGETHER = (1, 1, 2, 3)
FOUND_BAR, FALSE_BAR = 0.98, 0.02
SHOWN = 12
BUSY_ROUNDS = 2  # under a profiler
GOOD, HARD = "good", "names_numbers_homophones"  # strata beside the kinds of faults
MAX_SENTENCES_OF_SEGMENT, STEP_OF_PASSAGES = 5, 8  # of the passages that stand in for segments


class Piper:
    """Speaks at drawn speeds and with drawn liveliness: the same in every run."""

    def __init__(self, rng: np.random.Generator) -> None:
        onnxruntime.set_seed(SEED)
        _voice.cache_clear()  # a session draws from the seed that was set before it
        self._rng = rng

    def speak(self, text: str) -> Utterance:
        """Speak a text."""
        return speak(text, float(self._rng.choice(SPEEDS)), float(self._rng.choice(LIVELINESS)))


def sentences_of(names: Sequence[str]) -> list[str]:
    """Return the sentences of several files as they are spoken."""
    return [sentence for name in names for sentence in lines(name)]


def lines(name: str) -> list[str]:
    """Return the sentences of a file as they are spoken."""
    written = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [read_line(line, ReadingOptions()).text.text for line in written]


def passages(sentences: Sequence[str]) -> list[str]:
    """Return sentences alone and two or three together."""
    rest = iter(sentences)
    groups = (list(itertools.islice(rest, n)) for n in itertools.cycle(SENTENCES_TOGETHER))
    return [" ".join(group) for group in itertools.takewhile(bool, groups)]


class OwnNetwork(Recogniser):
    """Whisper as on a GPU, in fp32."""

    def _load(self) -> Sequence[DeviceWhisper]:
        torch.set_num_threads(1)
        return [DeviceWhisper.load(self._directory, "cpu", lambda work: work())]


# By the names of their results: class and description.
RECOGNISERS = {
    "verify": (Recogniser, "whisper tiny.en (MIT), int8"),
    "verify-own-network": (OwnNetwork, "whisper tiny.en (MIT), fp32, our own network"),
}


@dataclass
class Stratum:
    """Verdicts of speech of one kind, and what they took."""

    verdicts: list[tuple[str, SpeechVerdict]] = field(default_factory=list)
    sound_s: float = 0.0
    processor_s: float = 0.0

    def check(self, verifier: SpeechVerifier, samples: Samples, text: str, reference: str) -> None:
        """Judge an utterance."""
        started = time.process_time()
        self.verdicts.append((text, verifier.check(samples, text, reference)))
        self.processor_s += time.process_time() - started
        self.sound_s += len(samples) / SAMPLE_RATE

    def figures(self) -> dict[str, Any]:
        """Summarise the verdicts."""
        faults = Counter(fault for _, verdict in self.verdicts for fault in verdict.faults)
        return {
            "utterances": len(self.verdicts),
            "passed": sum(verdict.passed for _, verdict in self.verdicts),
            "processor_s_per_s_of_sound": round(self.processor_s / self.sound_s, 4),
            "faults": dict(sorted(faults.items())),
        }

    def examples(self, *, passed: bool) -> list[dict[str, Any]]:
        """Return some that passed, or did not."""
        chosen = [(text, verdict) for text, verdict in self.verdicts if verdict.passed == passed]
        return [
            {"said": text, "heard": verdict.heard, "wer": round(verdict.wer, 3), "faults": verdict.faults}
            for text, verdict in chosen[:SHOWN]
        ]


def stratum_of(name: str, number: int, per_kind: int, files: Sequence[str], kind: type[Recogniser]) -> Stratum:
    """Judge the speech of one stratum: a kind of fault, or good speech."""
    rng = np.random.default_rng((SEED, number))
    piper = Piper(rng)
    recogniser = kind(whisper_directory(), Settings(device="cpu", cpu_threads=1))
    verifier = SpeechVerifier(recogniser, "en", Limits())
    sentences = sentences_of(files)
    found = Stratum()
    if name in KINDS:
        texts = rng.permutation(passages(sentences)).tolist()
        for text in itertools.islice(itertools.cycle(texts), per_kind):
            reference, other = rng.choice([one for one in sentences if one not in text], 2, replace=False).tolist()
            speech = Speech(piper.speak(text), partial(piper.speak, reference), partial(piper.speak, other))
            found.check(verifier, KINDS[name](speech, rng), text, reference)
    else:
        texts = lines("bench/verify_hard_sentences.txt") if name == HARD else [*sentences, *passages(sentences)]
        for text in texts:
            found.check(verifier, piper.speak(text).samples, text, sentences[0])
    print(f"{name}: {found.figures()}", file=sys.stderr, flush=True)
    return found


def measure(per_kind: int, processes: int, files: Sequence[str], result: str) -> dict[str, Any]:
    """Measure faults found, false alarms and cost on the CPU."""
    kind, description = RECOGNISERS[result]
    names = (GOOD, *KINDS, HARD)  # the longest first
    with ProcessPoolExecutor(processes) as pool:
        futures = [pool.submit(stratum_of, name, number, per_kind, files, kind) for number, name in enumerate(names)]
        strata = dict(zip(names, (future.result() for future in futures), strict=True))
    faults = {kind: strata[kind] for kind in KINDS}
    good, hard = strata[GOOD], strata[HARD]
    n_faults = sum(len(stratum.verdicts) for stratum in faults.values())
    n_found = sum(not verdict.passed for stratum in faults.values() for _, verdict in stratum.verdicts)
    n_false = sum(not verdict.passed for _, verdict in good.verdicts)
    return {
        "recogniser": description,
        "voice": "piper joe (CC0)",
        "found": {"value": round(n_found / n_faults, 4), "bar": FOUND_BAR, "of": n_faults},
        "false_alarms": {"value": round(n_false / len(good.verdicts), 4), "bar": FALSE_BAR, "of": len(good.verdicts)},
        "strata": {name: stratum.figures() for name, stratum in strata.items()},
        "not_found": [
            {"kind": kind, **one} for kind, stratum in faults.items() for one in stratum.examples(passed=True)
        ],
        "false_alarm_examples": [*good.examples(passed=False), *hard.examples(passed=False)],
    }


class PassageChecker:
    """Stands where bench/asr_gpu.py has an aligner: judges the Piper passage whose length is nearest to a segment's.

    The engine's own sound is that of random weights; it takes as long, but says nothing.
    """

    def __init__(self, verifier: SpeechVerifier) -> None:
        self._verifier = verifier
        sentences = sentences_of(HELD_OUT)
        piper = Piper(np.random.default_rng(SEED))
        self._passages = [
            (piper.speak(text).samples, text)
            for n in range(1, MAX_SENTENCES_OF_SEGMENT + 1)
            for text in (" ".join(sentences[at : at + n]) for at in range(0, len(sentences) - n, STEP_OF_PASSAGES))
        ]
        self.verdicts: list[SpeechVerdict] = []

    def align(self, samples: Samples, text: str) -> SpeechVerdict:
        """Judge the passage that is as long as a segment."""
        passage, said = min(self._passages, key=lambda known: abs(len(known[0]) - len(samples)))
        verdict = self._verifier.check(passage, said, "")
        self.verdicts.append(verdict)
        return verdict


def measure_gpu(rounds: int) -> dict[str, Any]:
    """Measure the engine's throughput with every segment verified against the same jobs without."""
    from bench.asr_gpu import load_settings, measure_load, start_engine
    from bench.engine import CASES, TINY_CASES
    from f5_worker.models.placement import Device

    settings = load_settings()
    f5, engine = start_engine(settings)
    device = f5.model.device.type
    recogniser = Recogniser(whisper_directory(), settings, [Device(device, engine.run).beside()])
    recogniser.preload()
    checker = PassageChecker(SpeechVerifier(recogniser, "en", Limits()))
    by_name = {case.name: case for case in CASES}
    cases = [by_name["32 jobs of 3..15 s"]] if device == "cuda" else TINY_CASES
    loads = {case.name: measure_load(engine, case, checker, rounds) for case in cases}  # type: ignore[arg-type]
    for case in cases if device == "cuda" else ():
        loads[case.name]["device_busy_s"] = measure_busy(engine, case, checker)
    n_passed = sum(verdict.passed for verdict in checker.verdicts)
    engine.close()
    return {"device": f5.device, "passed": round(n_passed / len(checker.verdicts), 4), "loads": loads}


def measure_busy(engine: Engine, case: Case, checker: PassageChecker) -> dict[str, float]:
    """Measure how long the device computes during a load, whatever it computes at the same time."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    from bench.asr_gpu import jobs_of, lengthen, run_jobs

    jobs = jobs_of(case)
    busy: dict[str, list[float]] = {"without": [], "with": []}
    for number, (kind, found) in itertools.product(range(BUSY_ROUNDS), busy.items()):
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            run_jobs(engine, lengthen(jobs, number), case.early, checker if kind == "with" else None)  # type: ignore[arg-type]
            torch.cuda.synchronize()
        assert profiled.profiler is not None
        events = profiled.profiler.kineto_results.events()  # `events()` of 300,000 kernels takes minutes
        spans = [(one.start_ns(), one.end_ns()) for one in events if one.device_type() == DeviceType.CUDA]
        found.append(covered(sorted(spans)) / 1e9)
    return {kind: round(statistics.median(found), 3) for kind, found in busy.items()}


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """Return the length that sorted spans cover together."""
    total, until = 0.0, -math.inf
    for begin, end in spans:
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-kind", type=int, default=PER_KIND, help="faults of each kind")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tuning", action="store_true", help="with the sentences that chose thresholds")
    parser.add_argument("--own-network", action="store_true", help="recognise by our own inference, as on a GPU")
    parser.add_argument("--gpu", action="store_true", help="measure the cost beside the engine that F5_MODEL names")
    parser.add_argument("--rounds", type=int, default=4, help="of the load on a GPU")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.gpu:
        result = measure_gpu(args.rounds)
        record(f"verify-{result['device'].replace(' ', '-').lower()}", result, args.out)
    else:
        name = "verify-own-network" if args.own_network else "verify"
        result = measure(args.per_kind, args.processes, TUNING if args.tuning else HELD_OUT, name)
        record(f"{name}-tuning" if args.tuning else name, result, args.out)


if __name__ == "__main__":
    main()
