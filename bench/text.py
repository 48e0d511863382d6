"""Compare libraries that read numbers, dates and signs aloud, on a directory of cases, into bench/results/text.json.

    python bench/text.py CASES [PACKAGES]

CASES has a directory for each language with files of lines `written~spoken[~also right]`, as the tests of
NVIDIA/NeMo-text-processing have (tests/nemo_text_processing/LANGUAGE/data_text_normalization/test_cases_*). PACKAGES is
a directory in which other libraries are installed; one that is in neither is left out. Each library reads each
language in a process of its own.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.record import record  # noqa: E402

Read = Callable[[str], str]
NEMO = {"en"}  # its own runtime compiles its grammars first, some minutes for a language: one stands for all


def ours(language: str) -> Read:
    from f5_worker.text.reading import ReadingOptions, read

    options = ReadingOptions(language=language)
    return lambda text: " ".join(passage.text.text for passage in read(text, options=options).passages)


def grammar(language: str) -> Read:
    """Return the same grammar, given whole texts, without the worker's own rules."""
    from f5_worker.text.expand.library import grammar
    from f5_worker.text.spans import SourceMappedText

    own = grammar(language)
    if own is None:
        raise ImportError(language)
    return lambda text: SourceMappedText.of(text).replace(own.read(text)).text


def num2words(language: str) -> Read:
    from f5_worker.text.expand.numbers import numbers
    from f5_worker.text.spans import SourceMappedText

    return lambda text: SourceMappedText.of(text).replace(numbers(text, language)).text


def wetext(language: str) -> Read:
    if language not in ("en", "ja", "zh"):
        raise ImportError(language)
    from wetext import Normalizer

    return Normalizer(lang=language).normalize  # type: ignore[no-any-return]


def nemo(language: str) -> Read:
    if language not in NEMO:
        raise ImportError(language)
    from nemo_text_processing.text_normalization.normalize import Normalizer

    cache = str(ROOT / "out" / "nemo")
    return functools.partial(Normalizer("cased", language, cache_dir=cache).normalize, punct_post_process=False)


CANDIDATES: dict[str, Callable[[str], Read]] = {
    "this worker": ours,
    "its grammars alone": grammar,
    "num2words": num2words,
    "wetext": wetext,
    "nemo-text-processing": nemo,
}


def main() -> None:
    if sys.argv[1] == "--one":
        print(json.dumps(measure(*sys.argv[2:5])))
        return
    cases = Path(sys.argv[1])
    found: dict[str, dict[str, object]] = {}
    for language in sorted(path.name for path in cases.iterdir() if path.is_dir()):
        found[language] = {}
        for name in CANDIDATES:
            command = [sys.executable, __file__, "--one", name, language, str(cases), *sys.argv[2:3]]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                found[language][name] = json.loads(done.stdout.splitlines()[-1])
            print(language, name, found[language].get(name), file=sys.stderr, flush=True)
    record("text", {"languages": found, "versions": versions(), "mib": sizes()})


def measure(name: str, language: str, directory: str) -> dict[str, float]:
    """Return accuracy, seconds to load, milliseconds a case, and MiB of memory of one library in one language."""
    sys.path += sys.argv[5:6]
    cases = list(cases_of(Path(directory) / language))
    memory, began = resident_mib(), time.process_time()
    read = CANDIDATES[name](language)
    read("12")
    loaded = time.process_time()
    right = sum(is_right(attempt(read, written), wanted, language) for written, wanted in cases)
    return {
        "cases": len(cases),
        "right": round(right / len(cases), 3),
        "load_s": round(loaded - began, 2),
        "ms": round((time.process_time() - loaded) / len(cases) * 1000, 1),
        "mib": round(resident_mib() - memory),
    }


def attempt(read: Read, written: str) -> str:
    """Return what a library says; nothing where it fails."""
    try:
        return read(written)
    except Exception:  # noqa: BLE001 - of a library's, any
        return ""


def cases_of(directory: Path) -> Iterator[tuple[str, list[str]]]:
    for path in sorted(directory.glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            written, *wanted = line.split("~")
            if wanted:
                yield written, wanted


def is_right(said: str, wanted: list[str], language: str) -> bool:
    return key(said, language) in [key(text, language) for text in wanted]


def key(text: str, language: str) -> str:
    """Compare without case and punctuation, in English without "and", in German and Asian languages without spaces."""
    words = unicodedata.normalize("NFC", text).lower()
    if language == "en":
        words = re.sub(r"\band\b", " ", words)
    words = "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in words)
    return ("" if language in ("de", "ja", "zh") else " ").join(words.split())


def text_table(result: Mapping[str, Any]) -> str:
    """Return how many cases each library reads right, and what that takes, as Markdown."""
    names = list(dict.fromkeys(name for found in result["languages"].values() for name in found))
    rows = [f"| language | cases | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for language, found in result["languages"].items():
        said = [_figures(found[name]) if name in found else "" for name in names]
        rows.append(f"| {language} | {found[names[0]]['cases']} | {' | '.join(said)} |")
    sizes_mib = ", ".join(f"{name} {mib} MiB" for name, mib in result["mib"].items())
    used = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return "\n".join(rows) + (
        "\n\nEach: share of the cases, processor seconds to load, milliseconds a case, MiB of memory. "
        f"On disk: {sizes_mib}. Versions: {used}."
    )


def _figures(found: Mapping[str, Any]) -> str:
    return f"{found['right']:.1%}, {found['load_s']} s, {found['ms']} ms, {found['mib']} MiB"


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


def versions() -> dict[str, str]:
    sys.path += sys.argv[2:3]
    names = ("kaldifst", "num2words", "indic-numtowords", "nemo-text-processing", "pynini", "wetext")
    found = {distribution.metadata["Name"]: distribution.version for distribution in importlib.metadata.distributions()}
    return {name: found[other] for name in names for other in (name, name.replace("-", "_")) if other in found}


def sizes() -> dict[str, int]:
    """Return the MiB on disk of what is installed with the worker, and of the compiler that is not."""
    from f5_worker.text.expand.library import DIRECTORY

    places = {"grammars": DIRECTORY}
    for path in map(Path, sys.path):
        places |= {name: path / name for name in ("kaldifst", "num2words", "wetext") if (path / name).is_dir()}
        compiler = [*path.glob("_pynini*"), *path.glob("_pywrapfst*"), *path.glob("pynini*")]
        if compiler:
            places["pynini"] = path
    return {
        name: round(sum(file.stat().st_size for file in path.rglob("*") if _belongs(name, file)) / 2**20)
        for name, path in places.items()
    }


def _belongs(name: str, file: Path) -> bool:
    return file.is_file() and (name != "pynini" or "pynini" in str(file) or "pywrapfst" in str(file))


if __name__ == "__main__":
    main()
