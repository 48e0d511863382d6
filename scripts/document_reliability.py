"""The tables of docs/reliability.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def reliability() -> str:
    """Return each promise, the test that holds it, the figure that a command of bench/ gave, and the command."""
    rows = ["| promise | held by | figure | again |", "|---|---|---|---|"]
    for name, describe in RELIABILITY.items():
        path = ROOT / "bench" / "results" / f"{name}.json"
        if path.is_file():
            rows += [f"| {row} | `make {name}` |" for row in describe(json.loads(path.read_text(encoding="utf-8")))]
    return "\n".join(rows)


def _soak(result: Mapping[str, Any]) -> Iterator[str]:
    legs = [result["whole"], result["streamed"]]
    n_jobs, lost, doubled = (sum(leg[name] for leg in legs) for name in ("jobs", "lost", "doubled"))
    n_faults = sum(len(leg["faults"]) for leg in legs)
    slopes = " and ".join(f"{1024 * leg['slope_mib']:.0f}" for leg in legs)
    threads, descriptors = (max(leg[name][1] - leg[name][0] for leg in legs) for name in ("threads", "descriptors"))
    yield (
        "every job is answered once, whatever comes with it | `tests/e2e/test_soak.py` | "
        f"{n_jobs:,} mixed jobs: {lost} lost, {doubled} answered twice, {n_faults} kinds of wrong answers"
    )
    yield (
        "equal requests sound the same, whatever runs beside them | `tests/e2e/test_soak.py`, "
        f"`tests/models/f5/test_batch_independence.py` | at most {max(leg['most_lsb'] for leg in legs)} of 32,768"
    )
    yield (
        "nothing grows, nothing is left | `tests/e2e/test_soak.py` | memory: "
        f"{slopes} KiB a job (whole, streamed); threads: {threads:+}; descriptors: {descriptors:+}; files left: "
        f"{sum(leg['files_left'] for leg in legs)}; decoders: at most {max(leg['decoders'] for leg in legs)}"
    )


def _hostile(result: Mapping[str, Any]) -> Iterator[str]:
    worst = result["worst"]
    yield (
        "a harmful input is refused in time and takes nothing from others | `tests/attacks/test_neighbours.py` | "
        f"{result['inputs']} inputs, two at a time, a job's time 5 s: refused within {worst['seconds']:.1f} s, "
        f"memory +{worst['growth_mib']} MiB, `health` within {worst['health_ms']:.0f} ms; {worst['neighbours']} jobs "
        f"beside them: {worst['neighbours_failed']} failed, a difference of {worst['neighbours_lsb']} of 32,768"
    )
    yield (
        "no input blocks the event loop or is kept | `tests/attacks/test_inputs.py` | inputs up to 35 MB: blocked for "
        f"{worst['blocked_ms']:.0f} ms, memory back within {worst['left_mib']} MiB, replies up to "
        f"{worst['reply_bytes']} bytes"
    )


def _fuzz(result: Mapping[str, Any]) -> Iterator[str]:
    targets = {name: found for name, found in result.items() if isinstance(found, dict)}
    cases = "; ".join(
        f"{name}: {found['cases']:,} cases, slowest {time_text(found['slowest_s'])}" for name, found in targets.items()
    )
    n_failures = sum(len(found["failures"]) for found in targets.values())
    yield (
        "what is read is accepted or refused in words, in bounded time | `tests/attacks/test_fuzz.py` | "
        f"{n_failures} failures; {cases}"
    )


def _chaos(result: Mapping[str, Any]) -> Iterator[str]:
    corrupt, phantom, lost = (len(result[name]) for name in ("corrupt", "phantom", "lost"))
    yield (
        "a kill leaves nothing half done and takes nothing that was answered | `tests/e2e/test_chaos.py`, "
        f"`tests/boot/weights/test_races.py` | {result['boot_kills']} boots and {result['worker_kills']} workers "
        f"killed; {result['voices_changed']} answered changes of voices and {result['results_checked']} results looked "
        "at afterwards: "
        f"{corrupt} corrupt, {phantom} phantom, {lost} lost"
    )
    scenes = "; ".join(f"{name}: {outcome}" for name, outcome in result["scenes"].items())
    yield (
        "a disk, an API, a clock or a GPU that fails is told to the caller, and forgotten once it is back | "
        f"`tests/e2e/test_chaos.py` | {scenes}"
    )


def _mutants(result: Mapping[str, Any]) -> Iterator[str]:
    for name, group in result.items():
        if isinstance(group, dict):
            yield (
                f"a change of the {name} is noticed | `{'`, `'.join(group['files'])}` and their tests | "
                f"{group['killed']:.1%} of {group['mutants']} mutants killed"
            )


def _fresh_machine(result: Mapping[str, Any]) -> Iterator[str]:
    figures = []
    for name, machine in result["machines"].items():
        done = {step["command"]: step for step in machine["steps"] if "s" in step}  # as each ended at last
        steps = (f"`{command}` {_outcome(step)}" for command, step in done.items())
        figures.append(f"{name}, Python {machine['python']}: {', '.join(steps)}")
    yield (
        "the README's commands work on a machine that has nothing but its distribution's base, and name what to "
        f"install | `tests/test_venv.py`, `tests/test_locks.py` | {'; '.join(figures)}"
    )


def _outcome(step: Mapping[str, Any]) -> str:
    tests = "".join(f", {step[word]:,} {word}" for word in ("passed", "failed", "errors") if word in step)
    return f"{'ok' if step['exit'] == 0 else 'FAILED'} in {step['s'] / 60:.1f} min{tests}"


def time_text(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


RELIABILITY: Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "soak": _soak,
    "hostile": _hostile,
    "fuzz": _fuzz,
    "chaos": _chaos,
    "mutants": _mutants,
    "fresh-machine": _fresh_machine,
}
