"""The table of docs/http.md, from bench/results/http.json."""

from __future__ import annotations

import json
from pathlib import Path


def http_table(path: Path) -> str:
    """Return what bench/http_load.py measured and wrote to `path`."""
    if not path.is_file():
        return ""
    result = json.loads(path.read_text(encoding="utf-8"))
    legs = ("load", "slow_readers", "full_queue", "added_time", "idle_sockets")
    load, slow, full, timed, idle = (result[name] for name in legs)
    rows = {
        f"{load['clients']} clients for {load['seconds'] / 60:.0f} minutes; a tenth left, a twentieth wrong": (
            f"{load['requests']:,} requests: {load['lost']} lost, {load['wrong']} answered wrongly, "
            f"{load['left_behind']} jobs left behind"
        ),
        "growth of memory for each of them": f"{load['slope_mib']:.4f} MiB",
        "HTTP beside the pipeline, 3 s of pcm": (
            f"{timed['overhead_cpu_ms']:.1f} ms of processor time; by the clock, {timed['http_ms']:.1f} ms in place of "
            f"{timed['pipeline_ms']:.1f} ms (medians)"
        ),
        "first byte of a stream after its first segment": f"{timed['first_byte_ms']['p50']:.1f} ms (median)",
        f"{slow['readers']} readers of ten minutes of pcm that stop reading": (
            f"{slow['mib_each']:.0f} MiB each; {slow['others']} requests of others meanwhile, "
            f"{slow['others_ms']['p50']:.0f} ms each (median)"
        ),
        f"{idle['sockets']} WebSockets that send nothing": (
            f"{idle['mib_each']:.2f} MiB each; requests of others take {idle['others_ms']['p50']:.0f} ms (median)"
        ),
        f"{full['clients']} clients where 10 jobs fit": (
            f"{sum(full['refusals'].values())} refusals with `Retry-After`, "
            f"{full['statuses'].get('200', 0)} answered in the end"
        ),
    }
    where = f"Tones for a model, over loopback; clients and server share {result['cpus']} cores. `make bench-http`."
    table = [f"| {name} | {said} |" for name, said in rows.items()]
    return "\n".join([where, "", "| what | figure |", "|---|---|", *table])
