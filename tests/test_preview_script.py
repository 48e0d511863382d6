"""scripts/preview.py: lines in, what is said of each out, without a model."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conftest import ROOT


def preview(text: str, *arguments: str) -> list[dict[str, str]]:
    done = subprocess.run(
        [sys.executable, "scripts/preview.py", *arguments],
        cwd=ROOT, input=text, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_line_is_answered_by_one() -> None:
    lines = preview("Es kostet 5,20 €.\n\n— \n*lacht* Am 3. Mai.\n", "--language", "de")
    assert [line["spoken"] for line in lines] == ["Es kostet fünf euro zwanzig cent.", "", "", "Am dritten Mai."]


def test_the_script_tells_the_language() -> None:
    assert preview("共有5个\nI have 5.") == [
        {"spoken": "共有五个", "language": "zh"},
        {"spoken": "I have five.", "language": "en"},
    ]


def test_no_model_is_loaded() -> None:
    program = "import runpy, sys; sys.argv = ['p']; runpy.run_path('scripts/preview.py', run_name='__main__');"
    done = subprocess.run(
        [sys.executable, "-c", f"{program} print('torch' in sys.modules)"],
        cwd=ROOT, input="5 km\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "False"
