"""Compile the grammars that read numbers, dates and signs aloud, once for an environment: an image, or .venv.

    python scripts/build_grammars.py DIRECTORY [LANGUAGE ...]

Needs the packages of requirements-grammars.txt, which nothing needs afterwards (pynini alone has 700 MB). A grammar
that is in the directory already is kept. Takes some minutes of a processor.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from f5_worker.text.expand.library import LANGUAGES  # noqa: E402

PACKAGE = "nemo_text_processing.text_normalization"
MAX_OUTPUT_BYTES = 400
LAST = "abbreviations.txt"  # of a grammar's files it is written last


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    missing = [name for name in sys.argv[2:] or LANGUAGES if not (directory / f"{name}.{LAST}").exists()]
    if len(missing) == 1:
        build(missing[0], directory)
        return
    command = [sys.executable, __file__, str(directory)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # a process for each: they take half a gigabyte
        list(pool.map(lambda name: subprocess.run([*command, name], check=True), missing))


def build(language: str, directory: Path) -> None:
    for part, fst in library(language).items():
        contracted, outputs = contract(fst)
        contracted.write(str(directory / f"{language}.{part}.fst"))
        (directory / f"{language}.{part}.json").write_text(json.dumps(outputs), encoding="utf-8")
    (directory / f"{language}.{LAST}").write_text("\n".join(whitelisted(language)), encoding="utf-8")


def library(language: str) -> dict[str, Any]:
    """Return the library's transducers; the verbalizer takes one token, without the frame `tokens { ... }`."""
    # Its package imports a whole toolkit (transformers, pandas, ...) for a class that is not used here.
    package = types.ModuleType(PACKAGE)
    package.__path__ = [str(location("nemo_text_processing") / "text_normalization")]
    sys.modules[PACKAGE] = package
    import pynini

    tagger = importlib.import_module(f"{PACKAGE}.{language}.taggers.tokenize_and_classify")
    verbalizer = importlib.import_module(f"{PACKAGE}.{language}.verbalizers.verbalize_final")
    words = verbalizer.VerbalizeFst(deterministic=True).fst
    if hasattr(verbalizer, "WordFst"):
        words = words | verbalizer.WordFst(deterministic=True).fst
    space = pynini.cross(pynini.closure(" "), "")
    return {
        "tagger": tagger.ClassifyFst(input_case="cased", deterministic=True).fst,
        "verbalizer": (space + words + space).rmepsilon(),
    }


def contract(fst: Any) -> tuple[Any, list[str]]:
    """Return a transducer in which one arc says what a chain of arcs said, and the outputs that its labels stand for.

    The library's write a byte an arc: most states of a search were within `tokens { date { month: "`. The outputs are
    bytes, as Latin-1.
    """
    import pynini

    zero = pynini.Weight.zero(fst.weight_type())
    arcs = {state: list(fst.arcs(state)) for state in fst.states()}
    chains = {  # states that only write, and go on
        state: only[0]
        for state, only in arcs.items()
        if len(only) == 1 and only[0].ilabel == 0 and fst.final(state) == zero and state != fst.start()
    }
    outputs: dict[bytes, int] = {b"": 0}
    short = pynini.Fst()
    numbers: dict[int, int] = {}

    def number(state: int) -> int:
        if state not in numbers:
            numbers[state] = short.add_state()
            waiting.append(state)
        return numbers[state]

    waiting: list[int] = []
    short.set_start(number(fst.start()))
    while waiting:
        state = waiting.pop()
        short.set_final(numbers[state], fst.final(state))
        for arc in arcs[state]:
            written, weight, following = bytes([arc.olabel] if arc.olabel else []), arc.weight, arc.nextstate
            while (link := chains.get(following)) and len(written) < MAX_OUTPUT_BYTES:
                written += bytes([link.olabel] if link.olabel else [])
                weight, following = pynini.times(weight, link.weight), link.nextstate
            label = outputs.setdefault(written, len(outputs))
            short.add_arc(numbers[state], pynini.Arc(arc.ilabel, label, weight, number(following)))
    return short.arcsort("ilabel"), [output.decode("latin-1") for output in outputs]


def location(package: str) -> Path:
    """Return the directory of a package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is missing; pip install --no-deps -r requirements-grammars.txt")
    return Path(spec.origin).parent


def whitelisted(language: str) -> list[str]:
    """Return the abbreviations with a full stop that the library's table has."""
    tables = (location("nemo_text_processing") / "text_normalization" / language / "data").rglob("*.tsv")
    lines = [line for table in tables if "whitelist" in str(table) for line in table.read_text("utf-8").splitlines()]
    written = {line.split("\t")[0].strip() for line in lines}
    return sorted(word for word in written if "." in word and " " not in word)


if __name__ == "__main__":
    main()
