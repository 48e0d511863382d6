"""The table of docs/http.md, from bench/results/http.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def http_table(result: Mapping[str, Any]) -> str:
    """Return what bench/http_load.py measured."""
    load, slow, full, timed = (result[name] for name in ("load", "slow_readers", "full_queue", "added_time"))
    rows = {
        f"{load['clients']} clients for {load['seconds'] / 60:.0f} minutes; a tenth left, a twentieth wrong": (
            f"{load['requests']:,} requests: {load['lost']} lost, {load['wrong']} answered wrongly, "
            f"{load['left_behind']} jobs left behind"
        ),
        "growth of memory for each of them": f"{load['slope_mib']:.4f} MiB",
        "HTTP beside the pipeline, 3 s of pcm": (
            f"{timed['overhead_ms']:.1f} ms more than its {timed['pipeline_ms']:.1f} ms (medians); "
            f"{timed['overhead_p10_ms']:.1f} ms (10th percentiles)"
        ),
        "first byte of a stream after its first segment": f"{timed['first_byte_ms']['p50']:.1f} ms (median)",
        f"{slow['readers']} readers of ten minutes of pcm that stop reading": (
            f"{slow['mib_each']:.0f} MiB each; {slow['others']} requests of others meanwhile, "
            f"{slow['others_ms']['p50']:.0f} ms each (median)"
        ),
        f"{full['clients']} clients where 10 jobs fit": (
            f"{sum(full['refusals'].values())} refusals with `Retry-After`, "
            f"{full['statuses'].get('200', 0)} answered in the end"
        ),
    }
    where = f"Tones for a model, over loopback; clients and server share {result['cpus']} cores. `make bench-http`."
    table = [f"| {name} | {said} |" for name, said in rows.items()]
    return "\n".join([where, "", "| what | figure |", "|---|---|", *table])
