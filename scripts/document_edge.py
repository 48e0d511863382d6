"""The table of what bench/edge.py measured, for docs/performance.md."""

from __future__ import annotations

from bench.record import read


def edge() -> str:
    """Return a row for each load: encoded in threads, and in processes."""
    result = read("edge")
    mp3 = result["second_of_mp3"]
    rows = [
        f"A second of MP3 takes {mp3['cpu_ms']:.0f} ms of a core, {mp3['locked_share']:.0%} of it with the lock, which "
        f"is taken {mp3['lock_takes']} times. Medians of {result['rounds']} rounds on {result['cpus']} cores, encoded "
        "in threads / in processes:",
        "",
        "| simulated | load | audio s/s | device idle | encoding a job |",
        "|---|---|---|---|---|",
    ]
    machines = {
        f"{result['cpus']} cores, a device {result['these cores']['slower']:.0f} times slower": result["these cores"],
        "a core for everyone": result["many cores"],
    }
    for machine, measured in machines.items():
        loads = measured["loads"]
        for name in dict.fromkeys(load.rpartition(", in ")[0] for load in loads):
            threads, processes = (loads[f"{name}, in {way}"] for way in ("threads", "processes"))
            rows.append(
                f"| {machine} | {name} | {threads['audio_s_per_s']:.0f} / {processes['audio_s_per_s']:.0f} | "
                f"{threads['idle']:.0%} / {processes['idle']:.0%} | "
                f"{threads['encode_ms']:.0f} / {processes['encode_ms']:.0f} ms |"
            )
    return "\n".join(rows)
