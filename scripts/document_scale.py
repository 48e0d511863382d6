"""The tables of docs/scaling.md, from bench/results/scale.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scripts.document_reliability import time_text

TARGETS_S = (1, 5, 60)  # at most, of the 95th percentile to the first sound


def scale_tables(path: Path) -> Mapping[str, Callable[[], str]]:
    """Return the tables by the names of their blocks; each is of what bench/scale.py wrote to `path`."""

    def table(write: Callable[[Any], list[str]]) -> Callable[[], str]:
        return lambda: "\n".join(write(json.loads(path.read_text(encoding="utf-8"))))

    return {
        "scale_choice": table(_choice),
        "scale_worker": table(_worker),
        "scale_concurrencies": table(_concurrencies),
        "scale_loads": table(_loads),
        "scale_bursts": table(lambda result: [*HEAD, *_rows(result["bursts"], result)]),
        "scale_mixes": table(lambda result: _grouped("jobs", result["mixes"], result)),
        "scale_assumptions": table(_assumptions),
        "scale_costs": table(_costs),
        "scale_compared": table(_compared),
        "scale_inputs": table(_inputs),
    }


COLUMNS = "first sound p50 / p95 | whole p50 / p95 | workers, mean / most | busy | an hour of speech |"
HEAD = [f"| setting | {COLUMNS}", "|---|---|---|---|---|---|"]


def _dollars(row: Mapping[str, Any], prices: Mapping[str, float]) -> float:
    return 3_600 * (row["active_s_per_audio_s"] * prices["active"] + row["flex_s_per_audio_s"] * prices["flex"])


def _cells(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    first, whole = (" / ".join(time_text(s) for s in row[name]) for name in ("first_s", "whole_s"))
    workers = row["workers"]
    return (
        f"{first} | {whole} | {workers['mean']:.1f} / {workers['max']} | {row['utilisation']:.0%} | "
        f"${_dollars(row, result['prices']):.2f}"
    )


def _rows(cases: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    return [f"| {name} | {_cells(row, result)} |" for name, row in cases.items()]


def _grouped(title: str, groups: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    rows = [f"| {title} | setting | {COLUMNS}", "|---|---|---|---|---|---|---|"]
    return rows + [f"| {group} {row[1:]}" for group, cases in groups.items() for row in _with_bar(cases, result)]


def _with_bar(cases: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    return [f" {row}" for row in _rows(cases, result)]


def _loads(result: Mapping[str, Any]) -> list[str]:
    return _grouped("load", {f"{int(load):,}": cases for load, cases in result["loads"].items()}, result)


def _assumptions(result: Mapping[str, Any]) -> list[str]:
    names = list(next(iter(result["assumptions"]["1"].values())))
    rows = [f"| load | | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for load, cases in result["assumptions"].items():
        for name, settings in cases.items():
            cells = (
                f"{time_text(row['first_s'][1])}, ${_dollars(row, result['prices']):.2f}" for row in settings.values()
            )
            rows.append(f"| {load} | {name} | {' | '.join(cells)} |")
    return rows


def _choice(result: Mapping[str, Any]) -> list[str]:
    loads = {f"{int(load):,}": cases for load, cases in result["loads"].items()} | {"100 in bursts": result["bursts"]}
    rows = [
        f"| load | {' | '.join(f'p95 within {target} s' for target in TARGETS_S)} |",
        f"|---|{'---|' * len(TARGETS_S)}",
    ]
    for load, cases in loads.items():
        cells = []
        for target in TARGETS_S:
            fit = {name: row for name, row in cases.items() if row["first_s"][1] <= target}
            name = min(
                reversed(fit), key=lambda one: round(_dollars(fit[one], result["prices"]), 2)
            )  # the last of equals
            active, most = fit[name]["active"], fit[name]["workers"]["max"]
            workers = f"{active} active" if active == most else f"{active} active, {most} at most"
            cells.append(f"{name}: {workers}, ${_dollars(fit[name], result['prices']):.2f}")
        rows.append(f"| {load} | {' | '.join(cells)} |")
    return rows


def _worker(result: Mapping[str, Any]) -> list[str]:
    loads = [name for name in result["worker"][-1] if name.startswith("at_")]
    heads = " | ".join(f"p50 / p95 at {name[3:]}" for name in loads)
    rows = [f"| `F5_CONCURRENCY` | audio s/s, queue full | {heads} |", f"|---|---|{'---|' * len(loads)}"]
    for row in result["worker"]:
        cells = (" / ".join(time_text(s) for s in row[name]) if name in row else "too much" for name in loads)
        rows.append(f"| {row['concurrency']} | {row['audio_s_per_s']} | {' | '.join(cells)} |")
    return rows


def _concurrencies(result: Mapping[str, Any]) -> list[str]:
    names = list(result["concurrencies"][0]["of"])
    rows = [f"| device | jobs | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for row in result["concurrencies"]:
        cells = []
        for one in row["of"].values():
            waits = dict.fromkeys(time_text(one[name][1]) for name in ("first_s", "whole_s"))
            cells.append(f"{one['full_audio_s_per_s']:.0f}; {', '.join(waits)}, ${_dollars(one, result['prices']):.2f}")
        rows.append(f"| {row['device']} | {row['jobs']} | {' | '.join(cells)} |")
    return rows


def _costs(result: Mapping[str, Any]) -> list[str]:
    rates, prices = result["audio_s_per_s"], result["prices"]
    best = min(
        prices["of_gpus"][f"{memory} GB: {gpu}"][0] / rates[gpu] for memory, gpu in ((141, "H200"), (80, "H100"))
    )
    rows = ["| GPU | a second, flex | audio s/s | an hour of speech |", "|---|---|---|---|"]
    for name, (flex, _) in prices["of_gpus"].items():
        measured = {kind: rate for kind, rate in rates.items() if name.endswith(kind.split(",")[0])}
        for kind, rate in measured.items():
            steps = kind.partition(", ")[2]
            rows.append(f"| {name}{steps and ', ' + steps} | ${flex} | {rate:.1f} | ${3_600 * flex / rate:.3f} |")
        if not measured:
            rows.append(f"| {name} | ${flex} | not measured; cheaper above {flex / best:.0f} | |")
    return rows


def _compared(result: Mapping[str, Any]) -> list[str]:
    rows = ["| | measured | simulated |", "|---|---|---|"]
    for name, pair in result["compared"].items():
        rows.append(f"| {name} | {time_text(pair['measured_s'])} | {time_text(pair['simulated_s'])} |")
    return rows


def _inputs(result: Mapping[str, Any]) -> list[str]:
    device, platform, boot_s = (result["inputs"][name] for name in ("device", "platform", "boot_s"))
    container_s = platform["start_s"] - boot_s
    files = {name: f"measured: `{file}.json`" for name, file in result["inputs"]["files"].items()}
    return [
        "| what | value | from |",
        "|---|---|---|",
        f"| device, for a second of reference and speech, 32 steps | {1_000 * device['alone_s']:.2f} ms alone, "
        f"{1_000 * device['together_s']:.2f} ms in company | {files['device']} |",
        f"| reference of each segment | {device['reference_s']} s | the same |",
        f"| pipeline beside the device, each job | {1_000 * device['beside_s']:.1f} ms | {files['beside']} |",
        f"| boot and loading | {boot_s} s | {files['boot']} |",
        f"| the SDK's pause of a full worker; its turns | {platform['full_s']} s; {platform['turn_s']} s | "
        "runpod 1.12.0, held by a test that runs its loop |",
        f"| creation of a container, its image being there | {container_s:.1f} s | assumed |",
        f"| FlashBoot | {platform['revive_s']} s, within {platform['keep_s']:.0f} s of a stop | "
        "assumed: RunPod says 90 % below 2 s for an endpoint of its own |",
        f"| decisions of the scaler | every {platform['check_s']:.0f} s | assumed |",
        f"| workers that queue delay adds at each | {platform['added']} | assumed |",
        f"| prices of a second | ${result['prices']['flex']} flex, ${result['prices']['active']} active | "
        f"assumed: H200, a copy of RunPod's documentation read on {result['prices']['date']} |",
    ]
