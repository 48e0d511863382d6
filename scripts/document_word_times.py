"""The table of what bench/asr_gpu.py measured, for docs/performance.md."""

from __future__ import annotations

from bench.record import read_all


def word_times() -> str:
    """Return a table for each GPU: a row for each shape of Whisper."""
    tables = []
    for result in read_all("asr-*"):
        rows = ["| Whisper | 60 s aligned | 60 s transcribed | throughput with word times |", "|---|---|---|---|"]
        for shape, cases in result["cases"].items():
            shares = (f"{name}: {case['share_of_throughput']:.1%}" for name, case in cases.items() if "shares" in case)
            rows.append(
                f"| {shape} | {cases['60 s aligned']['at_once_ms']:.0f} ms | "
                f"{cases['60 s transcribed']['beams_5_ms']:.0f} ms | {'; '.join(shares)} |"
            )
        tables.append(f"{result['device']}, torch {result['torch']}:\n\n" + "\n".join(rows))
    return "\n\n".join(tables)
