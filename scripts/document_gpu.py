"""The tables of what was measured on GPUs around the engine, for the documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.record import read_all

# What a start consists of, in the words of the documents.
PHASES = {
    "probe": "boot's probe",
    "torch": "the import of torch",
    "devices": "the GPU's context",
    "weights_read": "weights read",
    "weights_moved": "moved to the GPU",
    "kernels": "kernels loaded and tried",
    "warm_up": "a first segment",
}


def edge_on_gpu() -> str:
    """Return what `bench/edge.py --gpu` measured, a table for each GPU."""
    return "\n\n".join(map(_edge, read_all("edge-*")))


def several_gpus() -> str:
    """Return what bench/devices.py measured, a table for each kind of GPU."""
    return "\n\n".join(map(_devices, read_all("devices-*")))


def start() -> str:
    """Return what `bench/boot.py --start` measured, a table for each GPU."""
    return "\n\n".join(map(_start, read_all("start-*")))


def _edge(result: Mapping[str, Any]) -> str:
    """Return a row for each load: encoded in threads, and in processes."""
    loads = result["loads"]
    rows = [
        f"{result['device']}, {result['cpus']} cores, NFE {result['nfe']}, encoded in threads / in processes:",
        "",
        "| load | audio s/s | encoding a job | own processor ms per audio s |",
        "|---|---|---|---|",
    ]
    for name in dict.fromkeys(load.rpartition(", in ")[0] for load in loads):
        threads, processes = (loads[f"{name}, in {way}"] for way in ("threads", "processes"))
        figures = (
            f"{threads[key]:.{digits}f} / {processes[key]:.{digits}f}"
            for key, digits in (("audio_s_per_s", 0), ("encode_ms", 0), ("own_cpu_ms_per_audio_s", 1))
        )
        rows.append(f"| {name} | {' | '.join(figures)} |")
    return "\n".join(rows)


def _devices(result: Mapping[str, Any]) -> str:
    """Return a row for each load and number of GPUs."""
    rows = [
        f"{result['device']}, torch {result['torch']}, {result['precision']}; all GPUs speak equal samples:",
        "",
        "| load | GPUs | audio s/s | times | busy cores |",
        "|---|---|---|---|---|",
    ]
    for case, counts in result["cases"].items():
        for n, figures in counts.items():
            load = case if n == "1" or not case.startswith("32 jobs") else f"{case}, for each GPU"
            rate, times, cores = (figures[name] for name in ("audio_s_per_s", "times", "cpu_cores"))
            rows.append(f"| {load} | {n} | {rate:.0f} | {times:.2f} | {cores:.1f} |")
    return "\n".join(rows)


def _start(result: Mapping[str, Any]) -> str:
    """Return a row for each phase: as it is, without what is done ahead, and as after a start that died."""
    ways = {"ahead": "as it is", "not ahead": "nothing ahead", "after a death": "the probe imports torch"}
    rows = [
        f"{result['device']}, torch {result['torch']}, {result['cpus']} cores, weights in the system's cache; ms, "
        f"medians of {result['rounds']}:",
        "",
        f"| | {' | '.join(ways.values())} |",
        f"|---|{'---|' * len(ways)}",
    ]
    for phase, said in PHASES.items():
        rows.append(f"| {said} | " + " | ".join(f"{result[way]['phases_ms'][phase]:.0f}" for way in ways) + " |")
    rows.append("| **ready** | " + " | ".join(f"{1e3 * result[way]['ready_s']:.0f}" for way in ways) + " |")
    return "\n".join(rows)
